package proc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDeathIsReportedWithStatusAndLog(t *testing.T) {
	g := newGroup(t)
	p := run(t, g, spec("fail", filepath.Join(t.TempDir(), "deep", "fail.log")))
	var e *Exit
	select {
	case e = <-g.Deaths():
	case <-time.After(30 * time.Second):
		t.Fatal("no death reported")
	}
	if e.Name != "fail" || e.Code != 7 || e.Signal != 0 || e.Asked || e.PID != p.PID() {
		t.Errorf("Exit = %+v, want fail's, with code 7", e)
	}
	if diff := cmp.Diff([]string{"line one", "line two: cannot go on"}, e.Tail); diff != "" {
		t.Errorf("the log's end (-want +got):\n%s", diff)
	}
	for _, want := range []string{"fail (pid ", "exit status 7", "fail.log", "line two: cannot go on"} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("Error() = %q lacks %q", e.Error(), want)
		}
	}
	if err := p.Wait(t.Context()); !errors.Is(err, ErrExited) {
		t.Errorf("Wait = %v, want ErrExited", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("Stop after the end: %v", err)
	}
}

func TestStopIsGracefulThenFirm(t *testing.T) {
	g := newGroup(t)
	dir := t.TempDir()

	polite := run(t, g, spec("polite", filepath.Join(dir, "polite.log")))
	logged(t, polite, "ready")
	if err := polite.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := polite.Exit(); e.Code != 0 || !e.Asked {
		t.Errorf("polite's Exit = %+v, want code 0, asked", e)
	}
	if diff := cmp.Diff([]string{"ready", "going"}, polite.Tail(5)); diff != "" {
		t.Errorf("polite's log (-want +got):\n%s", diff)
	}

	s := spec("stubborn", filepath.Join(dir, "stubborn.log"))
	s.Grace = 300 * time.Millisecond
	stubborn := run(t, g, s)
	logged(t, stubborn, "ready")
	begin := time.Now()
	if err := stubborn.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < s.Grace {
		t.Errorf("stubborn ended after %s, before its grace of %s", took, s.Grace)
	}
	if e := stubborn.Exit(); e.Signal != syscall.SIGKILL {
		t.Errorf("stubborn's Exit = %+v, want SIGKILL", e)
	}

	s = spec("polite", filepath.Join(dir, "polite.log"))
	s.Grace, s.Append = KillAtOnce, true
	abrupt := run(t, g, s)
	logged(t, abrupt, "ready")
	if err := abrupt.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := abrupt.Exit(); e.Signal != syscall.SIGKILL {
		t.Errorf("abrupt's Exit = %+v, want SIGKILL", e)
	}
	if diff := cmp.Diff([]string{"ready"}, abrupt.Tail(5)); diff != "" {
		t.Errorf("this run's part of the log (-want +got):\n%s", diff)
	}
	if lines, err := Tail(s.Log, 0, 5); err != nil || len(lines) != 3 {
		t.Errorf("the whole log = %q, %v; want three lines", lines, err)
	}

	s = spec("stubborn", filepath.Join(dir, "hurried.log"))
	hurried := run(t, g, s)
	logged(t, hurried, "ready")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin = time.Now()
	if err := hurried.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > DefaultGrace/2 {
		t.Errorf("a stop whose context ended took %s", took)
	}
	select {
	case e := <-g.Deaths():
		t.Errorf("a stop that was asked for was reported as a death: %v", e)
	default:
	}
}

func TestStopEndsGrandchildren(t *testing.T) {
	g := newGroup(t)
	s := spec("family", filepath.Join(t.TempDir(), "family.log"))
	p := run(t, g, s)
	logged(t, p, "ready")
	eventually(t, 30*time.Second, "four descendants", func() bool { return len(pidsIn(t, s.Log)) == 4 })
	pids := append(pidsIn(t, s.Log), p.PID())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "linux" {
		pids = pids[:1] // what leaves its group is not found there
	}
	allGone(t, 30*time.Second, pids)
}

