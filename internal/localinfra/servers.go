package localinfra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graychain/graychain/internal/proc"
)

var (
	// ErrStateInUse means that another Start holds the state folder.
	ErrStateInUse = errors.New("the state folder is in use")
	// ErrServer means that a server did not start.
	ErrServer = errors.New("cannot start the server")
)

const (
	// readyPoll is how often a starting server is asked whether it is usable.
	readyPoll = 50 * time.Millisecond
	// undoLimit bounds the end of what a failed Start has begun.
	undoLimit = 5 * time.Second
)

// Servers are the three running servers. Its methods may be called from any goroutine.
type Servers struct {
	// Nacos, Namesrv and Broker are the servers themselves, for faults. Nacos is nil with Options.NoNacos.
	Nacos, Namesrv, Broker *Server

	added     []*Server // further brokers
	newBroker func(name string, port int, config map[string]string, jvm []string) (launch, error)
	limit     time.Duration

	ports    []ListenPort
	record   *recorder
	group    *proc.Group
	ownGroup bool
	finder   portFinder
	lock     *proc.FileLock

	stopping sync.Once
	stopErr  error
}

// Server is one of the servers. Its methods may be called from any goroutine, but not by several at once for the same
// server, Addr and Process excepted.
type Server struct {
	name   string
	launch launch
	limit  time.Duration
	group  *proc.Group
	after  func(context.Context) error // what a restart needs beyond a start, or nil
	record *recorder

	mu      sync.Mutex
	process *proc.Process
}

// NacosAddr is Nacos's address, host:port, for its clients; the gRPC port is 1000 higher, as they expect.
// With Options.NoNacos it is empty.
func (s *Servers) NacosAddr() string {
	if s.Nacos == nil {
		return ""
	}
	return s.Nacos.Addr()
}

// NamesrvAddr is the name server's address, host:port.
func (s *Servers) NamesrvAddr() string { return s.Namesrv.Addr() }

// BrokerAddr is the broker's address, host:port.
func (s *Servers) BrokerAddr() string { return s.Broker.Addr() }

// Ports lists every port that the servers listen on.
func (s *Servers) Ports() []ListenPort { return slices.Clone(s.ports) }

// Phases tells where the time of Start went.
func (s *Servers) Phases() []Phase { return s.record.taken() }

// Group is the group that holds the servers' processes; its Deaths tell of a server that died.
func (s *Servers) Group() *proc.Group { return s.group }

// Start fetches what is missing, starts all servers and returns when they are usable. When it fails, or ctx ends, it
// leaves nothing running. What a server that did not start has said stands at the end of the error.
func Start(ctx context.Context, options Options) (*Servers, error) {
	o, err := options.complete()
	if err != nil {
		return nil, err
	}
	r := &recorder{tell: o.Progress}
	done := r.step("servers", "start", "")
	s := &Servers{record: r}
	if err := s.start(ctx, o); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
		defer cancel()
		return nil, errors.Join(err, s.Stop(undo))
	}
	done("")
	return s, nil
}

func (s *Servers) start(ctx context.Context, o Options) error {
	var err error
	s.lock, err = proc.TryLock(filepath.Join(o.State, "servers.lock"), fmt.Sprintf("graychain, pid %d", os.Getpid()))
	if errors.Is(err, proc.ErrLocked) {
		return fmt.Errorf("%w: %w", ErrStateInUse, err)
	}
	if err != nil {
		return fmt.Errorf("state folder %s: %w", o.State, err)
	}
	if err := diskHasRoom(o.State); err != nil {
		return err
	}
	done := s.record.step("servers", "java", "")
	j, err := findJava(ctx)
	if err != nil {
		return err
	}
	done(j.version)

	s.group, s.ownGroup = o.Group, o.Group == nil
	if s.ownGroup {
		if s.group, err = proc.NewGroup(); err != nil {
			return err
		}
	}
	// Before anything is fetched: a port that may not move costs no minutes.
	launch, err := s.plan(o)
	if err != nil {
		return err
	}
	f := &fetcher{cache: o.Cache, logs: filepath.Join(o.State, "logs"), group: s.group, java: j, record: s.record}
	// One after the other: Maven's own cache is not made for two writers.
	products := []product{nacosProduct, rocketmqProduct}
	if o.NoNacos {
		products = products[1:]
	}
	from := map[string]*installed{}
	for _, p := range products {
		if from[p.name], err = f.ensure(ctx, p); err != nil {
			return err
		}
	}
	var archives map[string][]string
	if !o.NoArchive {
		archives = f.archives(ctx, slices.Collect(maps.Values(from))...)
	}
	return launch(ctx, j, from, archives)
}

// starter starts the servers from what is in the cache.
type starter func(ctx context.Context, j *java, from map[string]*installed, archives map[string][]string) error

