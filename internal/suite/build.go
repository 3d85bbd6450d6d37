package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const module = "github.com/graychain/graychain"

// ErrNoSources is wrapped where the services are to be built, but this program doesn't run from a checkout.
var ErrNoSources = errors.New("the sources of the services are not here")

// Build builds the services into dir with the go command, and returns where they are: dir itself. What is up to date is
// left as it is. The sources are those of the checkout that the working folder is in, else those that this program was
// built from.
func Build(ctx context.Context, dir string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "./services/...")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build ./services/...: %w\n%s", err, bytes.TrimSpace(out))
	}
	return checkBin(dir)
}

// checkBin tells whether a folder holds all services.
func checkBin(dir string) error {
	for _, s := range Services {
		info, err := os.Stat(filepath.Join(dir, s))
		if err != nil {
			return fmt.Errorf("service %s: %w", s, err)
		}
		if info.IsDir() || info.Mode()&0o111 == 0 {
			return fmt.Errorf("service %s: %s is no program", s, filepath.Join(dir, s))
		}
	}
	return nil
}

// moduleRoot finds the checkout.
func moduleRoot(ctx context.Context) (string, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("the services are built with the go command, which is not in PATH: install Go 1.26, or name built ones with --bin: %w", err)
	}
	candidates := []string{"."}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) { // not with -trimpath
		candidates = append(candidates, filepath.Dir(file))
	}
	for _, dir := range candidates {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}}\n{{.Dir}}")
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			continue
		}
		path, root, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if path == module {
			return root, nil
		}
	}
	return "", fmt.Errorf("%w: run this from a checkout of %s, or name built ones with --bin", ErrNoSources, module)
}
