package proc

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTail(t *testing.T) {
	for _, c := range []struct {
		name, content string
		from          int64
		n             int
		want          []string
	}{
		{"empty", "", 0, 5, nil},
		{"only line ends", "\n\n", 0, 5, nil},
		{"fewer than asked", "a\nb\n", 0, 5, []string{"a", "b"}},
		{"more than asked", "a\nb\nc\n", 0, 2, []string{"b", "c"}},
		{"no last line end", "a\nb", 0, 1, []string{"b"}},
		{"from an offset", "old\nnew\n", 4, 5, []string{"new"}},
		{"offset at the end", "old\n", 4, 5, nil},
		{"truncated since", "new\n", 400, 5, []string{"new"}},
		{"carriage return", "a\r\nb\r\n", 0, 5, []string{"a", "b"}},
		{"not UTF-8", "a\xffb\n", 0, 5, []string{"a\uFFFDb"}},
		{"long line", strings.Repeat("x", 500) + "\n", 0, 5, []string{strings.Repeat("x", 400) + "…"}},
		{"none wanted", "a\n", 0, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := Tail(path, c.from, c.n)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Tail (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTailOfManyLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.IntRange(1, 5000).Draw(t, "lines")
		n := rapid.IntRange(1, 40).Draw(t, "n")
		var b strings.Builder
		for i := range lines {
			fmt.Fprintf(&b, "line %d of many, with some words\n", i)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := Tail(path, 0, n)
		if err != nil {
			t.Fatal(err)
		}
		if want := min(n, lines); len(got) != want {
			t.Fatalf("%d lines, want %d", len(got), want)
		}
		for i, l := range got {
			if want := fmt.Sprintf("line %d of many, with some words", lines-len(got)+i); l != want {
				t.Fatalf("line %d = %q, want %q", i, l, want)
			}
		}
	})
}
