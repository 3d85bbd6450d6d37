package serve

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/services/internal/config"
)

var service = config.Service{Name: "b", HTTPPort: 1, RPCPort: 2}

// journal notes what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

// registry notes what is registered and taken back.
type registry struct {
	graylib.Registry
	j          *journal
	registered func() // may be nil
}

func (r registry) Register(ctx context.Context, reg graylib.Registration) error {
	r.j.note("register " + reg.Service)
	if r.registered != nil {
		defer r.registered()
	}
	return r.Registry.Register(ctx, reg)
}

func (r registry) Deregister(ctx context.Context, reg graylib.Registration) error {
	r.j.note("deregister " + reg.Service)
	return r.Registry.Deregister(ctx, reg)
}

func (r registry) Close() error {
	r.j.note("close registry")
	return r.Registry.Close()
}

// process runs a service whose parts are the test's.
func process(t *testing.T, j *journal, env map[string]string, out *output, wire func(*App) error) Process {
	t.Helper()
	t.Cleanup(func() { graylib.SetDefault(nil) })
	return Process{
		Service: service, Out: out, Err: out, Wire: wire,
		Getenv: func(k string) string {
			if v, ok := env[k]; ok {
				return v
			}
			return map[string]string{"BIND": "127.0.0.1", "SETTLE": "0.02", "DRAIN": "30"}[k]
		},
		Open: func(c config.Config, more ...graylib.Option) (*graylib.Runtime, error) {
			return graylib.New(c.Identity, append(more, graylib.WithConfig(c.Gray),
				graylib.WithRegistry(registry{graylibtest.NewRegistry().As(c.Identity), j, nil}))...)
		},
	}
}

// output is a bytes.Buffer for several goroutines.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func within(t *testing.T, what string, done <-chan int) int {
	t.Helper()
	select {
	case code := <-done:
		return code
	case <-time.After(time.Minute):
		t.Fatalf("%s: not within a minute", what)
		return 0
	}
}

// TestOrder: leave the registry, settle, stop consuming, stop serving, close.
func TestOrder(t *testing.T) {
	j := &journal{}
	ctx, stop := context.WithCancel(t.Context())
	var out output
	var left time.Time
	p := process(t, j, nil, &out, func(app *App) error {
		ended := make(chan struct{})
		app.Serve(Server{
			Name: "one",
			Run: func() error {
				app.Runtime.Announce(graylib.Registration{Service: "b", Addr: "127.0.0.1:1", Weight: 1})
				<-ended
				return nil
			},
			Stop: func(context.Context) error {
				j.note("stop serving")
				close(ended)
				return nil
			},
		})
		app.Consume(Consumer{
			Name:  "test-b",
			Start: func() error { j.note("start consuming"); return nil },
			Stop: func(context.Context) error {
				if since := time.Since(left); since < 20*time.Millisecond {
					t.Errorf("consuming ended %v after the stop began, before callers had dropped the route", since)
				}
				j.note("stop consuming")
				return nil
			},
		})
		app.Job(func(ctx context.Context) { <-ctx.Done(); j.note("end of the job") })
		app.OnClose("first", func() error { j.note("close first"); return nil })
		app.OnClose("second", func() error { j.note("close second"); return nil })
		return nil
	})
	p.Open = func(c config.Config, _ ...graylib.Option) (*graylib.Runtime, error) {
		return graylib.New(c.Identity, graylib.WithRegistry(registry{graylibtest.NewRegistry().As(c.Identity), j, func() {
			left = time.Now()
			stop()
		}}))
	}
	done := make(chan int, 1)
	go func() { done <- p.Run(ctx) }()
	if code := within(t, "stop", done); code != 0 {
		t.Fatalf("exit code %d: %s", code, out.String())
	}
	var got []string
	for _, line := range j.all() {
		if line != "end of the job" && line != "start consuming" {
			got = append(got, line)
		}
	}
	want := []string{
		"register b", "deregister b", "stop consuming", "stop serving", "close second", "close first", "close registry",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Contains(j.all(), "end of the job") {
		t.Error("the job wasn't ended")
	}
}

func TestExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	broken := errors.New("broken part")

	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		wire func(*App) error
		code int
		out  string
	}{
		"help":          {args: []string{"-h"}, code: 0, out: "HTTP_PORT"},
		"wrong setting": {env: map[string]string{"HTTP_PORT": "x"}, code: 2, out: `HTTP_PORT="x"`},
		"malformed tag": {env: map[string]string{"GRAY_TAG": "No"}, code: 2, out: "GRAY_TAG"},
		"taken port": {
			env: map[string]string{"HTTP_PORT": port, "BIND": "127.0.0.1"}, code: 1, out: "HTTP_PORT: 127.0.0.1:" + port + " is taken",
			wire: func(app *App) error { _, err := app.HTTPServer(); return err },
		},
		"wiring fails": {code: 1, out: "broken part", wire: func(*App) error { return broken }},
		"server ends": {code: 1, out: "broken part", wire: func(app *App) error {
			app.Serve(Server{Name: "x", Run: func() error { return broken }, Stop: func(context.Context) error { return nil }})
			return nil
		}},
		"server ends without a reason": {code: 1, out: "server x ended", wire: func(app *App) error {
			app.Serve(Server{Name: "x", Run: func() error { return nil }, Stop: func(context.Context) error { return nil }})
			return nil
		}},
		"consumer doesn't start": {code: 1, out: "broken part", wire: func(app *App) error {
			app.Consume(Consumer{Name: "x", Start: func() error { return broken }, Stop: func(context.Context) error { return nil }})
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var out output
			p := process(t, &journal{}, test.env, &out, test.wire)
			p.Args = test.args
			done := make(chan int, 1)
			go func() { done <- p.Run(t.Context()) }()
			if code := within(t, name, done); code != test.code || !strings.Contains(out.String(), test.out) {
				t.Errorf("exit code %d, want %d, and %q in:\n%s", code, test.code, test.out, out.String())
			}
		})
	}
}

// TestHungParts: what doesn't end by itself doesn't hold the process beyond its limit.
func TestHungParts(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	var out output
	p := process(t, &journal{}, map[string]string{"DRAIN": "0.1", "BIND": "127.0.0.1", "SETTLE": "0"}, &out, func(app *App) error {
		app.Serve(Server{
			Name: "x", Run: func() error { <-hang; return nil },
			Stop: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		})
		return nil
	})
	done := make(chan int, 1)
	go func() { done <- p.Run(ctx) }()
	if code := within(t, "stop", done); code != 0 || !strings.Contains(out.String(), "did not stop cleanly") {
		t.Errorf("exit code %d, output:\n%s", code, out.String())
	}
}

func TestInFlight(t *testing.T) {
	var f inFlight
	if err := f.wait(t.Context()); err != nil {
		t.Fatalf("nothing in flight: %v", err)
	}
	begun, end := make(chan struct{}), make(chan struct{})
	go func() {
		_ = f.rpc(func(context.Context, any, any) error { close(begun); <-end; return nil })(t.Context(), nil, nil)
	}()
	<-begun
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := f.wait(short); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 request") {
		t.Errorf("%v, want that one was cut off", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- f.wait(t.Context()) }()
	close(end)
	if err := <-waited; err != nil {
		t.Errorf("the call has ended: %v", err)
	}
}
