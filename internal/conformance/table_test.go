package conformance

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/conformance.md")

const (
	root = "../.."
	page = root + "/docs/conformance.md"
)

// TestTable compares the page with the declarations.
func TestTable(t *testing.T) {
	if *update {
		if err := os.WriteFile(page, []byte(Table()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Table(), string(got)); diff != "" {
		t.Errorf("docs/conformance.md is not what the declarations make; run go generate ./internal/conformance (-want +got):\n%s", diff)
	}
}

// TestDeclarationsAreChecked: a row of the table stands for a run of the suite.
func TestDeclarationsAreChecked(t *testing.T) {
	seen := make(map[string]bool)
	for _, d := range Declarations {
		if seen[d.Name] {
			t.Errorf("%s is declared twice", d.Name)
		}
		seen[d.Name] = true
		file := filepath.Join(root, "pkg", "graylib", d.Package, "conformance_test.go")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(text), strconv.Quote(d.Name)) || !strings.Contains(string(text), "graylibtest.Run(") {
			t.Errorf("%s doesn't run the suite for %q", file, d.Name)
		}
		if Of(d.Name).Name != d.Name {
			t.Errorf("Of(%q) is another one", d.Name)
		}
	}
}

// TestAdaptersAreDeclared: a new package below pkg/graylib that takes in or hands on a context is in the table, or named here
// with why it isn't.
func TestAdaptersAreDeclared(t *testing.T) {
	none := map[string]string{
		"graynacos":   "a registry and a source of rules: it carries nothing",
		"graylibtest": "the suite itself",
		"rules":       "evaluates; carries nothing",
		"graycheck":   "an analyzer",
		"grayprom":    "metrics: told of hops, carries nothing",
		"grayotel":    "traces: told of hops; the trace's names on the wire are the adapters'",
		"idempotency": "begins work once, by a key that its caller makes; carries nothing",
		"grayredis":   "a store of such keys",
		"internal":    "for tests",
		"testdata":    "no package",
	}
	declared := make(map[string]bool)
	for _, d := range Declarations {
		declared[d.Package] = true
	}
	entries, err := os.ReadDir(filepath.Join(root, "pkg", "graylib"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !declared[e.Name()] && none[e.Name()] == "" {
			t.Errorf("pkg/graylib/%s is in no declaration; add one, or say here why it carries nothing", e.Name())
		}
	}
}
