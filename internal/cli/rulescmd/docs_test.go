package rulescmd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocs runs what docs/rules.md shows: its commands on its document, with the output that it shows.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "rules.md"))
	if err != nil {
		t.Fatal(err)
	}
	documents, sessions := blocks(string(page), "yaml"), blocks(string(page), "console")
	if len(documents) != 1 || len(sessions) != 1 {
		t.Fatalf("%d documents and %d sessions, want one each", len(documents), len(sessions))
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("rules.yaml", []byte(documents[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(sessions[0]) {
		if command, ok := strings.CutPrefix(line, "$ graychain rules "); ok {
			stdout, stderr, err := run(t, &memStore{}, nil, "", strings.Fields(command)...)
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
			got.WriteString(line + stdout + stderr)
		}
	}
	if diff := cmp.Diff(sessions[0], got.String()); diff != "" {
		t.Errorf("the session of docs/rules.md (-shown +run):\n%s", diff)
	}
}

// blocks returns the fenced blocks of a language.
func blocks(page, language string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		out = append(out, m[1])
	}
	return out
}
