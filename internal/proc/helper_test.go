package proc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// modeEnv makes the test binary play a part: a child, a supervisor.
const modeEnv = "PROC_TEST_MODE"

func TestMain(m *testing.M) {
	GuardMain()
	switch mode := os.Getenv(modeEnv); mode {
	case "":
		// The race detector makes every process wait a second before it ends.
		if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	case "stay":
		fmt.Println("staying")
		stay()
	case "polite":
		got := make(chan os.Signal, 1)
		signal.Notify(got, syscall.SIGTERM)
		fmt.Println("ready")
		<-got
		fmt.Println("going")
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		stay()
	case "fail":
		fmt.Println("line one")
		fmt.Fprintln(os.Stderr, "line two: cannot go on")
		os.Exit(7)
	case "family":
		// A grandchild in this group, one in a session of its own that ignores SIGTERM, and one whose parent ends.
		start("stubborn", nil)
		start("stubborn", &syscall.SysProcAttr{Setsid: true})
		start("abandon", nil)
		fmt.Println("ready")
		stay()
	case "abandon":
		start("stubborn", &syscall.SysProcAttr{Setsid: true})
	case "supervise":
		supervise()
	case "runner":
		// What `go run` does: start a program and wait for it.
		c := self("watched")
		c.Stdout = os.Stdout
		if err := c.Run(); err != nil {
			os.Exit(1)
		}
	case "watched":
		gone := WatchParent(context.Background())
		fmt.Println("pid", os.Getpid())
		<-gone
	default:
		fmt.Fprintf(os.Stderr, "unknown %s=%q\n", modeEnv, mode)
		os.Exit(2)
	}
}

// supervise is a program with a group: it prints the pids of all that it started, and stays.
func supervise() {
	g, err := NewGroup()
	check(err)
	dir := os.Getenv("PROC_TEST_DIR")
	fmt.Println("pid", g.guard.Process.Pid)
	for i, mode := range []string{"stay", "polite", "stubborn", "family"} {
		p, err := g.Start(context.Background(), spec(mode, filepath.Join(dir, fmt.Sprint(i, ".log"))))
		check(err)
		fmt.Println("pid", p.PID())
	}
	// Paused, so that SIGTERM alone does nothing.
	p, err := g.Start(context.Background(), spec("polite", filepath.Join(dir, "paused.log")))
	check(err)
	check(p.Pause())
	fmt.Println("pid", p.PID())
	fmt.Println("up")
	stay()
}

// stay never returns. (A select without a case would: with no other goroutine the runtime calls it a deadlock, unless cgo is linked
// in, as with the race detector.)
func stay() {
	for {
		time.Sleep(time.Hour)
	}
}

func check(err error) {
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func start(mode string, attr *syscall.SysProcAttr) {
	c := self(mode)
	c.Stdout, c.Stderr, c.SysProcAttr = os.Stdout, os.Stderr, attr
	check(c.Start())
	fmt.Println("pid", c.Process.Pid)
}

func self(mode string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), modeEnv+"="+mode)
	return c
}

func spec(mode, log string) Spec {
	return Spec{Name: mode, Path: os.Args[0], Env: append(os.Environ(), modeEnv+"="+mode), Log: log}
}

func newGroup(t *testing.T) *Group {
	t.Helper()
	g, err := NewGroup()
	return stopped(t, g, err)
}

// stopped lets a new group end with the test.
func stopped(t *testing.T, g *Group, err error) *Group {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := g.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return g
}

func run(t *testing.T, g *Group, s Spec) *Process {
	t.Helper()
	p, err := g.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// logged waits until the process has logged a line.
func logged(t *testing.T, p *Process, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := p.WaitReady(ctx, 10*time.Millisecond, func(context.Context) error {
		for _, l := range p.Tail(100) {
			if l == line {
				return nil
			}
		}
		return fmt.Errorf("no line %q yet", line)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pidsIn reads the lines `pid N` of a log.
func pidsIn(t *testing.T, path string) []int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if n, ok := strings.CutPrefix(s.Text(), "pid "); ok {
			pid, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// eventually polls until the condition holds.
func eventually(t *testing.T, limit time.Duration, what string, cond func() bool) {
	t.Helper()
	for until := time.Now().Add(limit); ; {
		if cond() {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// alive tells whether a process runs; a zombie that nobody has collected does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		_, err := os.Stat("/proc/self/stat")
		return err != nil // without /proc, kill's answer stands
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(fields) > 0 && string(fields[0]) != "Z"
}

func allGone(t *testing.T, limit time.Duration, pids []int) {
	t.Helper()
	begin := time.Now()
	eventually(t, limit, fmt.Sprintf("all of %v are gone", pids), func() bool {
		for _, pid := range pids {
			if alive(pid) {
				return false
			}
		}
		return true
	})
	t.Logf("%d processes gone after %s", len(pids), time.Since(begin).Round(time.Millisecond))
}

// state is the kernel's letter for what a process does.
func state(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])[0])
}
