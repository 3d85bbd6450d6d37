package handoffbench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// errMember is wrapped where a member ended that nobody had told to.
var errMember = errors.New("a process of the bench ended by itself")

// startLimit bounds a member's start; a loaded machine takes seconds.
const startLimit = 60 * time.Second

// process is a member as its starter sees it.
type process struct {
	name    string
	cmd     *exec.Cmd
	orders  io.WriteCloser
	ready   chan struct{} // closed when it has said so
	started chan struct{}
	ended   chan struct{} // closed when all that it had said is noted, and it is gone
	err     error         // how it ended; set before ended is closed
	said    *tail
}

// spawn starts a member, which waits for its orders; what it handles is noted in r.
func spawn(name string, c memberConfig, r *record) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	p := &process{
		name: name, cmd: exec.Command(self), said: &tail{},
		ready: make(chan struct{}), started: make(chan struct{}), ended: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), memberEnv+"="+string(value))
	p.cmd.Stderr = p.said
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go p.read(out, r)
	return p, nil
}

func (p *process) read(out io.Reader, r *record) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch line := lines.Text(); line {
		case sayReady:
			close(p.ready)
		case sayStarted:
			close(p.started)
		default:
			r.take(p.name, line)
		}
	}
	p.err = p.cmd.Wait()
	close(p.ended)
}

// await waits for what the member is to say.
func (p *process) await(ctx context.Context, what <-chan struct{}, say string) error {
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case <-what:
		return nil
	case <-p.ended:
		return p.unasked()
	case <-limit.C:
		return fmt.Errorf("%s is not %s after %v%s", p.name, say, startLimit, p.said)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// unasked is the error of a member that has ended by itself.
func (p *process) unasked() error {
	return fmt.Errorf("%w: %s: %s%s", errMember, p.name, p.cmd.ProcessState, p.said)
}

func (p *process) tell(order string) error {
	if _, err := io.WriteString(p.orders, order+"\n"); err != nil {
		return fmt.Errorf("tell %s to %s: %w%s", p.name, order, err, p.said)
	}
	return nil
}

// stop waits for the end of a member that was told to stop.
func (p *process) stop(ctx context.Context) error {
	select {
	case <-p.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if p.err != nil {
		return fmt.Errorf("%s: clean stop: %w%s", p.name, p.err, p.said)
	}
	return nil
}

// kill ends it at once; it returns when all that it had said is noted. It may be called more than once.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4096

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text = append(t.text, p...); len(t.text) > tailSize {
		t.text = append(t.text[:0], t.text[len(t.text)-tailSize:]...)
	}
	return len(p), nil
}

// String returns what was written last, as an indented end of an error's text.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.text))
	if text == "" {
		return ""
	}
	return "\n  " + strings.ReplaceAll(text, "\n", "\n  ")
}
