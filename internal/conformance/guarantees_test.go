package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const guarantees = root + "/docs/guarantees.md"

// named is a test as the page writes it, its package's folder and its name, or several of one package: {TestA,TestB}.
var named = regexp.MustCompile("`([a-z0-9/]+)\\.({[^`]*}|(?:Test|Fuzz)[A-Za-z0-9_]+)`")

// testName is what a test may be called.
var testName = regexp.MustCompile("^(?:Test|Fuzz)[A-Za-z0-9_]+$")

// namesOf returns the tests that one match of named names.
func namesOf(match string) []string {
	return strings.Split(strings.TrimSuffix(strings.TrimPrefix(match, "{"), "}"), ",")
}

// sections returns the page by promise, "G1" to "G10", in order.
func sections(t *testing.T) (names []string, text map[string]string) {
	t.Helper()
	raw, err := os.ReadFile(guarantees)
	if err != nil {
		t.Fatal(err)
	}
	text = make(map[string]string)
	for _, part := range strings.Split(string(raw), "\n## ")[1:] {
		name, _, _ := strings.Cut(part, " ")
		names = append(names, name)
		text[name] = part
	}
	return names, text
}

// TestGuaranteesNameTests: what the page names as proof exists.
func TestGuaranteesNameTests(t *testing.T) {
	raw, err := os.ReadFile(guarantees)
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]string) // by folder
	for _, m := range named.FindAllStringSubmatch(string(raw), -1) {
		folder := m[1]
		if _, ok := sources[folder]; !ok {
			sources[folder] = testsOf(t, folder)
		}
		for _, name := range namesOf(m[2]) {
			if !testName.MatchString(name) || !strings.Contains(sources[folder], "\nfunc "+name+"(") {
				t.Errorf("docs/guarantees.md names %s.%s, which doesn't exist", folder, name)
			}
		}
	}
}

// TestGuaranteesInBraces: of several tests of one package each counts.
func TestGuaranteesInBraces(t *testing.T) {
	for text, want := range map[string][]string{
		"`a/b.TestOne`":           {"TestOne"},
		"`a/b.{TestOne,FuzzTwo}`": {"TestOne", "FuzzTwo"},
		"`a/b.{TestOne, other}`":  {"TestOne", " other"}, // which no test is called
		"`a/b.Other`":             nil,
	} {
		var got []string
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			got = append(got, namesOf(m[2])...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s names %q, want %q", text, got, want)
		}
	}
}

// testsOf returns all test files of a package's folder.
func testsOf(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// TestGuaranteesAreWhole: every promise has a check, a fault, and what it says of labs.
func TestGuaranteesAreWhole(t *testing.T) {
	names, text := sections(t)
	for i := range 10 {
		want := fmt.Sprintf("G%d", i+1)
		if i >= len(names) || names[i] != want {
			t.Fatalf("section %d is not that of %s: %q", i+1, want, names)
		}
		if len(named.FindAllString(text[want], -1)) == 0 {
			t.Errorf("%s names no check", want)
		}
		for _, part := range []string{"*A fault that breaks it*: ", "*Lab*: "} {
			if !strings.Contains(strings.ReplaceAll(text[want], "\n", " "), part) {
				t.Errorf("%s doesn't say %q", want, strings.TrimSpace(part))
			}
		}
	}
	if len(names) != 10 {
		t.Errorf("%d sections, want 10: %q", len(names), names)
	}
}