// plan chooses the ports, and returns what starts the servers on them.
func (s *Servers) plan(o Options) (starter, error) {
	main := map[string]int{}
	for _, want := range []struct {
		name string
		port Port
	}{{Nacos, o.Nacos}, {Namesrv, o.Namesrv}, {Broker, o.Broker}} {
		if want.name == Nacos && o.NoNacos {
			continue
		}
		port, ports, err := s.finder.choose(want.name, want.port)
		if err != nil {
			return nil, err
		}
		main[want.name] = port
		s.ports = append(s.ports, ports...)
	}
	return func(ctx context.Context, j *java, from map[string]*installed, archives map[string][]string) error {
		at := func(name, product string, jvm []string) site {
			return site{
				java: j, from: from[product], dir: filepath.Join(o.State, name), port: main[name],
				log: filepath.Join(o.State, "logs", name+".log"), jvm: append(slices.Clone(archives[product]), jvm...),
			}
		}
		if !o.NoNacos {
			nacos, err := at(Nacos, Nacos, o.NacosJVM).nacos()
			if err != nil {
				return err
			}
			if o.Discard {
				nacos.spec.Grace = proc.KillAtOnce
			}
			s.Nacos = &Server{name: Nacos, launch: nacos, limit: o.ReadyLimit, record: s.record, group: s.group}
		}
		namesrv, err := at(Namesrv, RocketMQ, o.NamesrvJVM).nameServer()
		if err != nil {
			return err
		}
		s.limit = o.ReadyLimit
		s.newBroker = func(name string, port int, config map[string]string, jvm []string) (launch, error) {
			b := at(name, RocketMQ, jvm)
			b.port, b.namesrv, b.config = port, namesrv.addr, config
			l, err := b.broker()
			l.spec.Name = name
			if o.Discard {
				l.spec.Grace = proc.KillAtOnce
			}
			return l, err
		}
		broker, err := s.newBroker(Broker, main[Broker], o.BrokerConfig, o.BrokerJVM)
		if err != nil {
			return err
		}
		if o.Discard {
			namesrv.spec.Grace = proc.KillAtOnce
		}
		s.Namesrv = &Server{name: Namesrv, launch: namesrv, limit: o.ReadyLimit, record: s.record, group: s.group}
		s.Broker = &Server{name: Broker, launch: broker, limit: o.ReadyLimit, record: s.record, group: s.group}
		s.Namesrv.after = s.routeAgain
		return s.startAll(ctx)
	}, nil
}

// AddBroker starts one more broker under the same name server, a master named name, and returns when it is usable. Port,
// config and jvm are what Broker, BrokerConfig and BrokerJVM of [Options] are for the first. It ends with the others. It must
// not be called by several goroutines at once, nor after Stop.
func (s *Servers) AddBroker(ctx context.Context, name string, port Port, config map[string]string, jvm ...string) (*Server, error) {
	for _, other := range s.all() {
		if name == "" || name == other.name || name != filepath.Base(name) {
			return nil, fmt.Errorf("%w: a broker's name is %q; it must be a name that no other server has", ErrOption, name)
		}
	}
	if err := checkBrokerConfig(config); err != nil {
		return nil, err
	}
	config = maps.Clone(config)
	if config == nil {
		config = make(map[string]string)
	}
	config["brokerName"] = name
	if port.Number == 0 {
		port.Number = DefaultBrokerPort
	}
	number, ports, err := s.finder.choose(Broker, port)
	if err != nil {
		return nil, err
	}
	s.ports = append(s.ports, ports...)
	l, err := s.newBroker(name, number, config, jvm)
	if err != nil {
		return nil, err
	}
	server := &Server{name: name, launch: l, limit: s.limit, record: s.record, group: s.group}
	s.added = append(s.added, server)
	done := s.record.step(name, "start", server.Addr())
	if err := server.start(ctx, false); err != nil {
		return nil, err
	}
	done(server.Addr())
	return server, nil
}

// routeAgain lets a name server that has forgotten everything know the broker at once; by itself the broker would tell it
// within 30 s. A broker that does not answer is left to that.
func (s *Servers) routeAgain(ctx context.Context) error {
	p := s.Broker.Process()
	if ended := p == nil || p.Exit() != nil; ended {
		return nil
	}
	if err := registerNow(ctx, s.BrokerAddr()); err != nil {
		return nil //nolint:nilerr // left to the broker's own registration
	}
	return s.Namesrv.Process().WaitReady(ctx, readyPoll, func(ctx context.Context) error {
		return routed(ctx, s.NamesrvAddr(), readyTopic, s.BrokerAddr())
	})
}

