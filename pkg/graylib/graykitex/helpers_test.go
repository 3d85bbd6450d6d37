package graykitex_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"go.uber.org/goleak"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func init() { klog.SetOutput(io.Discard) }

var kinds = []string{"invoke", "bidi", "client", "server"}

// TestMain looks for goroutines that we left behind. Those that Kitex keeps are named.
func TestMain(m *testing.M) {
	if os.Getenv(forgetEnv) != "" {
		graykitex.ForgetMetainfoKeys()
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/cloudwego/netpoll.(*defaultPoll).Wait"),           // the poller
		goleak.IgnoreAnyFunction("github.com/bytedance/gopkg/util/gopool.(*worker).run.func1"), // its connections
		goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/pkg/utils.(*SharedTicker).Tick"),  // looks at a resolver every 5 s
		goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/pkg/loadbalance/lbcache.(*BalancerFactory).watcher"),
		goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/grpc.preallocateForStream"), // one for the process
		goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/client.(*timeoutPool).createWorker.func1"),           // of calls with a deadline
		goleak.IgnoreAnyFunction("github.com/cloudwego/kitex/client.(*timeoutPool).createTicker.func1"),
	)
}

// mesh is one registry with whatever a test puts on it.
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

// answer is what the handlers of these tests say of the call that they got.
type answer struct {
	Service   string
	Tag       graylib.Tag // own
	Request   graylib.Tag
	ID, Trace string
	Payload   string
}

func saw(ctx context.Context, rt *graylib.Runtime, payload string) string {
	id := rt.Identity()
	b, err := json.Marshal(answer{
		Service: id.Service, Tag: id.Tag, Request: graylib.TagFrom(ctx),
		ID: graylib.RequestIDFrom(ctx), Trace: graylib.TraceIDFrom(ctx), Payload: payload,
	})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// serve starts a server, and returns when it is registered. do may be nil: it answers what it saw.
func (m *mesh) serve(rt *graylib.Runtime, do func(ctx context.Context, payload string) (string, error), opts ...server.Option) (addr string, stop func()) {
	m.t.Helper()
	if do == nil {
		do = func(ctx context.Context, payload string) (string, error) { return saw(ctx, rt, payload), nil }
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	addr = ln.Addr().String()
	svr := server.NewServer(append([]server.Option{
		server.WithListener(ln), server.WithExitWaitTime(2 * time.Second), server.WithExitSignal(func() <-chan error { return nil }),
		server.WithCompatibleMiddlewareForUnary(), // as the code that Kitex generates of thrift
		server.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(rt), graykitex.WithSettle(m.settle))),
	}, opts...)...)
	if err := svr.RegisterService(serviceInfo, &serviceHandler{do}); err != nil {
		m.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- svr.Run() }()
	registered := func() bool {
		for _, in := range m.registry.Instances(rt.Identity().Service + ".rpc") {
			if in.Addr == addr {
				return true
			}
		}
		return false
	}
	eventually(m.t, "server of "+rt.Identity().Service+" is registered", registered)
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := svr.Stop(); err != nil {
			m.t.Errorf("stop: %v", err)
		}
		if registered() {
			m.t.Errorf("%s is still registered", addr)
		}
	}
	m.t.Cleanup(stop)
	return addr, stop
}

func (m *mesh) client(rt *graylib.Runtime, name string, opts ...client.Option) *serviceClient {
	m.t.Helper()
	c, err := newServiceClient(name, append([]client.Option{
		client.WithTransportProtocol(transport.TTHeaderStreaming),
		client.WithConnectTimeout(time.Minute), // the machine may be busy
		client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(rt))),
	}, opts...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

func call(ctx context.Context, t testing.TB, c *serviceClient, kind string) answer {
	t.Helper()
	out, err := c.call(ctx, kind, "x")
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return answered(t, out)
}

func answered(t testing.TB, out string) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("%v in %s", err, out)
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
