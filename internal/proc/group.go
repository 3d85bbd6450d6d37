package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Errors that callers may want to tell apart.
var (
	// ErrExited is what every *Exit wraps.
	ErrExited = errors.New("the process has ended")
	// ErrGuardGone means that the guard of a group was killed, and its processes with it.
	ErrGuardGone = errors.New("its guard was killed")
	// ErrNoGuardMain means that this program's main does not call GuardMain first.
	ErrNoGuardMain = errors.New("main must call proc.GuardMain before anything else")
	// ErrNotReady means that a process did not become ready in time.
	ErrNotReady = errors.New("not ready in time")
	// ErrSpec means that a Spec cannot be started as it stands.
	ErrSpec = errors.New("invalid process specification")
	// ErrStart means that the operating system refused to start a process.
	ErrStart = errors.New("cannot start the process")
	// ErrStopped means that the group starts nothing more.
	ErrStopped = errors.New("the group of processes is stopped")
	// ErrStuck means that a process could not even be killed.
	ErrStuck = errors.New("the process cannot be killed")
)

const (
	// orphanGrace is what processes get between SIGTERM and SIGKILL once their supervisor is gone; together with
	// sweepLimit it keeps the promise that nothing is left 5 s later.
	orphanGrace = 2 * time.Second
	// helloLimit bounds the start of a guard; a loaded machine needs a second for a large binary.
	helloLimit = 15 * time.Second
	// guardLimit bounds the end of a guard whose processes have ended.
	guardLimit = 5 * time.Second
)

// Group holds processes that end with this program, whatever ends it. Its methods may be called from any goroutine.
type Group struct {
	guard  *exec.Cmd
	orders *os.File
	deaths chan *Exit
	gone   chan struct{} // closed when the guard's events have ended

	sending sync.Mutex // one command at a time on orders

	mu       sync.Mutex
	next     int
	running  map[int]*Process
	order    []*Process // as started
	stopping bool
	stopped  chan struct{} // closed when the first Stop is through
	stopErr  error
}

// NewGroup starts a guard and returns an empty group. End it with Stop.
func NewGroup() (*Group, error) { return newGroupGiving(orphanGrace) }

// newGroupGiving returns a group whose processes get that grace once their supervisor is gone, or the guard is told to end.
func newGroupGiving(grace time.Duration) (*Group, error) {
	if !guardMainCalled.Load() || os.Getenv(guardEnv) != "" {
		return nil, ErrNoGuardMain
	}
	self, err := selfPath()
	if err != nil {
		return nil, fmt.Errorf("find this program's own binary: %w", err)
	}
	guardIn, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	events, guardOut, err := os.Pipe()
	if err != nil {
		guardIn.Close()
		orders.Close()
		return nil, err
	}
	g := &Group{
		guard: &exec.Cmd{
			Path: self, Args: []string{filepath.Base(os.Args[0]) + "-guard"}, Env: guardEnviron(grace),
			ExtraFiles: []*os.File{guardIn, guardOut},
			// A session of its own: the terminal's Ctrl-C and hang-up are the supervisor's to answer.
			SysProcAttr: &syscall.SysProcAttr{Setsid: true},
		},
		orders:  orders,
		deaths:  make(chan *Exit, 1024),
		gone:    make(chan struct{}),
		running: map[int]*Process{},
		stopped: make(chan struct{}),
	}
	err = g.guard.Start()
	guardIn.Close()
	guardOut.Close()
	if err != nil {
		orders.Close()
		events.Close()
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	hello := make(chan struct{})
	go g.listen(events, hello)
	select {
	case <-hello:
		return g, nil
	case <-g.gone:
		err = ErrGuardGone
	case <-time.After(helloLimit):
		err = ErrNotReady
		_ = g.guard.Process.Kill()
	}
	orders.Close()
	_ = g.guard.Wait()
	return nil, fmt.Errorf("start the guard: %w", err)
}

// Deaths delivers the end of every process that nobody asked to end. It is buffered for 1024 of them; more are dropped.
func (g *Group) Deaths() <-chan *Exit { return g.deaths }

// Start starts a process. An error tells why it could not be started; a process that starts and ends at once is no error
// of Start.
func (g *Group) Start(ctx context.Context, spec Spec) (*Process, error) {
	path, err := spec.check()
	if err != nil {
		return nil, err
	}
	if spec.Log, err = filepath.Abs(spec.Log); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(spec.Log), 0o755); err != nil {
		return nil, fmt.Errorf("folder for the log of %q: %w", spec.Name, err)
	}
	env := spec.Env
	if env == nil {
		env = os.Environ()
	}
	p := &Process{
		group: g, spec: spec, begin: time.Now(), from: logSize(spec.Log, spec.Append),
		started: make(chan struct{}), done: make(chan struct{}),
	}
	g.mu.Lock()
	if g.stopping {
		g.mu.Unlock()
		return nil, fmt.Errorf("start %q: %w", spec.Name, ErrStopped)
	}
	g.next++
	p.id = g.next
	g.running[p.id] = p
	g.order = append(g.order, p)
	g.mu.Unlock()

	if err := g.send(command{Op: opStart, ID: p.id, Start: &launch{
		Path: path, Args: spec.Args, Env: env, Dir: spec.Dir, Log: spec.Log, Append: spec.Append,
	}}); err != nil {
		g.forget(p)
		return nil, fmt.Errorf("start %q: %w", spec.Name, err)
	}
	select {
	case <-p.started:
	case <-g.gone:
		g.forget(p)
		return nil, fmt.Errorf("start %q: %w", spec.Name, ErrGuardGone)
	case <-ctx.Done():
		// It may start yet: the guard obeys in order.
		p.ask()
		_ = g.send(command{Op: opSignal, ID: p.id, Signal: int(syscall.SIGKILL)})
		return nil, fmt.Errorf("start %q: %w", spec.Name, context.Cause(ctx))
	}
	if p.failure != nil {
		return nil, p.failure
	}
	return p, nil
}