// startAll starts the servers at the same time. The first that fails ends the waiting for the others.
func (s *Servers) startAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, server := range s.all() {
		wg.Go(func() {
			done := s.record.step(server.name, "start", server.Addr())
			if err := server.start(ctx, false); err != nil {
				cancel(err)
				return
			}
			done(server.Addr())
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// all lists the servers that were planned.
func (s *Servers) all() []*Server {
	var out []*Server
	for _, server := range []*Server{s.Nacos, s.Namesrv, s.Broker} {
		if server != nil {
			out = append(out, server)
		}
	}
	return append(out, s.added...)
}

// Stop ends the servers and waits for their end: Nacos takes about 1.5 s, the broker 8 to 13 s, until it has saved its
// consumers' offsets (with Options.Discard they are killed at once). When ctx is over the rest is killed. A second call
// returns what the first did.
func (s *Servers) Stop(ctx context.Context) error {
	s.stopping.Do(func() { s.stopErr = s.stop(ctx) })
	return s.stopErr
}

func (s *Servers) stop(ctx context.Context) error {
	var errs []error
	var wg sync.WaitGroup
	var mu sync.Mutex
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		errs = append(errs, err)
	}
	if s.Nacos != nil {
		wg.Go(func() { fail(s.Nacos.Stop(ctx)) })
	}
	wg.Go(func() {
		// The brokers leave the name server before that goes.
		var brokers sync.WaitGroup
		for _, server := range append([]*Server{s.Broker}, s.added...) {
			if server != nil {
				brokers.Go(func() { fail(server.Stop(ctx)) })
			}
		}
		brokers.Wait()
		if s.Namesrv != nil {
			fail(s.Namesrv.Stop(ctx))
		}
	})
	wg.Wait()
	if s.ownGroup && s.group != nil {
		fail(s.group.Stop(ctx))
	}
	s.finder.release()
	if s.lock != nil {
		fail(s.lock.Unlock())
	}
	return errors.Join(errs...)
}

// Name is the server's name: Nacos, Namesrv or Broker.
func (s *Server) Name() string { return s.name }

// Addr is the server's main address, host:port.
func (s *Server) Addr() string { return s.launch.addr }

// Process is the server's present process, or its last; nil before the first.
func (s *Server) Process() *proc.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// start starts the server and waits until it is usable. Where the server gives up for a reason that passes, it is started
// once more, and the reason told as the problem of a step.
func (s *Server) start(ctx context.Context, appending bool) error {
	err := s.once(ctx, appending, s.passing)
	var exit *proc.Exit
	if !errors.As(err, &exit) || ctx.Err() != nil {
		return err
	}
	why := s.passing(s.Process())
	if why == "" {
		return err
	}
	s.record.event(Event{Server: s.name, Step: "start", Detail: "once more", Problem: errors.New(why)})
	if s.launch.clean != nil {
		if e := s.launch.clean(); e != nil {
			return errors.Join(err, e)
		}
	}
	if again := s.once(ctx, true, nil); again != nil {
		return fmt.Errorf("%w (the second try; at the first %s)", again, why)
	}
	return nil
}

// passing tells from its log why a process of the server ended that may succeed when it is started again; "" = none.
func (s *Server) passing(p *proc.Process) string {
	if s.launch.passing == nil {
		return ""
	}
	const lines = 1000 // a stack trace of Java's has hundreds
	return s.launch.passing(p.Tail(lines))
}

// once is one try. An end before the server is usable for which forgive gives a reason is no death.
func (s *Server) once(ctx context.Context, appending bool, forgive func(*proc.Process) string) error {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	spec := s.launch.spec
	spec.Append = appending
	var usable atomic.Bool
	if forgive != nil {
		spec.Forgive = func(p *proc.Process) bool { return !usable.Load() && forgive(p) != "" }
	}
	p, err := s.group.Start(ctx, spec)
	if err != nil {
		return fmt.Errorf("%w %s: %w", ErrServer, s.name, err)
	}
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	if err := p.WaitReady(ctx, readyPoll, s.launch.check); err != nil {
		return fmt.Errorf("%w %s at %s: %w", ErrServer, s.name, s.Addr(), err)
	}
	usable.Store(true)
	return nil
}

// Stop ends the server gracefully, or kills it when its grace or ctx is over.
func (s *Server) Stop(ctx context.Context) error {
	if p := s.Process(); p != nil {
		return p.Stop(ctx)
	}
	return nil
}

// Kill kills the server (SIGKILL) and waits for its end. It is not reported as a death.
func (s *Server) Kill() error {
	if p := s.Process(); p != nil {
		return p.Kill()
	}
	return nil
}

// Restart starts the server again, with the same ports and data, after stopping it where it runs, and returns when it is
// usable. Its log goes on.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Stop(ctx); err != nil {
		return err
	}
	if err := s.start(ctx, true); err != nil {
		return err
	}
	if s.after != nil {
		return s.after(ctx)
	}
	return nil
}

// Pause freezes the server (SIGSTOP) until Resume: its connections stay, and nobody answers.
func (s *Server) Pause() error { return s.running((*proc.Process).Pause) }

// Resume lets a paused server go on.
func (s *Server) Resume() error { return s.running((*proc.Process).Resume) }

func (s *Server) running(do func(*proc.Process) error) error {
	p := s.Process()
	if p == nil {
		return fmt.Errorf("%w: %s was not started", ErrServer, s.name)
	}
	return do(p)
}
