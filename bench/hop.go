package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/gopkg/bufiox"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/remote/trans/gonet"
	"github.com/cloudwego/kitex/pkg/remote/trans/invoke"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// A hop is a whole Kitex call, client and server with all that Kitex itself does, over a connection in memory: the server
// runs on the goroutine that calls. So nothing waits, and what is measured is what the processor does.

const benchTag graylib.Tag = "gray"

// hopService answers with the request's payload, and tells what its context carries.
type hopService struct {
	read func(ctx context.Context) string
	want string
}

var errCarried = errors.New("the value did not arrive")

// Invoke implements chain.B.
func (h *hopService) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	if h.read != nil {
		if got := h.read(ctx); got != h.want {
			return nil, fmt.Errorf("%w: %q, want %q", errCarried, got, h.want)
		}
	}
	return &chain.Response{Payload: r.Payload}, nil
}

// Relay implements chain.B.
func (h *hopService) Relay(context.Context, chain.B_relayServer) error { return errors.ErrUnsupported }

// memory is a connection to a server that answers when it is read from.
type memory struct {
	server   server.Invoker
	reader   *bufiox.DefaultReader
	writer   *bufiox.DefaultWriter
	out, in  []byte
	taken    int
	from, to net.Addr
}

func newMemory(s server.Invoker) *memory {
	m := &memory{server: s, from: utils.NewNetAddr("tcp", "192.0.2.1:1"), to: utils.NewNetAddr("tcp", calleeAddr)}
	m.reader, m.writer = bufiox.NewDefaultReader(m), bufiox.NewDefaultWriter(m)
	return m
}

// DialTimeout implements Kitex's dialer.
func (m *memory) DialTimeout(string, string, time.Duration) (net.Conn, error) { return m, nil }

func (m *memory) Reader() *bufiox.DefaultReader { return m.reader }
func (m *memory) Writer() *bufiox.DefaultWriter { return m.writer }

func (m *memory) Write(p []byte) (int, error) {
	m.out = append(m.out, p...)
	return len(p), nil
}

func (m *memory) Read(p []byte) (int, error) {
	if len(m.out) > 0 {
		msg := invoke.NewMessage(m.to, m.from)
		if err := msg.SetRequestBytes(m.out); err != nil {
			return 0, err
		}
		if err := m.server.Call(msg); err != nil {
			return 0, err
		}
		answer, err := msg.GetResponseBytes()
		if err != nil {
			return 0, err
		}
		m.in, m.taken, m.out = append(m.in[:0], answer...), 0, m.out[:0]
		if err := msg.Release(); err != nil {
			return 0, err
		}
	}
	n := copy(p, m.in[m.taken:])
	m.taken += n
	return n, nil
}

