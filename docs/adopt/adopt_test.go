// Package adopt holds docs/adopt.md to the programs that it shows, which are compiled with everything else: before and after
// the adoption of graylib, for each framework.
package adopt

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the diffs into docs/adopt.md")

const page = "../adopt.md"

// TestDiffs compares the page's diffs with those of the programs.
func TestDiffs(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, name := range programs(t) {
		d := diffOf(t, name)
		begin, end := "<!-- diff "+name+" -->\n", "<!-- end -->\n"
		at := strings.Index(text, begin)
		if at < 0 {
			t.Errorf("%s shows no diff of %s: no line %q", page, name, strings.TrimSpace(begin))
			continue
		}
		at += len(begin)
		length := strings.Index(text[at:], end)
		if length < 0 {
			t.Fatalf("%s: no line %q after that of %s", page, strings.TrimSpace(end), name)
		}
		want := "```diff\n" + strings.Join(d, "\n") + "\n```\n"
		if got := text[at : at+length]; got != want {
			if *update {
				text = text[:at] + want + text[at+length:]
				continue
			}
			t.Errorf("%s: the diff of %s is not that of the programs; run go test ./docs/adopt -update. It shows:\n%s\nwant:\n%s", page, name, got, want)
		}
	}
	if *update && text != string(raw) {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestThreeLines holds G10: a service adopts graylib in three lines. The import of the adapter isn't counted, which comes with the
// first of them, as goimports writes it.
func TestThreeLines(t *testing.T) {
	for _, name := range programs(t) {
		var lines []string
		for _, l := range diffOf(t, name) {
			body := strings.TrimSpace(strings.TrimPrefix(l, "+"))
			if strings.HasPrefix(l, "+") && body != "" && !strings.HasPrefix(body, `"`) {
				lines = append(lines, body)
			}
		}
		if len(lines) != 3 {
			t.Errorf("broke G10 no gray code in business code: %s is adopted in %d lines: %q", name, len(lines), lines)
		}
		for _, l := range lines {
			if !strings.Contains(l, "gray") {
				t.Errorf("%s: %q has nothing to do with graylib", name, l)
			}
		}
	}
}

// TestHandlersKnowNothing: no handler speaks of tags.
func TestHandlersKnowNothing(t *testing.T) {
	for _, name := range programs(t) {
		text := source(t, name, "after")
		for _, word := range []string{`pkg/graylib"`, "Tag", "x-gray", "GRAY_"} {
			if strings.Contains(strings.Join(text, "\n"), word) {
				t.Errorf("broke G10 no gray code in business code: %s says %q", name, word)
			}
		}
	}
}

// programs are the folders here.
func programs(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		t.Fatal("no programs")
	}
	return names
}

func source(t *testing.T, name, version string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(name, version, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// diffOf returns the lines that differ, removed ones with - and added ones with + in front.
func diffOf(t *testing.T, name string) []string {
	t.Helper()
	a, b := source(t, name, "before"), source(t, name, "after")
	// The length of the longest common subsequence of a[i:] and b[j:].
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var lines []string
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			lines = append(lines, "-"+a[i])
			i++
		default:
			lines = append(lines, "+"+b[j])
			j++
		}
	}
	return lines
}
