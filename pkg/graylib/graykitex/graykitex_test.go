package graykitex_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestRoutesByTag(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.serve(m.runtime("b", "gray"), nil)
	c := m.client(m.runtime("a", ""), "b")
	for _, kind := range kinds {
		for _, tc := range []struct{ tag, want graylib.Tag }{{"", ""}, {"gray", "gray"}, {"blue", ""}} {
			for range 10 {
				ctx := graylib.WithRequestID(graylib.WithTag(context.Background(), tc.tag), "id-1")
				got := call(ctx, t, c, kind)
				if got.Tag != tc.want || got.Request != tc.tag || got.ID != "id-1" {
					t.Fatalf("%s: tag %q reached %+v, want %q", kind, tc.tag, got, tc.want)
				}
			}
		}
	}
}

func TestHopsComeBackInOrder(t *testing.T) {
	m := newMesh(t)
	cGray, _ := m.serve(m.runtime("c", "gray"), nil)
	m.serve(m.runtime("c", ""), nil)
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			b := m.runtime("b-"+kind, "")
			toC := m.client(b, "c.rpc")
			m.serve(b, func(ctx context.Context, payload string) (string, error) {
				graylib.RecordMessage(ctx, graylib.Message{ID: "m1", Topic: "T", Tag: graylib.TagFrom(ctx)})
				return toC.call(ctx, kind, payload)
			})
			a := m.runtime("a", "")
			toB := m.client(a, "b-"+kind)
			calls := 1
			if kind == "server" {
				calls = 3 // b calls c for each of its answers
			}
			for _, tag := range []graylib.Tag{"gray", ""} {
				ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys,
					graylib.MapCarrier{graylib.HTTPKeys.Tag: string(tag)})
				if _, err := toB.call(ctx, kind, "x"); err != nil {
					t.Fatal(err)
				}
				hops, messages := arrival.Chain()
				reasonB, reasonC := graylib.ReasonBaseline, graylib.ReasonBaseline
				if tag == "gray" {
					reasonB, reasonC = graylib.ReasonNoInstance, graylib.ReasonLane
				}
				want := []graylib.Hop{
					{Service: "a", RequestTag: tag, Protocol: graylib.ProtocolHTTP},
					{Service: "b-" + kind, RequestTag: tag, Protocol: graylib.ProtocolRPC, Reason: reasonB},
				}
				for range calls {
					want = append(want, graylib.Hop{Service: "c", Tag: tag, RequestTag: tag, Protocol: graylib.ProtocolRPC, Reason: reasonC})
				}
				if diff := cmp.Diff(want, hops, cmpopts.IgnoreFields(graylib.Hop{}, "Instance", "Addr")); diff != "" {
					t.Errorf("tag %q (-want +got):\n%s", tag, diff)
				}
				if tag == "gray" && len(hops) > 2 && hops[2].Addr != cGray {
					t.Errorf("address %q, want %q", hops[2].Addr, cGray)
				}
				if len(messages) != calls || messages[0] != (graylib.Message{ID: "m1", Topic: "T", Tag: tag}) {
					t.Errorf("messages %+v", messages)
				}
			}
		})
	}
}

func TestHopsOfAFailedCallComeBackToo(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), func(context.Context, string) (string, error) { return "", errors.New("on purpose") })
	a := m.runtime("a", "")
	c := m.client(a, "b")
	for _, kind := range kinds {
		ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
		if _, err := c.call(ctx, kind, "x"); err == nil || !strings.Contains(err.Error(), "on purpose") {
			t.Fatalf("%s: %v", kind, err)
		}
		if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Service != "b" {
			t.Errorf("%s: hops %+v", kind, hops)
		}
	}
}

func TestCallsOfOneContextKeepTheirHopsApart(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	a := m.runtime("a", "")
	c := m.client(a, "b")
	ctx, arrival := a.Arrive(metainfo.WithBackwardValues(context.Background()), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	var wg sync.WaitGroup
	for range 5 {
		for _, kind := range kinds {
			wg.Go(func() {
				if _, err := c.call(ctx, kind, "x"); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			})
		}
	}
	wg.Wait()
	if hops, _ := arrival.Chain(); len(hops) != 1+5*len(kinds) {
		t.Errorf("%d hops of %d calls", len(hops)-1, 5*len(kinds))
	}
}

func TestConnectRefusedFallsBackWithinTheCall(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	a := m.runtime("a", "")
	c := m.client(a, "b")
	for _, kind := range kinds {
		for range 5 { // more than once: Kitex's own pool for streams hangs at the second time
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			ctx, arrival := a.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
			got := call(ctx, t, c, kind)
			cancel()
			if got.Tag != "" || got.Request != "gray" {
				t.Fatalf("%s: reached %+v", kind, got)
			}
			if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Reason != graylib.ReasonConnectFailed {
				t.Fatalf("%s: hops %+v, want %q", kind, hops, graylib.ReasonConnectFailed)
			}
		}
	}
}

func TestNobodyLeftNamesWhoAndWhy(t *testing.T) {
	m := newMesh(t)
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: graylibtest.ReserveAddr(t)})
	a := m.runtime("a", "")
	for _, kind := range kinds {
		_, err := m.client(a, "b").call(context.Background(), kind, "x")
		if !errors.Is(err, kerrors.ErrNoMoreInstance) || !errors.Is(err, graylib.ErrNoInstance) ||
			!strings.Contains(err.Error(), "of b.rpc ") || !strings.Contains(err.Error(), "dial tcp") {
			t.Errorf("%s: %v", kind, err)
		}
		_, err = m.client(a, "nobody").call(context.Background(), kind, "x")
		if !errors.Is(err, graylib.ErrNoInstance) || !strings.Contains(err.Error(), "of nobody.rpc ") {
			t.Errorf("%s: %v", kind, err)
		}
	}
	m.registry.SetDown(true)
	_, err := m.client(a, "unknown").call(context.Background(), "invoke", "x")
	if !errors.Is(err, graylibtest.ErrRegistryDown) || !strings.Contains(err.Error(), `"unknown.rpc"`) {
		t.Errorf("with the registry away: %v", err)
	}
}

