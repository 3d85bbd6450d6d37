package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/localinfra"
)

// upLimit bounds one start of `graychain up` on a busy machine, servers and all.
const upLimit = 3 * time.Minute

// needServers skips a test that starts servers of its own where they can't be started; with CI=true it fails.
func needServers(t *testing.T) {
	t.Helper()
	if err := localinfra.CheckTools(t.Context()); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("with CI=true this test must run: %v", err)
		}
		t.Skipf("SKIPPED: %v", err)
	}
}

var (
	buildOnce sync.Once
	binary    string
	errBuild  error
)

// graychain builds the command once.
func graychain(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		if shared.dir == "" {
			if shared.dir, errBuild = os.MkdirTemp("", "graychain-e2e-"); errBuild != nil { //nolint:usetesting // it outlives the test
				return
			}
		}
		binary = filepath.Join(shared.dir, "graychain")
		out, err := exec.Command("go", "build", "-o", binary, "../cmd/graychain").CombinedOutput()
		if err != nil {
			errBuild = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if errBuild != nil {
		t.Fatal(errBuild)
	}
	return binary
}

// output is what a process has printed so far.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// cli runs the command to its end and returns its exit code with all that it printed.
func cli(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), upLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, graychain(t), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("graychain %v: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// up starts `graychain up` by the command line given, and waits until both loops are drawn and closed.
func up(t *testing.T, argv ...string) (*exec.Cmd, *output) {
	t.Helper()
	var out output
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 10 * time.Second // a grandchild that holds the pipe must not hold the test
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var end error
	go func() { end = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(60 * time.Second):
			t.Errorf("up did not end on SIGTERM within 60 s")
			_ = cmd.Process.Kill()
		}
	})
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for strings.Count(out.String(), "closed") < 2 {
		select {
		case <-ended:
			t.Fatalf("up ended: %v\n%s", end, out.String())
		case <-tick.C:
			if time.Since(began) > upLimit {
				t.Fatalf("up drew no two closed loops within %v:\n%s", upLimit, out.String())
			}
		}
	}
	t.Logf("both loops closed after %v", time.Since(began).Round(100*time.Millisecond))
	return cmd, &out
}

// leftovers returns the processes that have something to do with a folder: its name in their arguments, or their working
// directory in it.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("SKIPPED: no /proc to look for processes in")
	}
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		args, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || len(args) == 0 || e.Name() == fmt.Sprint(os.Getpid()) {
			continue
		}
		cwd, _ := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		line := strings.ReplaceAll(string(args), "\x00", " ")
		if strings.Contains(line, dir) || strings.HasPrefix(cwd, dir) {
			found = append(found, fmt.Sprintf("pid %s: %.200s", e.Name(), line))
		}
	}
	return found
}

// nothingLeft waits for every process of a folder to end. The 5 s that are promised are up to the limits that package proc tests; a
// busy machine takes longer.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	var left []string
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if left = leftovers(t, dir); len(left) == 0 {
			t.Logf("nothing left after %v", time.Since(began).Round(10*time.Millisecond))
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("still there after 30 s:\n%s", strings.Join(left, "\n"))
		}
		<-tick.C
	}
}

// `up` starts servers of its own; while it runs, a second start, bad input and `send` are tried; kill -9 leaves nothing.
func TestUpFromStartToKill(t *testing.T) {
	needServers(t)
	state := t.TempDir()
	cmd, _ := up(t, graychain(t), "up", "--infra=local", "--state", state)

	t.Run("starting twice", func(t *testing.T) {
		code, out := cli(t, nil, "up", "--infra=local", "--state", state)
		if code == 0 || !strings.Contains(out, fmt.Sprintf("pid %d", cmd.Process.Pid)) || !strings.Contains(out, "runs already") {
			t.Errorf("exit code %d, output:\n%s", code, out)
		}
	})
	t.Run("send", func(t *testing.T) {
		for _, args := range [][]string{{"send", "--state", state}, {"send", "--state", state, "/A/dubbo?name=xiaoming"}} {
			if code, out := cli(t, nil, args...); code != 0 || !strings.Contains(out, "closed") {
				t.Errorf("%v: exit code %d, output:\n%s", args, code, out)
			}
		}
		if code, out := cli(t, nil, "send", "--state", state, "--qps", "20", "--gray-share", "50", "--for", "3s"); code != 0 {
			t.Errorf("traffic: exit code %d, output:\n%s", code, out)
		}
	})
	t.Run("bad rules change nothing", func(t *testing.T) { badRules(t, state) })

	if len(leftovers(t, state)) < 9 { // three servers, six services
		t.Errorf("only these processes are found, so the check below proves little:\n%s", strings.Join(leftovers(t, state), "\n"))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, state)
}

// kill -9 of `go run`: what it started notices, and leaves nothing.
func TestKillingGoRunLeavesNothing(t *testing.T) {
	needServers(t)
	state := t.TempDir()
	cmd, _ := up(t, "go", "run", "../cmd/graychain", "up", "--infra=local", "--state", state)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, state)
}

