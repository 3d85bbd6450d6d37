package graylibtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	hclient "github.com/cloudwego/hertz/pkg/app/client"
	hserver "github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	kclient "github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	kserver "github.com/cloudwego/kitex/server"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// The chain of these tests: a gateway on Hertz, a on net/http, b and c on Kitex; b calls c as it was called itself, by call or by stream.

type chainOf struct {
	t        *testing.T
	registry *graylibtest.Registry
	rules    *graylibtest.Rules
	events   graylibtest.Reporter
}

func (x *chainOf) runtime(service string, tag graylib.Tag) *graylib.Runtime {
	id := graylib.Identity{Service: service, Tag: tag, Instance: service + "-" + tag.String()}
	rt, err := graylib.New(id, graylib.WithRegistry(x.registry.As(id)), graylib.WithRules(x.rules), graylib.WithReporter(&x.events),
		graylib.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		x.t.Fatal(err)
	}
	return rt
}

func (x *chainOf) listen() net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.t.Fatal(err)
	}
	return ln
}

func (x *chainOf) registered(name, addr string) {
	x.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		for _, in := range x.registry.Instances(name) {
			if in.Addr == addr {
				return
			}
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("%s isn't registered within 30 s", name)
		}
	}
}

func (x *chainOf) kitexOptions(rt *graylib.Runtime, ln net.Listener) []kserver.Option {
	return []kserver.Option{
		kserver.WithListener(ln), kserver.WithExitSignal(func() <-chan error { return nil }),
		kserver.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(rt), graykitex.WithSettle(0))),
	}
}

func (x *chainOf) run(name string, ln net.Listener, svr kserver.Server) {
	go func() { _ = svr.Run() }()
	x.registered(name, ln.Addr().String())
	x.t.Cleanup(func() {
		if err := svr.Stop(); err != nil {
			x.t.Error(err)
		}
	})
}

func (x *chainOf) suite(rt *graylib.Runtime) kclient.Option {
	return kclient.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(rt)))
}

type serviceC struct{}

func (*serviceC) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	graylib.RecordMessage(ctx, graylib.Message{ID: "1A", Topic: "TEST_MQ", Tag: graylib.TagFrom(ctx)})
	return &chain.Response{Payload: r.Payload}, nil
}

func (*serviceC) Relay(ctx context.Context, st chain.C_relayServer) error {
	for {
		r, err := st.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := st.Send(ctx, &chain.Response{Payload: r.Payload}); err != nil {
			return err
		}
	}
}

type serviceB struct{ c c.Client }

func (s *serviceB) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	return s.c.Invoke(ctx, r)
}