func TestRulesSeeTheCall(t *testing.T) {
	m := newMesh(t)
	type seen struct{ Callee, Metainfo, Transient, Method, Path, IP string }
	var got seen
	m.rules.ColourFunc = func(callee string, req graylib.Request) (graylib.Decision, bool) {
		value := func(from graylib.From, key string) string {
			v, _ := req.Value(from, key, 0)
			return v
		}
		got = seen{
			callee, value(graylib.FromMetainfo, "USER"), value(graylib.FromMetainfo, "ONCE"), value(graylib.FromMethod, ""),
			value(graylib.FromPath, ""), value(graylib.FromIP, ""),
		}
		if v, ok := req.Value(graylib.FromHeader, "USER", 0); ok {
			t.Errorf("an RPC has a header %q", v)
		}
		return graylib.Decision{Tag: "gray", Propagate: got.Metainfo != "local"}, true
	}
	m.serve(m.runtime("b", ""), nil)
	m.serve(m.runtime("b", "gray"), nil)
	c := m.client(m.runtime("a", ""), "b")
	for _, kind := range kinds {
		ctx := metainfo.WithValue(metainfo.WithPersistentValue(context.Background(), "USER", "xiaoming"), "ONCE", "1")
		answered := call(graylib.WithClientIP(ctx, "10.9.8.7"), t, c, kind)
		if diff := cmp.Diff(seen{"b", "xiaoming", "1", kind, "/T/" + kind, "10.9.8.7"}, got); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
		if answered.Tag != "gray" || answered.Request != "gray" {
			t.Errorf("%s: %+v", kind, answered)
		}
		answered = call(metainfo.WithPersistentValue(context.Background(), "USER", "local"), t, c, kind)
		if answered.Tag != "gray" || answered.Request != "" {
			t.Errorf("%s: of a lane that doesn't propagate: %+v", kind, answered)
		}
	}
}

func TestMalformedTagCountsAsUntagged(t *testing.T) {
	m := newMesh(t)
	b, cRuntime := m.runtime("b", ""), m.runtime("c", "")
	m.serve(cRuntime, nil)
	toC := m.client(b, "c")
	addr, _ := m.serve(b, func(ctx context.Context, payload string) (string, error) { return toC.call(ctx, "invoke", payload) })
	plain, err := newServiceClient("b", client.WithHostPorts(addr), client.WithTransportProtocol(transport.TTHeaderFramed|transport.TTHeaderStreaming))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		before := b.Status().MalformedTags
		got := call(metainfo.WithPersistentValue(context.Background(), graylib.RPCKeys.Tag, "Gray!"), t, plain, kind)
		if got.Service != "c" || got.Request != "" {
			t.Errorf("%s: %+v", kind, got)
		}
		if n := b.Status().MalformedTags - before; n != 1 {
			t.Errorf("%s: %d counted at b", kind, n)
		}
		if n := cRuntime.Status().MalformedTags; n != 0 {
			t.Errorf("%s: the malformed tag was handed on to c", kind)
		}
	}
}

func TestServicesWithoutGraylibHandTheTagOn(t *testing.T) {
	m := newMesh(t)
	cAddr, _ := m.serve(m.runtime("c", ""), nil)
	tp := client.WithTransportProtocol(transport.TTHeaderFramed | transport.TTHeaderStreaming)
	toC, err := newServiceClient("c", client.WithHostPorts(cAddr), tp)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	svr := server.NewServer(server.WithListener(ln), server.WithExitWaitTime(10*time.Millisecond), server.WithExitSignal(func() <-chan error { return nil }))
	var onward atomic.Value // how plain calls c
	if err := svr.RegisterService(serviceInfo, &serviceHandler{func(ctx context.Context, p string) (string, error) {
		return toC.call(ctx, onward.Load().(string), p)
	}}); err != nil {
		t.Fatal(err)
	}
	go func() { _ = svr.Run() }()
	t.Cleanup(func() { _ = svr.Stop() })
	toPlain := m.client(m.runtime("a", ""), "plain", client.WithHostPorts(ln.Addr().String()))
	for _, kind := range kinds {
		onward.Store(kind)
		if got := call(graylib.WithTag(context.Background(), "gray"), t, toPlain, kind); got.Service != "c" || got.Request != "gray" {
			t.Errorf("%s: %+v", kind, got)
		}
	}
}

func TestHostPortsAreTaken(t *testing.T) {
	m := newMesh(t)
	addr, _ := m.serve(m.runtime("b", "blue"), nil)
	m.serve(m.runtime("b", "gray"), nil)
	for name, c := range map[string]*serviceClient{
		"suite first": m.client(m.runtime("a", ""), "b", client.WithHostPorts(addr)),
		"suite last": func() *serviceClient {
			c, err := newServiceClient("b", client.WithTransportProtocol(transport.TTHeaderStreaming), client.WithHostPorts(addr),
				graykitex.ClientOption(graykitex.WithRuntime(m.runtime("a", ""))))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}(),
	} {
		for _, kind := range kinds {
			if got := call(graylib.WithTag(context.Background(), "gray"), t, c, kind); got.Tag != "blue" || got.Request != "gray" {
				t.Errorf("%s, %s: %+v", name, kind, got)
			}
		}
	}
}

// syncBuffer is a buffer for a logger.
