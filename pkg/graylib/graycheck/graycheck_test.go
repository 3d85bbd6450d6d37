package graycheck_test

import (
	"testing"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/graychain/graychain/pkg/graylib/graycheck"
)

// The packages below testdata say in comments what is reported where; files ending in .golden are what the fixes make of them.
// They are loaded at once, since each load checks the types of net/http from source.
func TestRulesAndFixes(t *testing.T) {
	analysistest.RunWithSuggestedFixes(t, analysistest.TestData(), graycheck.Analyzer, "background", "request", "callee", "fixes")
}

func TestAnalyzerIsValid(t *testing.T) {
	if err := analysis.Validate([]*analysis.Analyzer{graycheck.Analyzer}); err != nil {
		t.Error(err)
	}
}
