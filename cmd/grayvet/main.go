// Command grayvet runs the analyzer graycheck under go vet:
//
//	go vet -vettool=$(which grayvet) ./...
//
// It reports calls and goroutines that lose the context of the request they belong to, and with it the tag of its lane.
package main

import (
	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/graychain/graychain/pkg/graylib/graycheck"
)

func main() { unitchecker.Main(graycheck.Analyzer) }