func TestGroupStopsInReverseOrder(t *testing.T) {
	g := newGroup(t)
	dir := t.TempDir()
	var ps []*Process
	for _, n := range []struct{ name, batch string }{{"one", "x"}, {"two", "x"}, {"three", ""}, {"four", ""}} {
		s := spec("polite", filepath.Join(dir, n.name))
		s.Name, s.Batch = n.name, n.batch
		p := run(t, g, s)
		logged(t, p, "ready")
		ps = append(ps, p)
	}
	var got [][]string
	for _, b := range batches(ps) {
		var names []string
		for _, p := range b {
			names = append(names, p.Name())
		}
		got = append(got, names)
	}
	if diff := cmp.Diff([][]string{{"four"}, {"three"}, {"two", "one"}}, got); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range ps[:3] {
		if i == 0 {
			continue // one and two end together
		}
		a, b := ps[i], ps[i+1]
		if a.begin.Add(a.Exit().After).Before(b.begin.Add(b.Exit().After)) {
			t.Errorf("%s ended before %s", a.Name(), b.Name())
		}
	}
	if _, err := g.Start(t.Context(), spec("stay", filepath.Join(dir, "late"))); !errors.Is(err, ErrStopped) {
		t.Errorf("Start after Stop: %v, want ErrStopped", err)
	}
}

func TestStartErrors(t *testing.T) {
	g := newGroup(t)
	log := filepath.Join(t.TempDir(), "x.log")
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte{0, 1, 2, 3}, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		spec Spec
		is   error
		says string
	}{
		{"no name", Spec{Path: "sh", Log: log}, ErrSpec, "Name is empty"},
		{"no path", Spec{Name: "x", Log: log}, ErrSpec, `Path of "x" is empty`},
		{"no log", Spec{Name: "x", Path: "sh"}, ErrSpec, `Log of "x" is empty`},
		{"no such program", Spec{Name: "x", Path: "no-such-program", Log: log}, ErrSpec, `"no-such-program"`},
		{"no such folder", Spec{Name: "x", Path: "sh", Log: log, Dir: "/no/such/folder"}, ErrSpec, `Dir "/no/such/folder" of "x" is no folder`},
		{"not a program", Spec{Name: "x", Path: junk, Log: log}, ErrStart, "exec format error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := g.Start(t.Context(), c.spec)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Start = %v, want %v with %q", err, c.is, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestWaitReadySaysWhatIsMissing(t *testing.T) {
	g := newGroup(t)
	p := run(t, g, spec("polite", filepath.Join(t.TempDir(), "polite.log")))
	logged(t, p, "ready")
	missing := errors.New("port 1 refuses")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := p.WaitReady(ctx, 10*time.Millisecond, func(context.Context) error { return missing })
	if !errors.Is(err, ErrNotReady) || !errors.Is(err, missing) || !strings.Contains(err.Error(), "\n    ready") {
		t.Errorf("WaitReady = %v, want ErrNotReady, the check's answer and the log", err)
	}
	f := run(t, g, spec("fail", filepath.Join(t.TempDir(), "fail.log")))
	err = f.WaitReady(t.Context(), time.Hour, func(context.Context) error { return missing })
	var e *Exit
	if !errors.As(err, &e) || e.Code != 7 {
		t.Errorf("WaitReady of a process that ends = %v, want its Exit", err)
	}
}

func TestPauseAndResume(t *testing.T) {
	g := newGroup(t)
	p := run(t, g, spec("polite", filepath.Join(t.TempDir(), "polite.log")))
	logged(t, p, "ready")
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		eventually(t, 30*time.Second, "the process is stopped", func() bool { return state(t, p.PID()) == "T" })
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" {
		eventually(t, 30*time.Second, "the process goes on", func() bool { return state(t, p.PID()) != "T" })
	}
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := p.Exit(); e.Code != 0 {
		t.Errorf("a paused process was not stopped gracefully: %v", e)
	}
}

func TestGuardSurvivesTheThreadThatStartedIt(t *testing.T) {
	var g *Group
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		var err error
		g, err = NewGroup()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Stop(t.Context()) }()
	p := run(t, g, spec("polite", filepath.Join(t.TempDir(), "polite.log")))
	logged(t, p, "ready")
	select {
	case <-g.gone:
		t.Fatal("the guard ended with the thread that started it")
	case <-p.Done():
		t.Fatal(p.Exit())
	case <-time.After(300 * time.Millisecond):
	}
}

func TestNestedGroupIsRefusedWithoutGuardMain(t *testing.T) {
	guardMainCalled.Store(false)
	defer guardMainCalled.Store(true)
	if _, err := NewGroup(); !errors.Is(err, ErrNoGuardMain) {
		t.Errorf("NewGroup = %v, want ErrNoGuardMain", err)
	}
}
