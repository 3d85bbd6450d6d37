// Package suite runs the whole reference deployment on this machine: the real servers, the four services as processes of
// their own, the baseline and any number of lanes, and the observer that they report to. `graychain up` and the end-to-end
// tests stand on it. Lanes come and go while it runs, and single instances can be stopped, killed, frozen and restarted.
//
// Every process ends with the program that started the suite, whatever ends it (package proc).
package suite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/pkg/graylib"
)

// The chain's own names (DESIGN.md).
const (
	DefaultTopic  = "TEST_MQ"
	Consumer      = "a"
	ConsumerGroup = "test-a"
	// DefaultObserverPort is where the observer listens, unless it is taken.
	DefaultObserverPort = 20099
)

// Options say how a suite is started. State is required, the rest has defaults.
type Options struct {
	State string // folder for everything that the suite writes: logs, the servers' data, the state file
	Bin   string // folder with the built services; empty = they are built into State/bin

	NacosAddr   string // the servers to use; both empty = Infra starts them
	NamesrvAddr string
	Infra       Infra // nil = real servers as local Java processes

	Ports        Ports // of the baseline; zero = DefaultPorts
	FixedPorts   bool  // a taken port is an error, instead of moving its group
	ObserverPort int   // 0 = DefaultObserverPort, or any where that is taken

	Topic      string                       // empty = DefaultTopic
	Env        map[string]string            // for all services, over what the suite sets; an empty value takes a variable away
	ServiceEnv map[string]map[string]string // for one service, over Env

	// ReadyLimit is how long each service has until it is ready; 0 = 60 s. Six services that start at once on two busy
	// cores took 4 s.
	ReadyLimit time.Duration

	// Progress is told what is being done, in a few words each; it may be called from several goroutines at once.
	Progress func(Progress)
}

// Progress is one step of a start.
type Progress struct {
	Part string        // e.g. "nacos", "services", "a-gray"
	Text string        // e.g. "starting", "ready"
	Done bool          // the part is there
	Took time.Duration // for a part that is there
}

// Infra starts the servers that a suite needs.
type Infra interface {
	// Start starts them below the group, and returns when they can be used; when it fails it leaves nothing running.
	// Their data and logs go below state.
	Start(ctx context.Context, group *proc.Group, state string, progress func(Progress)) (Servers, error)
}

// Servers are running servers.
type Servers interface {
	NacosAddr() string
	NamesrvAddr() string
	// Endpoints lists what listens where, for people.
	Endpoints() []Endpoint
	// Stop ends them. When ctx is over the rest is killed.
	Stop(ctx context.Context) error
}

// Endpoint is a port of a server.
type Endpoint struct {
	Name string `json:"name"` // e.g. "nacos"
	Addr string `json:"addr"`
	What string `json:"what,omitempty"` // e.g. "gRPC"
	PID  int    `json:"pid,omitempty"`
	Log  string `json:"log,omitempty"`
	// Exposed says that the port is open on every interface: its server has no setting for it.
	Exposed bool `json:"exposed,omitempty"`
}

// Errors that callers may want to tell apart.
var (
	// ErrRuns is wrapped where the state folder belongs to a suite that runs; the text says who and where.
	ErrRuns = errors.New("a suite runs already")
	// ErrNoLane is wrapped where a lane is named that has no instances.
	ErrNoLane = errors.New("no such lane")
	// ErrService is wrapped where a service is named that doesn't exist, or can't be in a lane.
	ErrService = errors.New("no such service")
)

// Suite is a running deployment. Its methods are safe for concurrent use; changes are made one after the other.
type Suite struct {
	options Options
	started time.Time
	lock    *proc.FileLock
	group   *proc.Group
	servers Servers
	bin     string
	store   *observer.Store
	control *observer.Server
	client  *http.Client

	revision atomic.Int64 // of the rules, last published by this suite

	change sync.Mutex // held while instances come and go

	mu        sync.Mutex
	instances []*Instance
	timings   []Timing
	ready     bool
	closed    bool
	rules     *rulesClient

	saving sync.Mutex // held while the state file is written
}

// Timing says how long one part of a start took. Parts overlap.
type Timing struct {
	Part string        `json:"part"`
	Took time.Duration `json:"took"` // nanoseconds
}

// Start starts the observer and the servers, and gets the services' programs. Services are started by Add.
func Start(ctx context.Context, o Options) (*Suite, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	lock, err := takeLock(o.State)
	if err != nil {
		return nil, err
	}
	s := &Suite{
		options: o, started: time.Now(), lock: lock, bin: o.Bin, store: observer.NewStore(0, 0),
		client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
	if err := s.begin(ctx); err != nil {
		undo, cancel := undoing(ctx)
		defer cancel()
		return nil, errors.Join(err, s.Stop(undo))
	}
	return s, nil
}

func (o Options) complete() (Options, error) {
	if o.State == "" {
		return o, errors.New("no state folder is given")
	}
	var err error
	if o.State, err = filepath.Abs(o.State); err != nil {
		return o, err
	}
	if o.Bin != "" {
		if o.Bin, err = filepath.Abs(o.Bin); err != nil {
			return o, err
		}
		if err := checkBin(o.Bin); err != nil {
			return o, err
		}
	}
	if (o.NacosAddr == "") != (o.NamesrvAddr == "") {
		return o, fmt.Errorf("nacos %q, name server %q: give both addresses or none", o.NacosAddr, o.NamesrvAddr)
	}
	if o.Ports == (Ports{}) {
		o.Ports = DefaultPorts
	}
	if err := o.Ports.Valid(); err != nil {
		return o, err
	}
	if o.Topic == "" {
		o.Topic = DefaultTopic
	}
	if o.ReadyLimit == 0 {
		o.ReadyLimit = readyLimit
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Infra == nil {
		o.Infra = LocalInfra{}
	}
	return o, os.MkdirAll(filepath.Join(o.State, "logs"), 0o755)
}

func (s *Suite) begin(ctx context.Context) error {
	var err error
	if s.group, err = proc.NewGroup(); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return err
	}
	s.save()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 2)
	go func() { errs <- s.startServers(ctx) }()
	go func() { errs <- s.build(ctx) }()
	var first error
	for range 2 {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel() // the other one's work is in vain
		}
	}
	s.save()
	return first
}

