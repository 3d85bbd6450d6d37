package graycheck_test

import (
	"testing"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/graychain/graychain/pkg/graylib/graycheck"
)

func TestRules(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), graycheck.Analyzer, "background", "request", "callee")
}

func TestFixes(t *testing.T) {
	analysistest.RunWithSuggestedFixes(t, analysistest.TestData(), graycheck.Analyzer, "fixes")
}

func TestFlagTests(t *testing.T) {
	if err := graycheck.Analyzer.Flags.Set("tests", "true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := graycheck.Analyzer.Flags.Set("tests", "false"); err != nil {
			t.Error(err)
		}
	})
	analysistest.Run(t, analysistest.TestData(), graycheck.Analyzer, "intests")
}

func TestAnalyzerIsValid(t *testing.T) {
	if err := analysis.Validate([]*analysis.Analyzer{graycheck.Analyzer}); err != nil {
		t.Error(err)
	}
}