func (m *memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr              { return m.from }
func (m *memory) RemoteAddr() net.Addr             { return m.to }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

// newHop returns a client of a server in memory.
func newHop(h *hopService, clientOptions []client.Option, serverOptions []server.Option) (b.Client, error) {
	s := server.NewInvoker(append([]server.Option{
		server.WithMetaHandler(transmeta.ServerTTHeaderHandler),
	}, serverOptions...)...)
	if err := s.RegisterService(b.NewServiceInfo(), h); err != nil {
		return nil, err
	}
	if err := s.Init(); err != nil {
		return nil, err
	}
	return b.NewClient("b", append([]client.Option{
		client.WithTransHandlerFactory(gonet.NewCliTransHandlerFactory()),
		client.WithDialer(newMemory(s)),
		client.WithLongConnection(connpool.IdleConfig{MaxIdlePerAddress: 1, MaxIdleGlobal: 1, MaxIdleTimeout: time.Hour}),
		client.WithTransportProtocol(transport.TTHeaderFramed),
		client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
	}, clientOptions...)...)
}

// newRuntime returns a runtime for one service of a bench.
func newRuntime(service string, tag graylib.Tag, opts ...graylib.Option) (*graylib.Runtime, error) {
	id := graylib.Identity{Service: service, Tag: tag, Instance: service + "-" + tag.String(), Addr: calleeAddr}
	return graylib.New(id, append([]graylib.Option{graylib.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
}

// hopContestants are the ways of carrying one value over a hop; the first one carries none.
func hopContestants() ([]contestant, error) {
	payload := "x"
	request := &chain.Request{Payload: &payload}
	calls := func(name string, c b.Client, context func() context.Context) contestant {
		return contestant{name, func(n int) {
			for range n {
				if _, err := c.Invoke(context(), request); err != nil {
					panic(fmt.Errorf("%s: %w", name, err))
				}
			}
		}}
	}
	background := context.Background()
	same := func(ctx context.Context) func() context.Context { return func() context.Context { return ctx } }

	fixed := client.WithHostPorts(calleeAddr)
	bare, err := newHop(&hopService{}, []client.Option{fixed}, nil)
	if err != nil {
		return nil, err
	}

	const key = "BENCH_VALUE"
	plain, err := newHop(&hopService{want: string(benchTag), read: func(ctx context.Context) string {
		v, _ := metainfo.GetPersistentValue(ctx, key)
		return v
	}}, []client.Option{fixed}, nil)
	if err != nil {
		return nil, err
	}

	otel, err := otelHop()
	if err != nil {
		return nil, err
	}
	member, err := baggage.NewMember("gray-tag", string(benchTag))
	if err != nil {
		return nil, err
	}
	bag, err := baggage.New(member)
	if err != nil {
		return nil, err
	}

	registry := graylibtest.NewRegistry()
	registry.Put(graylib.Instance{ID: "b-1", Service: "b" + graylib.RPCServiceSuffix, Addr: calleeAddr, Tag: benchTag, Weight: 1})
	carries, err := newRuntime("a", graylib.Untagged)
	if err != nil {
		return nil, err
	}
	chooses, err := newRuntime("a", graylib.Untagged, graylib.WithRegistry(registry.As(graylib.Identity{Service: "a", Instance: "a-1"})))
	if err != nil {
		return nil, err
	}
	callee, err := newRuntime("b", benchTag)
	if err != nil {
		return nil, err
	}
	gray := func(caller *graylib.Runtime, more ...client.Option) (b.Client, error) {
		return newHop(&hopService{want: string(benchTag), read: func(ctx context.Context) string { return string(graylib.TagFrom(ctx)) }},
			append(more, client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(caller)))),
			[]server.Option{server.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(callee), graykitex.WithoutRegistration()))})
	}
	tagged, err := gray(carries, fixed)
	if err != nil {
		return nil, err
	}
	within, err := gray(chooses)
	if err != nil {
		return nil, err
	}
	arriving := func(hops string) func() context.Context {
		arrived := graylib.MapCarrier{
			graylib.RPCKeys.Tag: string(benchTag), graylib.RPCKeys.RequestID: graylib.NewRequestID(),
			graylib.RPCKeys.TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", graylib.RPCKeys.Hops: hops,
		}
		return func() context.Context {
			ctx, _ := chooses.Arrive(background, graylib.ProtocolRPC, graylib.RPCKeys, arrived)
			return ctx
		}
	}
	return []contestant{
		calls("bare TTHeader, metainfo off", bare, same(background)),
		calls("graylib: the tag", tagged, same(graylib.WithTag(background, benchTag))),
		calls("plain metainfo, one persistent value", plain, func() context.Context {
			return metainfo.WithPersistentValue(background, key, string(benchTag))
		}),
		calls("OpenTelemetry baggage over metainfo", otel, same(baggage.ContextWithBaggage(background, bag))),
		calls("graylib within a chain: arriving at the caller, choosing, request id, trace, reason", within, arriving("")),
		calls("the same, and the hops are wanted", within, arriving(graylib.HopsWanted)),
	}, nil
}

// calleeAddr is the address that all of them call.
const calleeAddr = "192.0.2.2:1"

// otelHop carries OpenTelemetry's baggage as its integration for Kitex does: the propagator writes into metainfo.
func otelHop() (b.Client, error) {
	p := propagation.Baggage{}
	return newHop(&hopService{want: string(benchTag), read: func(ctx context.Context) string {
		return baggage.FromContext(ctx).Member("gray-tag").Value()
	}}, []client.Option{client.WithHostPorts(calleeAddr), client.WithMiddleware(func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, req, resp any) error {
			c := otelCarrier{ctx}
			p.Inject(ctx, &c)
			return next(c.ctx, req, resp)
		}
	})}, []server.Option{server.WithMiddleware(func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, req, resp any) error {
			return next(p.Extract(ctx, &otelCarrier{ctx}), req, resp)
		}
	})})
}

type otelCarrier struct{ ctx context.Context }

// Get implements propagation.TextMapCarrier.
func (c *otelCarrier) Get(key string) string {
	v, _ := metainfo.GetPersistentValue(c.ctx, key)
	return v
}

// Set implements propagation.TextMapCarrier.
func (c *otelCarrier) Set(key, value string) {
	c.ctx = metainfo.WithPersistentValue(c.ctx, key, value)
}

// Keys implements propagation.TextMapCarrier.
func (c *otelCarrier) Keys() []string {
	var keys []string
	metainfo.RangePersistentValues(c.ctx, func(k, _ string) bool { keys = append(keys, k); return true })
	return keys
}