// Stop ends all processes, in the reverse order of their start, one after the other (those of one Batch together), each
// as Process.Stop does. When ctx is over the rest is killed. Afterwards the group starts nothing more. A second call waits
// for the first.
func (g *Group) Stop(ctx context.Context) error {
	g.mu.Lock()
	if g.stopping {
		g.mu.Unlock()
		<-g.stopped
		return g.stopErr
	}
	g.stopping = true
	order := g.order
	g.mu.Unlock()
	defer close(g.stopped)

	var errs []error
	for _, batch := range batches(order) {
		errs = append(errs, StopAll(ctx, batch...))
	}
	g.orders.Close()
	select {
	case <-g.gone:
	case <-time.After(guardLimit):
		_ = g.guard.Process.Kill()
	}
	_ = g.guard.Wait()
	g.stopErr = errors.Join(errs...)
	return g.stopErr
}

// StopAll stops processes at the same time, each as Process.Stop does, and waits for all of them.
func StopAll(ctx context.Context, processes ...*Process) error {
	errs := make([]error, len(processes))
	var wg sync.WaitGroup
	for i, p := range processes {
		wg.Go(func() { errs[i] = p.Stop(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// batches puts processes into the order in which they are stopped.
func batches(order []*Process) [][]*Process {
	var out [][]*Process
	last := ""
	for i := len(order) - 1; i >= 0; i-- {
		p := order[i]
		if len(out) > 0 && p.spec.Batch != "" && p.spec.Batch == last {
			out[len(out)-1] = append(out[len(out)-1], p)
			continue
		}
		out = append(out, []*Process{p})
		last = p.spec.Batch
	}
	return out
}

func (g *Group) send(c command) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	g.sending.Lock()
	defer g.sending.Unlock()
	if _, err := g.orders.Write(append(line, '\n')); err != nil {
		if errors.Is(err, os.ErrClosed) {
			return ErrStopped
		}
		return fmt.Errorf("%w: %w", ErrGuardGone, err)
	}
	return nil
}

// listen takes the guard's events until the guard is gone.
func (g *Group) listen(events io.ReadCloser, hello chan<- struct{}) {
	defer events.Close()
	d := json.NewDecoder(bufio.NewReader(events))
	for {
		var e event
		if err := d.Decode(&e); err != nil {
			break
		}
		if e.Ev == evHello {
			close(hello)
			continue
		}
		g.mu.Lock()
		p := g.running[e.ID]
		g.mu.Unlock()
		if p == nil {
			continue
		}
		switch e.Ev {
		case evStarted:
			p.pid = e.PID
			close(p.started)
		case evFailed:
			p.failure = fmt.Errorf("%w %q: %s", ErrStart, p.spec.Name, e.Error)
			g.forget(p)
			close(p.started)
		case evExited:
			g.end(p, e.Code, syscall.Signal(e.Signal), nil)
		}
	}
	g.mu.Lock()
	left := make([]*Process, 0, len(g.running))
	for _, p := range g.running {
		left = append(left, p)
	}
	g.mu.Unlock()
	close(g.gone)
	for _, p := range left {
		select {
		case <-p.started:
			// On Linux it died with the guard; what it started, or it itself elsewhere, may still be there.
			_ = syscall.Kill(-p.pid, syscall.SIGKILL)
			g.end(p, -1, 0, ErrGuardGone)
		default:
		}
	}
}

func (g *Group) end(p *Process, code int, sig syscall.Signal, cause error) {
	g.forget(p)
	e, first := p.ended(code, sig, cause)
	if !first || e.Asked || p.spec.OneShot || (p.spec.Forgive != nil && cause == nil && p.spec.Forgive(p)) {
		return
	}
	select {
	case g.deaths <- e:
	default:
	}
}

// forget drops a process that has ended or never began from the lists.
func (g *Group) forget(p *Process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, p.id)
	for i, q := range g.order {
		if q == p {
			// A new slice: Stop may be reading the old one.
			g.order = append(append([]*Process{}, g.order[:i]...), g.order[i+1:]...)
			return
		}
	}
}
