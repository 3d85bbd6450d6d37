// Package servetest runs services in a test: the real wiring of one of them, on a registry in memory, with stand-ins for the
// services behind it that are as gray-aware as the real ones.
package servetest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/services/internal/answer"
	"github.com/graychain/graychain/services/internal/config"
	"github.com/graychain/graychain/services/internal/logs"
	"github.com/graychain/graychain/services/internal/serve"
)

// limit is how long anything may take.
const limit = 30 * time.Second

// Mesh is a set of services that find each other.
type Mesh struct {
	Registry *graylibtest.Registry
	Rules    graylib.Rules
	t        testing.TB
}

// quiet silences the frameworks, once and before anything of them runs: they don't guard their loggers.
var quiet = sync.OnceFunc(func() { logs.Frameworks(slog.New(slog.DiscardHandler)) })

// New returns an empty mesh whose rules list no lane.
func New(t testing.TB) *Mesh {
	quiet()
	return &Mesh{Registry: graylibtest.NewRegistry(), Rules: graylib.NoRules, t: t}
}

// Service is the service under test.
type Service struct {
	URL     string
	Addr    string
	Runtime *graylib.Runtime
	Events  *Events

	t    testing.TB
	out  *buffer
	stop context.CancelFunc
	exit chan int
	once sync.Once
	code int
}

// Start runs the service in this process and waits until it is ready; it is stopped with the test. It uses graylib's
// process-wide default, so one runs at a time.
func (m *Mesh) Start(s config.Service, env map[string]string, wire func(*serve.App) error) *Service {
	m.t.Helper()
	addr, port := reservePort(m.t)
	_, rpcPort := reservePort(m.t)
	all := map[string]string{
		"BIND": "127.0.0.1", "HTTP_PORT": port, "RPC_PORT": rpcPort, "SETTLE": "0.01", "DRAIN": "30",
		"LOG_FORMAT": "json",
	}
	for k, v := range env {
		all[k] = v
	}
	ctx, stop := context.WithCancel(context.Background())
	run := &Service{
		URL: "http://" + addr, Addr: addr, Events: &Events{}, t: m.t, out: &buffer{}, stop: stop, exit: make(chan int, 1),
	}
	opened := make(chan *graylib.Runtime, 1)
	p := serve.Process{
		Service: s, Getenv: func(k string) string { return all[k] }, Out: run.out, Err: run.out, Wire: wire,
		Open: func(c config.Config, more ...graylib.Option) (*graylib.Runtime, error) {
			rt, err := graylib.New(c.Identity, append(more, graylib.WithConfig(c.Gray), graylib.WithRegistry(m.Registry.As(c.Identity)),
				graylib.WithRules(graylib.StaticRules(m.Rules)), graylib.WithReporter(run.Events))...)
			if err == nil {
				opened <- rt
			}
			return rt, err
		},
	}
	go func() { run.exit <- p.Run(ctx) }()
	m.t.Cleanup(func() { run.Stop() })
	select {
	case run.Runtime = <-opened:
	case run.code = <-run.exit:
		m.t.Fatalf("service %s did not start, exit code %d: %s", s.Name, run.code, run.out)
	case <-time.After(limit):
		m.t.Fatalf("service %s did not start: %s", s.Name, run.out)
	}
	Eventually(m.t, s.Name+" is ready", func() bool {
		resp, err := http.Get(run.URL + graylib.ReadyPath)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode == http.StatusOK
	})
	if s.RPCPort != 0 { // its server registers by itself, and later than HTTP's may
		Eventually(m.t, s.Name+" is registered for RPC", func() bool {
			return slices.ContainsFunc(m.Registry.Instances(s.Name+graylib.RPCServiceSuffix), func(in graylib.Instance) bool {
				return in.Addr == net.JoinHostPort("127.0.0.1", rpcPort)
			})
		})
	}
	return run
}

// Stop stops the service as SIGTERM does, and returns the exit code.
func (s *Service) Stop() int {
	s.once.Do(func() {
		s.stop()
		select {
		case s.code = <-s.exit:
		case <-time.After(3 * limit):
			s.t.Errorf("service did not stop: %s", s.out)
		}
		graylib.SetDefault(nil)
	})
	return s.code
}

// Log returns the records so far whose message begins with prefix.
func (s *Service) Log(prefix string) []map[string]any {
	var found []map[string]any
	for line := range strings.SplitSeq(s.out.String(), "\n") {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) != nil {
			continue
		}
		if msg, _ := record["msg"].(string); strings.HasPrefix(msg, prefix) {
			found = append(found, record)
		}
	}
	return found
}

// Output returns all that was written so far.
func (s *Service) Output() string { return s.out.String() }

// Get requests a path and returns status and body.
func (s *Service) Get(path string, header ...string) (int, string, http.Header) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return s.Do(req)
}

// Do sends a request and returns status, body and headers of the answer.
func (s *Service) Do(req *http.Request) (int, string, http.Header) {
	s.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", req.Method, req.URL, err, s.out)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return resp.StatusCode, string(body), resp.Header
}

// Answer requests a path as JSON.
func (s *Service) Answer(path string, header ...string) (int, answer.Answer) {
	s.t.Helper()
	status, body, _ := s.Get(path, append(header, "Accept", "application/json")...)
	var a answer.Answer
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		s.t.Fatalf("GET %s: status %d, no JSON: %q: %v", path, status, body, err)
	}
	return status, a
}

// Eventually waits until ok is true.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-tick.C
	}
}

// reservePort returns an address that nobody else is given while the test lasts, and its port.
func reservePort(t testing.TB) (addr, port string) {
	t.Helper()
	addr = graylibtest.ReserveAddr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return addr, port
}

// Events collects what a service reports.
type Events struct {
	mu   sync.Mutex
	list []graylib.Event
}

// Report implements graylib.Reporter.
func (e *Events) Report(event graylib.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// Close implements graylib.Reporter.
func (e *Events) Close() error { return nil }

// Of returns the events of a kind so far.
func (e *Events) Of(kind graylib.EventKind) []graylib.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []graylib.Event
	for _, event := range e.list {
		if event.Kind == kind {
			found = append(found, event)
		}
	}
	return found
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
