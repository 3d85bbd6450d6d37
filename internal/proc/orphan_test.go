package proc

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lockedBuffer collects a child's output.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startSupervisor runs this binary as a supervisor with a family of processes and returns all their pids, the guard's
// first.
func startSupervisor(t *testing.T) (kill func(), pids []int) {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := self("supervise")
	c.Env = append(c.Env, "PROC_TEST_DIR="+dir)
	c.Stdout, c.Stderr = f, f
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	t.Cleanup(kill)
	family := filepath.Join(dir, "3.log")
	eventually(t, 30*time.Second, "the supervisor is up", func() bool {
		data, _ := os.ReadFile(out)
		if bytes.Contains(data, []byte("error")) {
			t.Fatalf("%s", data)
		}
		return bytes.Contains(data, []byte("\nup\n"))
	})
	eventually(t, 30*time.Second, "four grandchildren", func() bool { return len(pidsIn(t, family)) == 4 })
	return kill, append(pidsIn(t, out), pidsIn(t, family)...)
}

func TestKillOfSupervisorLeavesNothing(t *testing.T) {
	kill, pids := startSupervisor(t)
	if len(pids) != 10 {
		t.Fatalf("pids = %v, want ten: the guard, five children and four below one of them", pids)
	}
	if runtime.GOOS != "linux" {
		pids = pids[:6]
	}
	kill()
	allGone(t, 30*time.Second, pids)
}

// A guard whose supervisor is gone needs no more than the promised 5 s, beside what a busy machine takes.
func TestGuardsLimits(t *testing.T) {
	if most := orphanGrace + sweepLimit; most > 4*time.Second {
		t.Errorf("a guard may take %v, and 5 s are promised", most)
	}
}

func TestKillOfSupervisorAndGuardLeavesNoChild(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: only Linux tells a child that its guard was killed")
	}
	kill, pids := startSupervisor(t)
	// Together, the guard first: it has no time to do anything.
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	kill()
	allGone(t, 30*time.Second, pids[:6])
	for _, pid := range pids[6:] { // what a killed guard could not find any more
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestKilledGuardIsReported(t *testing.T) {
	g := newGroup(t)
	p := run(t, g, spec("stubborn", filepath.Join(t.TempDir(), "x.log")))
	logged(t, p, "ready")
	if err := g.guard.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-g.Deaths():
		if !errors.Is(e, ErrGuardGone) || !strings.Contains(e.Error(), "guard was killed") {
			t.Errorf("the death says %q, want ErrGuardGone", e)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no death reported")
	}
	allGone(t, 30*time.Second, []int{p.PID()})
	if _, err := g.Start(t.Context(), spec("stay", filepath.Join(t.TempDir(), "y.log"))); !errors.Is(err, ErrGuardGone) {
		t.Errorf("Start = %v, want ErrGuardGone", err)
	}
}

func TestGuardEndsAllOnItsOwnSIGTERM(t *testing.T) {
	group, err := newGroupGiving(30 * time.Second) // a busy machine's children need it
	g := stopped(t, group, err)
	p := run(t, g, spec("polite", filepath.Join(t.TempDir(), "x.log")))
	logged(t, p, "ready")
	if err := g.guard.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Errorf("polite did not end gracefully: %v", err)
	}
}

func TestKillOfRunnerIsNoticed(t *testing.T) {
	c := self("runner")
	out := &lockedBuffer{}
	c.Stdout = out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "out")
	eventually(t, 30*time.Second, "the watched process says its pid", func() bool { return strings.Contains(out.String(), "pid ") })
	if err := os.WriteFile(log, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	pids := pidsIn(t, log)
	if !alive(pids[0]) {
		t.Fatal("the watched process ended before its parent did")
	}
	_ = c.Process.Kill()
	allGone(t, 30*time.Second, pids)
	_ = c.Wait()
}

func TestWatchParent(t *testing.T) {
	var mu sync.Mutex
	parent := 42
	get := func() int {
		mu.Lock()
		defer mu.Unlock()
		return parent
	}
	gone := watchParent(t.Context(), get, time.Millisecond)
	select {
	case <-gone:
		t.Fatal("reported while the parent lives")
	case <-time.After(50 * time.Millisecond):
	}
	mu.Lock()
	parent = 1
	mu.Unlock()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Fatal("not reported")
	}
	select {
	case <-watchParent(context.Background(), func() int { return 1 }, time.Millisecond):
		t.Fatal("process 1 as the starter was reported")
	case <-time.After(20 * time.Millisecond):
	}
}
