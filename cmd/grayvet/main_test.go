package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A module that knows nothing of graychain is checked as its developers would check it.
func TestVettool(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "grayvet")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", tool, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	vet := func(t *testing.T, source string) (string, error) {
		t.Helper()
		module := t.TempDir()
		for name, text := range map[string]string{"go.mod": "module example\n\ngo 1.26\n", "main.go": source} {
			if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "go", "vet", "-vettool="+tool, "./...")
		cmd.Dir, cmd.Env = module, append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const good = `package main

import "context"

func call(ctx context.Context) {}

func handle(ctx context.Context) { call(ctx) }

func main() { handle(context.Background()) }
`
	t.Run("clean", func(t *testing.T) {
		if out, err := vet(t, good); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("a lost context", func(t *testing.T) {
		out, err := vet(t, strings.Replace(good, "{ call(ctx) }", "{ call(context.Background()) }", 1))
		if err == nil || !strings.Contains(out, "main.go:7:41: context.Background() loses the tag, request id and trace of ctx") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