// badRules tries documents that must be refused, and looks that the published one is the same afterwards.
func badRules(t *testing.T, state string) {
	code, before := cli(t, nil, "rules", "get", "--state", state)
	if code != 0 {
		t.Fatalf("rules get: exit code %d\n%s", code, before)
	}
	// One more revision, so that the one before is stale.
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(before+"# one more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	old := before
	if code, out := cli(t, nil, "rules", "apply", "--state", state, file); code != 0 {
		t.Fatalf("rules apply: exit code %d\n%s", code, out)
	}
	_, before = cli(t, nil, "rules", "get", "--state", state)
	revision, stale := revisionOf(t, before), revisionOf(t, old)
	if revision == stale {
		t.Fatalf("publishing left the revision at %s", revision)
	}
	for _, tc := range []struct{ name, from, to, want string }{
		{"broken", "lanes:", "lanes: [", "rules.yaml:"},
		{"unknown field", "lanes:", "lames: 1\nlanes:", "lames"},
		{"stale revision", "revision: " + revision, "revision: " + stale, "revision"},
		{"unknown op", `==`, `~=`, "~="},
		{"malformed tag", "tag: gray", "tag: Gray_1", "Gray_1"},
		{"unknown mode", "baseline: auto", "baseline: sometimes", "sometimes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !strings.Contains(before, tc.from) {
				t.Fatalf("nothing to break: no %q in\n%s", tc.from, before)
			}
			bad := strings.Replace(before, tc.from, tc.to, 1) + "# changed\n"
			file := filepath.Join(t.TempDir(), "rules.yaml")
			if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			code, out := cli(t, nil, "rules", "apply", "--state", state, file)
			if code == 0 || !strings.Contains(out, tc.want) {
				t.Errorf("exit code %d, want another than 0 and a line with %q:\n%s", code, tc.want, out)
			}
			if _, after := cli(t, nil, "rules", "get", "--state", state); after != before {
				t.Errorf("the published document changed:\n%s", after)
			}
		})
	}
}

// revisionOf reads a document's revision.
func revisionOf(t *testing.T, document string) string {
	t.Helper()
	for line := range strings.SplitSeq(document, "\n") {
		if after, found := strings.CutPrefix(line, "revision: "); found {
			return after
		}
	}
	t.Fatalf("no revision in\n%s", document)
	return ""
}

// Bad input that must end before anything is started.
func TestBadInputStartsNothing(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	port := fmt.Sprint(busy.Addr().(*net.TCPAddr).Port)
	empty := t.TempDir()
	goOnly := t.TempDir() // a PATH with go and nothing else
	gobin, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(gobin, filepath.Join(goOnly, "go")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		env  []string
		args []string
		want []string
	}{
		{"no infra", nil, []string{"up"}, []string{"--infra=local"}},
		{"unknown infra", nil, []string{"up", "--infra=cloud"}, []string{"cloud", "local"}},
		{"malformed tag", nil, []string{"up", "--infra=local", "--tag", "GRAY!"}, []string{"GRAY!", "a-z"}},
		{"reserved tag", nil, []string{"up", "--infra=local", "--tag", "baseline"}, []string{"baseline", "reserved"}},
		{"unknown service", nil, []string{"up", "--infra=local", "--gray", "a,z"}, []string{"z", "a,b,c"}},
		{"no JDK", []string{"PATH=" + goOnly, "JAVA_HOME="}, []string{"up", "--infra=local"}, []string{"JDK of version 17"}},
		{"taken port", nil, []string{"up", "--infra=local", "--nacos-port", port}, []string{port, "taken"}},
		{"unknown flag", nil, []string{"up", "--ifnra=local"}, []string{"ifnra"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			state := filepath.Join(empty, strings.ReplaceAll(tc.name, " ", "-"))
			args := append(tc.args, "--state", state)
			if tc.name == "no JDK" || tc.name == "taken port" {
				needServers(t)
			}
			code, out := cli(t, tc.env, args...)
			if code == 0 {
				t.Errorf("exit code 0:\n%s", out)
			}
			for _, w := range tc.want {
				if !strings.Contains(out, w) {
					t.Errorf("no %q in:\n%s", w, out)
				}
			}
			if i := strings.Index(out, "graychain: "); i < 0 || strings.Contains(strings.TrimSpace(out[i:]), "\n") && !strings.Contains(out[i:], "--help") {
				t.Errorf("want the error in one clear line at the end:\n%s", out)
			}
			if left := leftovers(t, state); len(left) > 0 {
				t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
			}
		})
	}
}

// A service with a malformed GRAY_TAG refuses to start.
func TestMalformedOwnTagRefusesToStart(t *testing.T) {
	for _, service := range []string{"gateway", "a", "b", "c"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), upLimit)
			defer cancel()
			cmd := exec.CommandContext(ctx, "go", "run", "../services/"+service)
			cmd.Env = append(os.Environ(), "GRAY_TAG=Gray_1")
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "GRAY_TAG") || !strings.Contains(string(out), "Gray_1") {
				t.Errorf("error %v, output:\n%s", err, out)
			}
		})
	}
}
