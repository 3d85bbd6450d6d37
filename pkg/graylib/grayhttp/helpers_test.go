package grayhttp_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type mesh struct {
	t        testing.TB
	registry *graylibtest.Registry
	rules    *graylibtest.Rules
	settle   time.Duration // of the servers
}

func newMesh(t testing.TB) *mesh {
	return &mesh{t: t, registry: graylibtest.NewRegistry(), rules: &graylibtest.Rules{}, settle: 100 * time.Millisecond}
}

func (m *mesh) runtime(service string, tag graylib.Tag, opts ...graylib.Option) *graylib.Runtime {
	m.t.Helper()
	id := graylib.Identity{Service: service, Tag: tag, Instance: service + "-" + tag.String()}
	rt, err := graylib.New(id, append([]graylib.Option{
		graylib.WithRegistry(m.registry.As(id)), graylib.WithRules(m.rules),
		graylib.WithLogger(slog.New(slog.DiscardHandler)), graylib.WithHops(),
		graylib.WithEjection(graylib.Ejection{After: -1})}, opts...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	return rt
}

type answer struct {
	Service  string
	Tag      graylib.Tag // own
	Request  graylib.Tag
	ID, Host string
	Header   http.Header
	Body     string
}

func echo(rt *graylib.Runtime) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id := rt.Identity()
		_ = json.NewEncoder(w).Encode(answer{
			Service: id.Service, Tag: id.Tag, Request: graylib.TagFrom(r.Context()), ID: graylib.RequestIDFrom(r.Context()),
			Host: r.Host, Header: r.Header, Body: string(body),
		})
	})
}

func (m *mesh) serve(rt *graylib.Runtime, h http.Handler, opts ...grayhttp.Option) (addr string, stop func()) {
	m.t.Helper()
	if h == nil {
		h = echo(rt)
	}
	srv := httptest.NewServer(grayhttp.Handler(h, append([]grayhttp.Option{grayhttp.WithRuntime(rt)}, opts...)...))
	addr, err := graylib.AdvertisedAddr(srv.Listener.Addr(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	rt.SetAddr(addr)
	rt.Announce(graylib.Registration{Service: rt.Identity().Service, Addr: addr, Weight: 1})
	eventually(m.t, "it is registered", func() bool {
		for _, in := range m.registry.Instances(rt.Identity().Service) {
			if in.Addr == addr {
				return true
			}
		}
		return false
	})
	var once sync.Once
	settle := m.settle
	stop = func() {
		once.Do(func() {
			if err := rt.Withdraw(context.Background(), settle); err != nil {
				m.t.Error(err)
			}
			srv.Close()
		})
	}
	m.t.Cleanup(stop)
	return addr, stop
}

func (m *mesh) client(rt *graylib.Runtime, opts ...grayhttp.Option) *http.Client {
	base := http.DefaultTransport.(*http.Transport).Clone()
	c := &http.Client{Transport: grayhttp.Transport(base, append([]grayhttp.Option{grayhttp.WithRuntime(rt)}, opts...)...)}
	m.t.Cleanup(c.CloseIdleConnections)
	return c
}

func do(ctx context.Context, t *testing.T, c *http.Client, method, url string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return send(t, c, req)
}

func send(t *testing.T, c *http.Client, req *http.Request) answer {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
