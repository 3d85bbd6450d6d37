package servetest

import (
	"context"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	kitexclient "github.com/cloudwego/kitex/client"
	kitex "github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/services/internal/answer"
	"github.com/graychain/graychain/services/internal/next"
)

// StandIn takes the place of a b or c.
type StandIn struct {
	Addr  string       // as its hops show it
	Calls atomic.Int64 // handled so far, of all kinds

	rt   *graylib.Runtime
	toC  c.Client
	http next.HTTP
	last bool // c: it calls nobody
}

// StandIn runs a stand-in for service b or c in the lane, in this process, until the test ends. b calls c by the protocol
// that it was called by; c notes a message "1A" to topic TEST_MQ on a unary call.
func (m *Mesh) StandIn(service string, tag graylib.Tag, handlers ...func(*server.Hertz)) *StandIn {
	m.t.Helper()
	web, rpc := m.listen(), m.listen()
	s := &StandIn{Addr: web.Addr().String(), last: service == "c"}
	id := graylib.Identity{Service: service, Tag: tag, Addr: s.Addr}
	rt, err := graylib.New(id, graylib.WithRegistry(m.Registry.As(id)), graylib.WithRules(graylib.StaticRules(m.Rules)),
		graylib.WithLogger(slog.New(slog.DiscardHandler)), graylib.WithHops())
	if err != nil {
		m.t.Fatal(err)
	}
	s.rt = rt
	if s.toC, err = c.NewClient("c", kitexclient.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(rt)))); err != nil {
		m.t.Fatal(err)
	}
	plain, err := client.NewClient()
	over, err := grayhertz.WrapClient(plain, err, grayhertz.WithRuntime(rt))
	if err != nil {
		m.t.Fatal(err)
	}
	s.http = next.HTTP{Client: over, Timeout: limit}

	h := grayhertz.WrapServer(server.New(server.WithListener(web), server.WithDisablePrintRoute(true)),
		grayhertz.WithRuntime(rt), grayhertz.WithSettle(0))
	h.GET("/"+service, s.get)
	for _, add := range handlers {
		add(h)
	}
	suite := kitex.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(rt), graykitex.WithSettle(0)))
	never := kitex.WithExitSignal(func() <-chan error { return make(chan error) })
	soon := kitex.WithExitWaitTime(100 * time.Millisecond) // idle connections of streams are waited for
	var k kitex.Server
	if s.last {
		k = c.NewServer(&asC{s}, kitex.WithListener(rpc), suite, never, soon)
	} else {
		k = b.NewServer(&asB{s}, kitex.WithListener(rpc), suite, never, soon)
	}
	ended := make(chan struct{}, 2)
	go func() { _ = h.Run(); ended <- struct{}{} }()
	go func() { _ = k.Run(); ended <- struct{}{} }()
	m.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond) // idle connections are waited for
		defer cancel()
		_ = k.Stop()
		_ = h.Shutdown(ctx)
		for range 2 {
			select {
			case <-ended:
			case <-time.After(limit):
				m.t.Errorf("stand-in for %s did not stop", service)
			}
		}
		_ = rt.Close()
	})
	Eventually(m.t, "stand-in for "+service+" is registered", func() bool { return rt.Status().Ready })
	return s
}

func (m *Mesh) listen() net.Listener {
	m.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	return ln
}

func (s *StandIn) get(ctx context.Context, r *app.RequestContext) {
	s.Calls.Add(1)
	if !s.last {
		if err := s.http.Get(ctx, "c", "/c"); err != nil {
			answer.Renderer{}.Fail(ctx, r, err)
			return
		}
	}
	answer.Renderer{}.OK(ctx, r)
}

func (s *StandIn) invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	s.Calls.Add(1)
	if !s.last {
		return s.toC.Invoke(ctx, r)
	}
	graylib.RecordMessage(ctx, graylib.Message{ID: "1A", Topic: "TEST_MQ", Tag: graylib.TagFrom(ctx)})
	return &chain.Response{Payload: r.Payload}, nil
}

func (s *StandIn) relay(ctx context.Context, from next.Server) error {
	s.Calls.Add(1)
	if s.last {
		return next.Echo(ctx, from)
	}
	to, err := s.toC.Relay(ctx)
	if err != nil {
		return err
	}
	return next.Relay(ctx, from, to)
}

// asB and asC are the two services' interfaces, which differ in the names of their types alone.
type asB struct{ *StandIn }

// Invoke implements chain.B.
func (s *asB) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	return s.invoke(ctx, r)
}

// Relay implements chain.B.
func (s *asB) Relay(ctx context.Context, from chain.B_relayServer) error { return s.relay(ctx, from) }

type asC struct{ *StandIn }

// Invoke implements chain.C.
func (s *asC) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	return s.invoke(ctx, r)
}

// Relay implements chain.C.
func (s *asC) Relay(ctx context.Context, from chain.C_relayServer) error { return s.relay(ctx, from) }
