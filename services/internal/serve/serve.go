// Package serve is the life of a service's process: its start, when it is ready, and a stop that loses no request.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/answer"
	"github.com/graychain/graychain/services/internal/config"
	"github.com/graychain/graychain/services/internal/logs"
	"github.com/graychain/graychain/services/internal/telemetry"
)

// Main runs one service and ends the process: with 0 after a stop by SIGTERM or SIGINT (a second one ends it at once, with 1),
// with 1 where it couldn't start or a part of it failed, with 2 for a wrong setting. wire builds the service's parts into the App.
func Main(service config.Service, wire func(*App) error) {
	ctx, stop := untilSignal()
	defer stop()
	os.Exit(Process{
		Service: service, Args: os.Args[1:], Getenv: os.Getenv, Out: os.Stdout, Err: os.Stderr, Open: Open,
		Frameworks: logs.Frameworks, Wire: wire,
	}.Run(ctx))
}

// Process is one service's process, with everything that it takes from its surroundings.
type Process struct {
	Service config.Service
	Args    []string
	Getenv  func(string) string
	Out     io.Writer // logs, and the help
	Err     io.Writer // why it didn't start
	Open    func(config.Config, ...graylib.Option) (*graylib.Runtime, error)
	// Frameworks sets the logger of the frameworks, which is process-wide; nil = theirs stay.
	Frameworks func(*slog.Logger)
	Wire       func(*App) error
}

// Run runs the service until ctx ends, and returns the exit code, see [Main].
func (p Process) Run(ctx context.Context) int {
	c, err := p.Service.Load(p.Args, p.Getenv, p.Out)
	switch {
	case errors.Is(err, config.ErrHelp):
		return 0
	case err != nil:
		_, _ = fmt.Fprintln(p.Err, err)
		return 2
	}
	log := logs.New(p.Out, c.LogJSON, c.LogLevel, c.Identity)
	slog.SetDefault(log)
	if p.Frameworks != nil {
		p.Frameworks(log)
	}
	seen, err := telemetry.Open(ctx, c.Identity, p.Getenv)
	if err != nil {
		_, _ = fmt.Fprintln(p.Err, err)
		return 2
	}
	rt, err := p.Open(c, graylib.WithTelemetry(seen.Telemetry()...))
	if err != nil {
		_, _ = fmt.Fprintln(p.Err, err)
		return 2
	}
	graylib.SetDefault(rt)
	if err := serve(ctx, c, rt, log, seen, p.Wire); err != nil {
		_, _ = fmt.Fprintln(p.Err, err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, c config.Config, rt *graylib.Runtime, log *slog.Logger, seen *telemetry.Telemetry, wire func(*App) error) error {
	app := newApp(c, rt, log)
	app.metrics = seen.Metrics()
	app.OnClose("traces", seen.Close) // the last: what is closed before may still be traced
	if err := wire(app); err != nil {
		app.abandon()
		return err
	}
	return app.run(ctx)
}

// untilSignal returns a context that ends at the first SIGTERM or SIGINT; the second ends the process.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		s := <-signals
		slog.Info("stopping", "signal", s.String())
		cancel()
		s = <-signals
		slog.Warn("stopping at once: a second signal", "signal", s.String())
		os.Exit(1)
	}()
	return ctx, cancel
}

// App holds the parts of one service. Its methods are for the wiring, before the service runs.
type App struct {
	Config  config.Config
	Runtime *graylib.Runtime
	Log     *slog.Logger
	Answer  answer.Renderer

	metrics   http.Handler
	listeners []net.Listener
	servers   []Server
	consumers []Consumer
	jobs      []func(context.Context)
	closers   []closer

	requests inFlight   // over HTTP
	calls    inFlight   // over RPC
	failed   chan error // a part that ended by itself
}

// Server is one door of the service.
type Server struct {
	Name string // for logs and errors
	// Run serves until Stop is called. An earlier end is an error, whatever it returns.
	Run func() error
	// Stop ends what is being handled, within ctx, and closes the door.
	Stop func(ctx context.Context) error
}

// Consumer takes messages.
type Consumer struct {
	Name  string
	Start func() error
	// Stop begins no further message and waits, within ctx, for those in hand.
	Stop func(ctx context.Context) error
}

type closer struct {
	name  string
	close func() error
}

func newApp(c config.Config, rt *graylib.Runtime, log *slog.Logger) *App {
	return &App{
		Config: c, Runtime: rt, Log: log, Answer: answer.Renderer{ShowPort: c.ShowPort}, failed: make(chan error, 16),
	}
}

// Self returns how answers name this instance.
func (a *App) Self() string {
	id := a.Runtime.Identity()
	return a.Answer.Label(id.Service, id.Tag, id.Addr)
}

// Serve adds a door. The service runs until one of its doors fails.
func (a *App) Serve(s Server) { a.servers = append(a.servers, s) }

// Consume adds a consumer. It starts once the doors are open.
func (a *App) Consume(c Consumer) { a.consumers = append(a.consumers, c) }

// Job adds work of the service's own, which ends with its context. It starts once the doors are open.
func (a *App) Job(run func(context.Context)) { a.jobs = append(a.jobs, run) }

// OnClose adds what is closed at the end, the last added first.
func (a *App) OnClose(name string, fn func() error) {
	a.closers = append(a.closers, closer{name, fn})
}

// listen opens the address of one of the service's settings, so that a taken port is told before anything starts.
func (a *App) listen(setting, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%s: %s is taken by another process: choose another port", setting, addr)
		}
		return nil, fmt.Errorf("%s: can't listen: %w", setting, err)
	}
	a.listeners = append(a.listeners, ln)
	return ln, nil
}
