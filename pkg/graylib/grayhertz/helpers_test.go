package grayhertz_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/netpoll"

	"go.uber.org/goleak"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func init() {
	hlog.SetOutput(io.Discard)
	hlog.SetSystemLogger(hlog.DefaultLogger())
}

// TestMain looks for goroutines that we left behind. Those that Hertz keeps are named.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),                         // the poller
		goleak.IgnoreAnyFunction("github.com/bytedance/gopkg/util/gopool.(*worker).run.func1"),               // its connections
		goleak.IgnoreAnyFunction("github.com/cloudwego/hertz/pkg/app/client.(*Client).cleaner"),              // every 10 s
		goleak.IgnoreAnyFunction("github.com/cloudwego/hertz/pkg/protocol/http1.(*HostClient).connsCleaner"), // the same
		goleak.IgnoreAnyFunction("github.com/cloudwego/hertz/pkg/protocol.UpdateServerDate.func1"),           // the clock
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),                                         // http.DefaultTransport's
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}

// mesh is one registry with whatever a test puts on it.
type mesh struct {
	t        testing.TB
	registry *graylibtest.Registry
	rules    *graylibtest.Rules
	settle   time.Duration // of the servers
	exitWait time.Duration // theirs too
}

func newMesh(t testing.TB) *mesh {
	return &mesh{t: t, registry: graylibtest.NewRegistry(), rules: &graylibtest.Rules{}, settle: 100 * time.Millisecond, exitWait: 2 * time.Second}
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

// answer is what the handlers of these tests say of the request that they got.
type answer struct {
	Service string
	Tag     graylib.Tag // own
	Request graylib.Tag
	ID      string
	Trace   string
	Host    string
	Headers map[string]string
	Body    string
}

// serve starts a server that answers what it saw, and is registered when serve returns.
func (m *mesh) serve(rt *graylib.Runtime, routes func(*server.Hertz), opts ...grayhertz.Option) (addr string, stop func()) {
	m.t.Helper()
	ln := listener(m.t)
	h := server.Default(server.WithListener(ln), server.WithExitWaitTime(m.exitWait), server.WithMaxRequestBodySize(8<<20))
	h = grayhertz.WrapServer(h, append([]grayhertz.Option{grayhertz.WithRuntime(rt), grayhertz.WithSettle(m.settle)}, opts...)...)
	h.Any("/echo", func(ctx context.Context, c *app.RequestContext) { c.JSON(http.StatusOK, saw(ctx, rt, c)) })
	h.GET("/panic", func(context.Context, *app.RequestContext) { panic("on purpose") })
	if routes != nil {
		routes(h)
	}
	done := make(chan error, 1)
	go func() { done <- h.Run() }()
	addr = ln.Addr().String()
	eventually(m.t, "server of "+rt.Identity().Service+" is up", func() bool {
		resp, err := http.Get("http://" + addr + graylib.ReadyPath)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK && (len(m.registry.Instances(rt.Identity().Service)) > 0)
	})
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := h.Shutdown(context.Background()); err != nil {
			m.t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			m.t.Errorf("run: %v", err)
		}
	}
	m.t.Cleanup(stop)
	return addr, stop
}

// listener listens on loopback. The listener that netpoll would make of it closes its descriptor's number twice, a moment apart, and
// thereby what another test has opened meanwhile; this one closes it once.
func listener(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nln, err := netpoll.ConvertListener(ln)
	if err != nil {
		t.Fatal(err)
	}
	opened.Lock()
	defer opened.Unlock()
	opened.list = append(opened.list, nln) // never collected: that closes the number again
	return &onceListener{Listener: nln, under: ln}
}

var opened struct {
	sync.Mutex
	list []netpoll.Listener
}

type onceListener struct {
	netpoll.Listener
	under net.Listener
	once  sync.Once
}

func (l *onceListener) Close() error {
	l.once.Do(func() { _ = errors.Join(os.NewFile(uintptr(l.Fd()), "listener").Close(), l.under.Close()) })
	return nil
}

func saw(ctx context.Context, rt *graylib.Runtime, c *app.RequestContext) answer {
	id := rt.Identity()
	a := answer{
		Service: id.Service, Tag: id.Tag, Request: graylib.TagFrom(ctx), ID: graylib.RequestIDFrom(ctx),
		Trace: graylib.TraceIDFrom(ctx), Host: string(c.Host()), Headers: map[string]string{}, Body: string(c.Request.Body()),
	}
	c.Request.Header.VisitAll(func(k, v []byte) { a.Headers[string(k)] = string(v) })
	return a
}

func (m *mesh) client(rt *graylib.Runtime, opts ...grayhertz.Option) *client.Client {
	m.t.Helper()
	c, err := client.NewClient(client.WithDialTimeout(time.Minute))
	c, err = grayhertz.WrapClient(c, err, append([]grayhertz.Option{grayhertz.WithRuntime(rt)}, opts...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(c.CloseIdleConnections)
	return c
}

// get asks a service, by name, for its echo.
func get(ctx context.Context, t *testing.T, c *client.Client, url string) answer {
	t.Helper()
	status, body, err := c.Get(ctx, nil, url, config.WithSD(true))
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s: status %d, %v: %s", url, status, err, body)
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("%s: %v in %s", url, err, body)
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