func (s *serviceB) Relay(ctx context.Context, st chain.B_relayServer) error {
	down, err := s.c.Relay(ctx)
	if err != nil {
		return err
	}
	for {
		r, err := st.Recv(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := down.Send(ctx, r); err != nil {
			return err
		}
		resp, err := down.Recv(ctx)
		if err != nil {
			return err
		}
		if err := st.Send(ctx, resp); err != nil {
			return err
		}
	}
	if err := down.CloseSend(ctx); err != nil {
		return err
	}
	if _, err := down.Recv(ctx); !errors.Is(err, io.EOF) {
		return fmt.Errorf("want the end of c's stream, got %w", err)
	}
	return nil
}

func (x *chainOf) startC(tag graylib.Tag) {
	rt, ln := x.runtime("c", tag), x.listen()
	x.run("c.rpc", ln, c.NewServer(&serviceC{}, x.kitexOptions(rt, ln)...))
}

func (x *chainOf) startB(tag graylib.Tag) {
	rt, ln := x.runtime("b", tag), x.listen()
	toC, err := c.NewClient("c", x.suite(rt))
	if err != nil {
		x.t.Fatal(err)
	}
	x.run("b.rpc", ln, b.NewServer(&serviceB{toC}, x.kitexOptions(rt, ln)...))
}

func (x *chainOf) startA(tag graylib.Tag) {
	rt, ln := x.runtime("a", tag), x.listen()
	toB, err := b.NewClient("b", x.suite(rt))
	if err != nil {
		x.t.Fatal(err)
	}
	mux := http.NewServeMux()
	payload := "p"
	mux.HandleFunc("/rpc", func(w http.ResponseWriter, r *http.Request) {
		if _, err := toB.Invoke(r.Context(), &chain.Request{Payload: &payload}); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		if err := oneThroughStream(r.Context(), toB, payload); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	srv := &http.Server{Handler: grayhttp.Handler(mux, grayhttp.WithRuntime(rt)), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(ln) }()
	rt.SetAddr(ln.Addr().String())
	rt.Announce(graylib.Registration{Service: "a", Addr: ln.Addr().String(), Weight: 1})
	x.registered("a", ln.Addr().String())
	x.t.Cleanup(func() {
		_ = rt.Withdraw(context.Background(), 0)
		_ = srv.Close()
	})
}

func oneThroughStream(ctx context.Context, toB b.Client, payload string) error {
	st, err := toB.Relay(ctx)
	if err != nil {
		return err
	}
	if err := st.Send(ctx, &chain.Request{Payload: &payload}); err != nil {
		return err
	}
	if resp, err := st.Recv(ctx); err != nil || resp.GetPayload() != payload {
		return fmt.Errorf("payload %q came back: %w", resp.GetPayload(), err)
	}
	if err := st.CloseSend(ctx); err != nil {
		return err
	}
	if _, err := st.Recv(ctx); !errors.Is(err, io.EOF) {
		return fmt.Errorf("want the end of b's stream, got %w", err)
	}
	return nil
}

func (x *chainOf) startGateway() (addr string) {
	rt, ln := x.runtime("gateway", ""), x.listen()
	out, err := hclient.NewClient()
	if out, err = grayhertz.WrapClient(out, err, grayhertz.WithRuntime(rt)); err != nil {
		x.t.Fatal(err)
	}
	h := grayhertz.WrapServer(hserver.Default(hserver.WithListener(ln)), grayhertz.WithRuntime(rt), grayhertz.WithEdge(), grayhertz.WithSettle(0))
	h.GET("/*path", func(ctx context.Context, rc *app.RequestContext) {
		status, body, err := out.Get(ctx, nil, "http://a"+string(rc.Request.RequestURI()), config.WithSD(true))
		if err != nil {
			rc.String(http.StatusBadGateway, "%s", err.Error())
			return
		}
		rc.Data(status, "text/plain", body)
	})
	go func() { _ = h.Run() }()
	x.registered("gateway", ln.Addr().String())
	x.t.Cleanup(func() {
		out.CloseIdleConnections()
		if err := h.Shutdown(context.Background()); err != nil {
			x.t.Error(err)
		}
	})
	return ln.Addr().String()
}

// TestTagThroughHTTPCallsAndStreams sends a request that a rule colours at the gateway, and one that none does, through every
// subset of {a, b, c} that has a lane.
func TestTagThroughHTTPCallsAndStreams(t *testing.T) {
	klog.SetOutput(io.Discard)
	hlog.SetOutput(io.Discard)
	hlog.SetSystemLogger(hlog.DefaultLogger())
	for subset := range 1 << 3 {
		lane := map[string]bool{"a": subset&1 != 0, "b": subset&2 != 0, "c": subset&4 != 0}
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			x := &chainOf{t: t, registry: graylibtest.NewRegistry(), rules: &graylibtest.Rules{
				ColourFunc: func(callee string, req graylib.Request) (graylib.Decision, bool) {
					name, _ := req.Value(graylib.FromQuery, "name", 0)
					return graylib.Decision{Tag: "gray", Propagate: true}, callee == "a" && name == "xiaoming"
				},
			}}
			for tag, on := range map[graylib.Tag]func(string) bool{"": func(string) bool { return true }, "gray": func(s string) bool { return lane[s] }} {
				if on("c") {
					x.startC(tag)
				}
				if on("b") {
					x.startB(tag)
				}
				if on("a") {
					x.startA(tag)
				}
			}
			gateway := x.startGateway()
			requests := 0
			for _, path := range []string{"/rpc", "/stream"} {
				for _, tag := range []graylib.Tag{"", "gray"} {
					url := "http://" + gateway + path
					if tag == "gray" {
						url += "?name=xiaoming"
					}
					resp, err := http.Get(url)
					if err != nil {
						t.Fatal(err)
					}
					body, _ := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						t.Fatalf("%s: %d %s", url, resp.StatusCode, body)
					}
					requests++
					if len(x.events.Events()) != requests {
						t.Fatalf("%d events of %d requests", len(x.events.Events()), requests)
					}
					e := x.events.Events()[requests-1]
					want := []graylib.Hop{{Service: "gateway", Protocol: graylib.ProtocolHTTP}}
					for _, s := range []string{"a", "b", "c"} {
						hop := graylib.Hop{Service: s, RequestTag: tag, Protocol: graylib.ProtocolRPC, Reason: graylib.ReasonBaseline}
						if s == "a" {
							hop.Protocol = graylib.ProtocolHTTP
						}
						switch {
						case tag == "gray" && lane[s]:
							hop.Tag, hop.Reason = "gray", graylib.ReasonLane
						case tag == "gray":
							hop.Reason = graylib.ReasonNoInstance
						}
						want = append(want, hop)
					}
					if diff := cmp.Diff(want, e.Hops, cmpopts.IgnoreFields(graylib.Hop{}, "Instance", "Addr")); diff != "" {
						t.Errorf("%s (-want +got):\n%s", url, diff)
					}
					var messages []graylib.Message
					if path == "/rpc" {
						messages = []graylib.Message{{ID: "1A", Topic: "TEST_MQ", Tag: tag}}
					}
					if diff := cmp.Diff(messages, e.Messages, cmpopts.EquateEmpty()); diff != "" {
						t.Errorf("%s: messages (-want +got):\n%s", url, diff)
					}
				}
			}
		})
	}
}
