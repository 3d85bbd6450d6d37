package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// DefaultGrace is what a process gets between SIGTERM and SIGKILL where its Spec says nothing.
	DefaultGrace = 10 * time.Second
	// KillAtOnce is a Spec.Grace for processes that need no notice: they get SIGKILL alone.
	KillAtOnce time.Duration = -1

	// tailLines is how much of its log a message about a process quotes.
	tailLines = 20
	// killWait bounds the wait for a process that was sent SIGKILL.
	killWait = 10 * time.Second
)

// Spec says what to start.
type Spec struct {
	// Name is what messages call the process. Required.
	Name string
	// Path is the program: a path, or a name to look up in PATH. Required.
	Path string
	// Args are its arguments, without the program's name.
	Args []string
	// Env is its whole environment, KEY=value; nil means this process's own.
	Env []string
	// Dir is its working directory; empty means this process's own.
	Dir string
	// Log is the file that gets its standard output and error; its folder is created. Required.
	Log string
	// Append keeps what an older run wrote into Log; without it the file is emptied.
	Append bool
	// Grace is the time between SIGTERM and SIGKILL when it is stopped: 0 means DefaultGrace, negative no SIGTERM at all.
	Grace time.Duration
	// Batch, where not empty, lets neighbours in the order of start that bear the same one be stopped together by
	// Group.Stop.
	Batch string
	// OneShot says that the process is meant to end by itself: its end is not reported by Group.Deaths.
	OneShot bool
	// Forgive, where not nil, is asked about an end that nobody wanted, before anyone hears of it: where it says true,
	// Group.Deaths doesn't report it. It is for who starts the process again. It must not block.
	Forgive func(*Process) bool
}

func (s *Spec) check() (path string, err error) {
	switch {
	case s.Name == "":
		return "", fmt.Errorf("%w: Name is empty; it must say what the process is", ErrSpec)
	case s.Path == "":
		return "", fmt.Errorf("%w: Path of %q is empty; it must be a program", ErrSpec, s.Name)
	case s.Log == "":
		return "", fmt.Errorf("%w: Log of %q is empty; it must be a file's path", ErrSpec, s.Name)
	}
	if s.Dir != "" {
		if info, err := os.Stat(s.Dir); err != nil || !info.IsDir() {
			return "", fmt.Errorf("%w: Dir %q of %q is no folder", ErrSpec, s.Dir, s.Name)
		}
	}
	path, err = exec.LookPath(s.Path)
	if err != nil {
		return "", fmt.Errorf("%w: Path %q of %q: %w", ErrSpec, s.Path, s.Name, err)
	}
	return filepath.Abs(path)
}

// Process is a process of a Group. Its methods may be called from any goroutine.
type Process struct {
	group *Group
	spec  Spec
	id    int
	begin time.Time
	from  int64 // where this run begins in the log

	started chan struct{} // closed once pid or failure is set
	pid     int
	failure error

	mu    sync.Mutex
	asked bool
	exit  *Exit
	done  chan struct{}
}

// Name is the name of the process's Spec.
func (p *Process) Name() string { return p.spec.Name }

// PID is the process's id, and its process group's.
func (p *Process) PID() int { return p.pid }

// Spec returns what the process was started from, to start another like it.
func (p *Process) Spec() Spec { return p.spec }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells how the process ended; nil while it runs.
func (p *Process) Exit() *Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Wait waits until the process has ended and returns how: nil for status 0, an *Exit for anything else, the context's
// error where that ends first.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.done:
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s to end: %w", p.spec.Name, context.Cause(ctx))
	}
	e := p.Exit()
	if e.Code == 0 && e.Cause == nil {
		return nil
	}
	return e
}

// Tail returns the last n lines that this run of the process has logged.
func (p *Process) Tail(n int) []string {
	lines, err := Tail(p.spec.Log, p.from, n)
	if err != nil {
		return nil
	}
	return lines
}

// Stop sends SIGTERM to the process's group, SIGKILL when the grace of its Spec or ctx is over, and waits until it has
// ended. It may be called more than once, and after the process has ended.
func (p *Process) Stop(ctx context.Context) error {
	grace := p.spec.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	if !p.ask() {
		return nil
	}
	if err := p.group.send(command{Op: opStop, ID: p.id, Grace: grace}); err != nil && !errors.Is(err, ErrGuardGone) {
		return err
	}
	var limit <-chan time.Time
	if grace > 0 {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		limit = timer.C
		select {
		case <-p.done:
			return nil
		case <-limit:
		case <-ctx.Done():
		}
	}
	return p.Kill()
}

// Kill sends SIGKILL to the process's group and waits until it has ended.
func (p *Process) Kill() error {
	if !p.ask() {
		return nil
	}
	_ = p.group.send(command{Op: opSignal, ID: p.id, Signal: int(syscall.SIGKILL)})
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		if p.Exit() != nil { // both came while this process stood still
			return nil
		}
		return fmt.Errorf("%w: %s (pid %d) is still there %s after SIGKILL", ErrStuck, p.spec.Name, p.pid, killWait)
	}
}

// Pause stops the process's group where it is (SIGSTOP), until Resume. A paused process can be stopped and killed.
func (p *Process) Pause() error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a paused process go on (SIGCONT).
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Signal sends a signal to the process's group. An end that it causes counts as one that nobody asked for.
func (p *Process) Signal(s syscall.Signal) error {
	if e := p.Exit(); e != nil {
		return e
	}
	return p.group.send(command{Op: opSignal, ID: p.id, Signal: int(s)})
}

// WaitReady calls check until it returns nil, again `every` so often, and returns nil then. It returns an *Exit as soon as
// the process ends, and an error with the last answer of check and the end of the log when ctx is over.
func (p *Process) WaitReady(ctx context.Context, every time.Duration, check func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := check(ctx)
		if e := p.Exit(); e != nil {
			return e
		}
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
		case <-tick.C:
		case <-ctx.Done():
			var b strings.Builder
			quoteLog(&b, p.spec.Log, p.Tail(tailLines))
			return fmt.Errorf("%w: %s (pid %d) after %s (%w): %w%s",
				ErrNotReady, p.spec.Name, p.pid, time.Since(p.begin).Round(10*time.Millisecond), context.Cause(ctx), err, b.String())
		}
	}
}

// ask notes that the process's end is wanted; false where it has ended already.
func (p *Process) ask() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = true
	return p.exit == nil
}

// ended notes how the process ended and reports whether that was wanted. Only the first call counts.
func (p *Process) ended(code int, sig syscall.Signal, cause error) (e *Exit, first bool) {
	tail := p.Tail(tailLines)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exit != nil {
		return p.exit, false
	}
	p.exit = &Exit{
		Name: p.spec.Name, PID: p.pid, Code: code, Signal: sig, After: time.Since(p.begin), Asked: p.asked,
		Log: p.spec.Log, Tail: tail, Cause: cause,
	}
	close(p.done)
	return p.exit, true
}

// logSize is where the next line of a log will begin.
func logSize(path string, appending bool) int64 {
	info, err := os.Stat(path)
	if err != nil || !appending {
		return 0
	}
	return info.Size()
}
