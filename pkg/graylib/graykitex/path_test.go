package graykitex_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/proxy"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/rpcinfo/remoteinfo"
	"github.com/cloudwego/kitex/transport"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
)

// forward is a forward proxy that sends every call to one address.
type forward string

var _ proxy.ForwardProxy = forward("")

func (forward) Configure(*proxy.Config) error { return nil }

func (to forward) ResolveProxyInstance(ctx context.Context) error {
	remoteinfo.AsRemoteInfo(rpcinfo.GetRPCInfo(ctx).To()).SetInstance(discovery.NewInstance("tcp", string(to), 1, nil))
	return nil
}

// renewed is a middleware that makes a call's information anew.
func renewed(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, req, resp interface{}) error {
		ri := rpcinfo.GetRPCInfo(ctx)
		ri = rpcinfo.NewRPCInfo(ri.From(), ri.To(), ri.Invocation(), ri.Config(), ri.Stats())
		return next(rpcinfo.NewCtxWithRPCInfo(ctx, ri), req, resp)
	}
}

// TestCallsOnOtherPathsAreCarried: Kitex leaves out our inner middleware where there is a forward proxy, and a middleware of the
// application's may hide the call from it. Tag, id and trace go along all the same, and hops come back.
func TestCallsOnOtherPathsAreCarried(t *testing.T) {
	const colour = "by a rule"
	m := newMesh(t)
	m.rules.ColourFunc = func(_ string, req graylib.Request) (graylib.Decision, bool) {
		v, ok := req.Value(graylib.FromMetainfo, "COLOUR", 0)
		return graylib.Decision{Tag: graylib.Tag(v), Propagate: true}, ok
	}
	addr, _ := m.serve(m.runtime("b", ""), nil)
	a := m.runtime("a", "")
	for _, path := range []struct {
		name string
		opts []client.Option
	}{
		{"through a forward proxy", []client.Option{client.WithProxy(forward(addr))}},
		{"information made anew", []client.Option{client.WithMiddleware(renewed)}},
		{"information made anew, to an address", []client.Option{client.WithMiddleware(renewed), client.WithHostPorts(addr)}},
	} {
		for _, tp := range transports {
			c := m.over(a, "b", tp.set, path.opts...)
			for _, kind := range tp.kinds {
				for _, from := range []string{"gray", "", colour} {
					t.Run(fmt.Sprintf("%s/%s/%s of %q", path.name, tp.name, kind, from), func(t *testing.T) {
						want := answer{Service: "b", Request: graylib.Tag(from), ID: "id-1", Trace: trace[3:35], Payload: "x"}
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						defer cancel()
						if from == colour {
							from, want.Request = "", "blue"
							ctx = metainfo.WithPersistentValue(ctx, "COLOUR", "blue")
						}
						ctx, arrival := a.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{
							graylib.HTTPKeys.Tag: from, graylib.HTTPKeys.RequestID: want.ID, graylib.HTTPKeys.TraceParent: trace,
						})
						if diff := cmp.Diff(want, call(ctx, t, c, kind)); diff != "" {
							t.Errorf("b saw (-want +got):\n%s", diff)
						}
						if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Service != "b" || hops[1].RequestTag != want.Request {
							t.Errorf("hops %+v", hops)
						}
					})
				}
			}
		}
	}
}

// TestCallsWithinACall: what a client's middlewares call carries what the handler has, and nothing of the call that is under way.
func TestCallsWithinACall(t *testing.T) {
	m := newMesh(t)
	m.rules.ColourFunc = func(callee string, _ graylib.Request) (graylib.Decision, bool) {
		return graylib.Decision{Tag: "blue", Propagate: true}, callee == "c"
	}
	addr, _ := m.serve(m.runtime("d", ""), nil)
	m.serve(m.runtime("c", ""), nil)
	b := m.runtime("b", "")
	plain, err := newServiceClient("d", client.WithHostPorts(addr), client.WithTransportProtocol(transport.TTHeaderFramed))
	if err != nil {
		t.Fatal(err)
	}
	within := func(c *serviceClient, what string) endpoint.Middleware {
		return func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req, resp interface{}) error {
				out, err := c.call(ctx, "invoke", what)
				if err != nil {
					return err
				}
				got, _ := ctx.Value(sawKey{}).(map[string]graylib.Tag)
				var a answer
				if err := json.Unmarshal([]byte(out), &a); err != nil {
					return err
				}
				got[what] = a.Request
				return next(ctx, req, resp)
			}
		}
	}
	toC := m.client(b, "c",
		client.WithMiddleware(within(plain, "plain")),
		client.WithMiddleware(within(m.client(b, "d", client.WithProxy(forward(addr))), "proxied")),
		client.WithInstanceMW(within(m.client(b, "d", client.WithProxy(forward(addr))), "proxied, of an instance")),
		client.WithInstanceMW(within(m.client(b, "d"), "gray, of an instance")))
	addrB, _ := m.serve(b, func(ctx context.Context, payload string) (string, error) {
		got := make(map[string]graylib.Tag)
		out, err := toC.call(context.WithValue(ctx, sawKey{}, got), "invoke", payload)
		if err != nil {
			return "", err
		}
		var a answer
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			return "", err
		}
		got["c"] = a.Request
		all, err := json.Marshal(got)
		return string(all), err
	})
	toB, err := newServiceClient("b", client.WithHostPorts(addrB), client.WithTransportProtocol(transport.TTHeaderFramed))
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []graylib.Tag{"gray", ""} {
		ctx := t.Context()
		want := map[string]graylib.Tag{"plain": tag, "proxied": tag, "proxied, of an instance": tag, "gray, of an instance": tag, "c": tag}
		if tag == "" {
			want["c"] = "blue"
		} else {
			ctx = metainfo.WithPersistentValue(ctx, graylib.RPCKeys.Tag, string(tag))
		}
		out, err := toB.call(ctx, "invoke", "x")
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]graylib.Tag
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with tag %q (-want +got):\n%s", tag, diff)
		}
	}
}

type sawKey struct{}

// TestWhatKitexsReaderTellsHasItsPlace: of streams, and of calls over gRPC, Kitex's reader tells how they go on while the caller's
// goroutine may be leaving (Kitex doesn't wait for it where a write finds the stream ended). So the place for it is there before
// anything is sent.
func TestWhatKitexsReaderTellsHasItsPlace(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	a := m.runtime("a", "")
	for _, tp := range transports {
		there := false
		c := m.over(a, "b", tp.set, client.WithMiddleware(func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req, resp interface{}) error {
				there = graykitex.HasFurther(ctx)
				return next(ctx, req, resp)
			}
		}))
		for _, kind := range tp.kinds {
			there = false
			call(t.Context(), t, c, kind)
			if want := kind != "invoke" || tp.set == transport.GRPC; there != want {
				t.Errorf("%s over %s: it is there: %t, want %t", kind, tp.name, there, want)
			}
		}
	}
}
