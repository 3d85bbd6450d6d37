package proc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// guardEnv marks a process as a guard; its value is the grace that children get once the supervisor is gone.
	guardEnv = "GRAYCHAIN_PROC_GUARD"

	commandFD = 3
	eventFD   = 4

	// sweepLimit bounds the guard's last search for processes that are still there.
	sweepLimit = time.Second
)

// guardMainCalled tells NewGroup that the binary can be its own guard: without it the re-executed binary would run the
// program itself again, and again.
var guardMainCalled atomic.Bool

// GuardMain must be the first call of main in a program that uses a Group. In the program itself it returns at once; in a
// process that a Group started as its guard it takes over and never returns.
func GuardMain() {
	guardMainCalled.Store(true)
	value := os.Getenv(guardEnv)
	if value == "" {
		return
	}
	grace, err := time.ParseDuration(value)
	if err != nil {
		fmt.Fprintf(os.Stderr, "proc: %s=%q is set by a supervisor for its guard; it must be a duration, unset it\n", guardEnv, value)
		os.Exit(2)
	}
	// A child's parent-death signal is bound to the thread that started it: this one, which ends with the process only.
	runtime.LockOSThread()
	_ = os.Unsetenv(guardEnv)
	syscall.CloseOnExec(commandFD)
	syscall.CloseOnExec(eventFD)
	g := &guard{
		events:   json.NewEncoder(os.NewFile(eventFD, "events")),
		grace:    grace,
		children: map[int]*child{},
		exits:    make(chan *child, 64),
		overdue:  make(chan *child, 64),
	}
	os.Exit(g.run(os.NewFile(commandFD, "commands")))
}

// guard is the state of a guard process. Only the goroutine of run touches it.
type guard struct {
	events   *json.Encoder
	grace    time.Duration
	children map[int]*child
	exits    chan *child
	overdue  chan *child
}

type child struct {
	id   int
	cmd  *exec.Cmd
	pid  int
	gone bool
}

func (g *guard) run(commands io.Reader) int {
	becomeReaper()
	// Signals are received and dropped rather than ignored: an ignored one would stay ignored in every child.
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGCHLD)

	orders := make(chan command, 16)
	go readCommands(commands, orders)
	g.report(event{Ev: evHello, PID: os.Getpid()})

	var deadline <-chan time.Time
	ending := false
	end := func() {
		if ending {
			return
		}
		ending = true
		deadline = time.After(g.grace + sweepLimit)
		for _, c := range g.children {
			g.stop(c, g.grace)
		}
	}
	for !ending || len(g.children) > 0 {
		select {
		case c, ok := <-orders:
			if !ok {
				orders = nil
				end()
				continue
			}
			g.obey(c, ending)
		case c := <-g.exits:
			g.exited(c)
			g.reapOrphans()
		case c := <-g.overdue:
			g.kill(c, syscall.SIGKILL)
		case s := <-signals:
			switch s {
			case syscall.SIGCHLD:
				g.reapOrphans()
			case syscall.SIGTERM:
				end()
			}
		case <-deadline:
			sweep(sweepLimit)
			return 1
		}
	}
	sweep(sweepLimit)
	return 0
}

// readCommands hands the supervisor's commands on; orders is closed when the supervisor is gone or speaks nonsense.
func readCommands(r io.Reader, orders chan<- command) {
	defer close(orders)
	d := json.NewDecoder(bufio.NewReader(r))
	for {
		var c command
		if err := d.Decode(&c); err != nil {
			return
		}
		orders <- c
	}
}

func (g *guard) report(e event) {
	// A failure means that the supervisor is gone; the end of the command pipe says the same.
	_ = g.events.Encode(e)
}

func (g *guard) obey(c command, ending bool) {
	if c.Op == opStart {
		if ending {
			g.report(event{Ev: evFailed, ID: c.ID, Error: "the guard is ending"})
			return
		}
		g.start(c)
		return
	}
	target := g.children[c.ID]
	if target == nil {
		return
	}
	switch c.Op {
	case opSignal:
		g.kill(target, syscall.Signal(c.Signal))
	case opStop:
		g.stop(target, c.Grace)
	}
}

func (g *guard) start(c command) {
	l := c.Start
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if !l.Append {
		flags |= os.O_TRUNC
	}
	log, err := os.OpenFile(l.Log, flags, 0o644)
	if err != nil {
		g.report(event{Ev: evFailed, ID: c.ID, Error: err.Error()})
		return
	}
	defer log.Close()
	cmd := &exec.Cmd{
		Path: l.Path, Args: append([]string{l.Path}, l.Args...), Env: l.Env, Dir: l.Dir,
		Stdout: log, Stderr: log, SysProcAttr: childAttr(),
	}
	if err := cmd.Start(); err != nil {
		g.report(event{Ev: evFailed, ID: c.ID, Error: err.Error()})
		return
	}
	ch := &child{id: c.ID, cmd: cmd, pid: cmd.Process.Pid}
	g.children[c.ID] = ch
	g.report(event{Ev: evStarted, ID: c.ID, PID: ch.pid})
	go func() {
		awaitExit(cmd)
		g.exits <- ch
	}()
}

// exited ends what the child left in its group, collects its status and reports it. While the child is a zombie its pid,
// and so its group's id, cannot belong to anyone else.
func (g *guard) exited(c *child) {
	g.kill(c, syscall.SIGKILL)
	_ = c.cmd.Wait()
	c.gone = true
	delete(g.children, c.id)
	e := event{Ev: evExited, ID: c.id, PID: c.pid, Code: -1}
	if s := c.cmd.ProcessState; s != nil {
		e.Code = s.ExitCode()
		if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Signal = int(ws.Signal())
		}
	}
	g.report(e)
}

func (g *guard) stop(c *child, grace time.Duration) {
	if grace <= 0 {
		g.kill(c, syscall.SIGKILL)
		return
	}
	g.kill(c, syscall.SIGTERM)
	g.kill(c, syscall.SIGCONT) // a stopped process would never see the first one
	time.AfterFunc(grace, func() { g.overdue <- c })
}

// kill signals the whole process group of a child that has not been collected yet.
func (g *guard) kill(c *child, s syscall.Signal) {
	if c.gone {
		return
	}
	if err := syscall.Kill(-c.pid, s); errors.Is(err, syscall.ESRCH) {
		_ = syscall.Kill(c.pid, s)
	}
}

// reapOrphans collects the grandchildren that ended below the guard after their own parents did.
func (g *guard) reapOrphans() {
	known := make(map[int]bool, len(g.children))
	for _, c := range g.children {
		known[c.pid] = true
	}
	for _, pid := range childrenOf(os.Getpid()) {
		if !known[pid] {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// guardEnviron is the environment of a guard.
func guardEnviron(grace time.Duration) []string {
	return append(os.Environ(), guardEnv+"="+grace.String(), "GOMAXPROCS="+strconv.Itoa(1))
}