// listen starts the control server: the observer, and what `graychain send`, `status` and `down` ask.
func (s *Suite) listen() error {
	ports := []int{s.options.ObserverPort}
	if s.options.ObserverPort == 0 {
		ports = []int{DefaultObserverPort, 0}
	}
	var ln net.Listener
	var err error
	for _, p := range ports {
		if ln, err = net.Listen("tcp", addr(p)); err == nil {
			s.control = observer.Serve(ln, s.handler())
			return nil
		}
	}
	return fmt.Errorf("%w: %d of the observer: %w", ErrPortTaken, s.options.ObserverPort, err)
}

func (s *Suite) startServers(ctx context.Context) error {
	if s.options.NacosAddr != "" {
		return nil
	}
	began := time.Now()
	servers, err := s.options.Infra.Start(ctx, s.group, s.options.State, s.options.Progress)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.servers = servers
	s.options.NacosAddr, s.options.NamesrvAddr = servers.NacosAddr(), servers.NamesrvAddr()
	s.mu.Unlock()
	s.took("servers ready", time.Since(began))
	return nil
}

func (s *Suite) build(ctx context.Context) error {
	if s.bin != "" {
		return nil
	}
	began := time.Now()
	s.options.Progress(Progress{Part: "services", Text: "building"})
	dir := filepath.Join(s.options.State, "bin")
	if err := Build(ctx, dir); err != nil {
		return err
	}
	s.bin = dir
	took := time.Since(began)
	s.options.Progress(Progress{Part: "services", Text: "built", Done: true, Took: took})
	s.took("services built", took)
	return nil
}

// took notes how long a part of the start took.
func (s *Suite) took(part string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timings = append(s.timings, Timing{part, d})
}

// Timings returns how long the parts of the start took, in the order of their ends.
func (s *Suite) Timings() []Timing {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.timings)
}

// Logs returns the folder of all logs.
func (s *Suite) Logs() string { return filepath.Join(s.options.State, "logs") }

// State returns the state folder.
func (s *Suite) State() string { return s.options.State }

// Observer returns what the services reported.
func (s *Suite) Observer() *observer.Store { return s.store }

// ObserverURL returns the base URL of the observer and of the control API.
func (s *Suite) ObserverURL() string { return s.control.URL() }

// NacosAddr returns host:port of Nacos.
func (s *Suite) NacosAddr() string { return s.options.NacosAddr }

// NamesrvAddr returns host:port of the name server.
func (s *Suite) NamesrvAddr() string { return s.options.NamesrvAddr }

// Servers returns the servers that the suite started, or nil where it uses others.
func (s *Suite) Servers() Servers {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.servers
}

// Deaths delivers the end of each process, server or service, that ended without the suite's doing.
func (s *Suite) Deaths() <-chan *proc.Exit { return s.group.Deaths() }

// GatewayURL returns the base URL of a live gateway, else of any; "" before one was started.
func (s *Suite) GatewayURL() string {
	url := ""
	for _, i := range s.Instances() {
		if i.Service == "gateway" && (url == "" || i.Live()) {
			url = "http://" + i.HTTP
		}
	}
	return url
}

// Instances returns all instances, in the order of their start; those that have ended included, until they are removed.
func (s *Suite) Instances() []*Instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.instances)
}

// Instance returns the instance with the name, e.g. "a" or "c-gray", or nil.
func (s *Suite) Instance(name string) *Instance {
	for _, i := range s.Instances() {
		if i.Name == name {
			return i
		}
	}
	return nil
}

// live returns which services have a live instance in each lane.
func (s *Suite) live() map[graylib.Tag]map[string]bool {
	out := map[graylib.Tag]map[string]bool{}
	for _, i := range s.Instances() {
		if i.Live() {
			if out[i.Tag] == nil {
				out[i.Tag] = map[string]bool{}
			}
			out[i.Tag][i.Service] = true
		}
	}
	return out
}

// How long the end of what a failed start has begun may take. Where the start was given up, nobody waits for an orderly end.
const (
	undoLimit    = 20 * time.Second
	givenUpLimit = 2 * time.Second
)

// undoing returns a context for ending what was begun under ctx.
func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := undoLimit
	if ctx.Err() != nil {
		limit = givenUpLimit
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// Stop ends everything that the suite started, services first. When ctx is over, the rest is killed.
func (s *Suite) Stop(ctx context.Context) error {
	var errs []error
	if s.group != nil {
		errs = append(errs, s.remove(ctx, s.Instances()))
	}
	if servers := s.Servers(); servers != nil {
		errs = append(errs, servers.Stop(ctx))
	}
	if s.group != nil {
		errs = append(errs, s.group.Stop(ctx))
	}
	s.mu.Lock()
	rules := s.rules
	s.rules = nil
	s.mu.Unlock()
	if rules != nil {
		errs = append(errs, rules.Close())
	}
	if s.control != nil {
		errs = append(errs, s.control.Close())
	}
	s.client.CloseIdleConnections()
	errs = append(errs, removeState(s.options.State), s.lock.Unlock())
	return errors.Join(errs...)
}
