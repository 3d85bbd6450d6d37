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
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: deadAddr(t), Tag: "gray"})
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: deadAddr(t), Tag: "gray"})
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
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: deadAddr(t)})
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
	kind := "invoke"
	if err := svr.RegisterService(serviceInfo, &serviceHandler{func(ctx context.Context, p string) (string, error) { return toC.call(ctx, kind, p) }}); err != nil {
		t.Fatal(err)
	}
	go func() { _ = svr.Run() }()
	t.Cleanup(func() { _ = svr.Stop() })
	toPlain := m.client(m.runtime("a", ""), "plain", client.WithHostPorts(ln.Addr().String()))
	for _, kind = range kinds {
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

func TestTransportsThatLoseTheTagAreRefused(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	suite := client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(m.runtime("a", ""))))
	tp := client.WithTransportProtocol
	for name, tc := range map[string]struct {
		opts    []client.Option
		refused bool
	}{
		"default":               {[]client.Option{suite}, false},
		"framed":                {[]client.Option{tp(transport.Framed), suite}, false}, // becomes TTHeader framed
		"TTHeader":              {[]client.Option{tp(transport.TTHeader), suite}, false},
		"streaming alone":       {[]client.Option{tp(transport.TTHeaderStreaming), suite}, false}, // gets TTHeader beside it
		"pure payload before":   {[]client.Option{tp(transport.PurePayload), suite}, false},
		"pure payload after":    {[]client.Option{suite, tp(transport.PurePayload)}, true},
		"framed alone after":    {[]client.Option{suite, tp(transport.PurePayload), tp(transport.Framed)}, true},
		"streaming alone after": {[]client.Option{suite, tp(transport.PurePayload), tp(transport.TTHeaderStreaming)}, true},
		"HTTP":                  {[]client.Option{suite, tp(transport.HTTP)}, true},
	} {
		c, err := newServiceClient("b", tc.opts...)
		if !tc.refused {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := call(graylib.WithTag(context.Background(), "gray"), t, c, "invoke"); got.Request != "gray" {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		if !errors.Is(err, graykitex.ErrTransport) || !strings.Contains(err.Error(), "transport.TTHeaderFramed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAppliedTwice(t *testing.T) {
	m := newMesh(t)
	b, a := m.runtime("b", ""), m.runtime("a", "")
	m.serve(b, nil, graykitex.ServerOption(graykitex.WithRuntime(b), graykitex.WithSettle(100*time.Millisecond)))
	c := m.client(a, "b", graykitex.ClientOption(graykitex.WithRuntime(a)))
	for _, kind := range kinds {
		ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
		if got := call(ctx, t, c, kind); got.Request != "gray" {
			t.Errorf("%s: %+v", kind, got)
		}
		if hops, _ := arrival.Chain(); len(hops) != 2 {
			t.Errorf("%s: %d hops of two services: %+v", kind, len(hops), hops)
		}
	}
	if n := len(m.registry.Instances("b.rpc")); n != 1 {
		t.Errorf("registered %d times", n)
	}
}

func TestKillSwitch(t *testing.T) {
	m := newMesh(t)
	off := m.runtime("a", "", graylib.WithConfig(graylib.Config{Enabled: false}))
	if n := len(graykitex.NewServerSuite(graykitex.WithRuntime(off)).Options()); n != 0 {
		t.Errorf("%d server options", n)
	}
	if n := len(graykitex.NewClientSuite(graykitex.WithRuntime(off)).Options()); n != 0 {
		t.Errorf("%d client options", n)
	}
}

func TestBrokenDefaultIsAClearError(t *testing.T) {
	graylib.SetDefault(nil)
	t.Cleanup(func() { graylib.SetDefault(nil) })
	t.Setenv(graylib.EnvService, "a")
	t.Setenv(graylib.EnvTag, "Gray!")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for name, opt := range map[string]server.Option{
		"listener": server.WithListener(ln),
		"address":  server.WithServiceAddr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}),
	} {
		svr := server.NewServer(opt, graykitex.ServerOption())
		if err := svr.RegisterService(serviceInfo, &serviceHandler{}); err != nil {
			t.Fatal(err)
		}
		if err := svr.Run(); !errors.Is(err, graylib.ErrMalformedTag) || !strings.Contains(err.Error(), "GRAY_TAG") {
			t.Errorf("Run with %s: %v", name, err)
		}
	}
	if _, err := newServiceClient("b", graykitex.ClientOption()); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("NewClient: %v", err)
	}
}

func TestRegistration(t *testing.T) {
	m := newMesh(t)
	m.registry.SetDown(true)
	rt := m.runtime("b", "gray")
	run := func(opts ...graykitex.Option) server.Server {
		svr := server.NewServer(server.WithServiceAddr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}),
			server.WithExitSignal(func() <-chan error { return nil }),
			graykitex.ServerOption(append(opts, graykitex.WithRuntime(rt), graykitex.WithSettle(0))...))
		if err := svr.RegisterService(serviceInfo, &serviceHandler{}); err != nil {
			t.Fatal(err)
		}
		go func() { _ = svr.Run() }()
		return svr
	}
	svr := run(graykitex.WithAdvertise("10.0.0.5"), graykitex.WithService("orders"), graykitex.WithWeight(2))
	eventually(t, "the status says why it isn't ready", func() bool {
		s := rt.Status()
		return len(s.NotReady) == 1 && strings.Contains(s.NotReady[0], "orders.rpc: registry is down")
	})
	m.registry.SetDown(false)
	began := time.Now()
	eventually(t, "it is registered", func() bool { return len(m.registry.Instances("orders.rpc")) == 1 })
	in := m.registry.Instances("orders.rpc")[0]
	if host, port, err := net.SplitHostPort(in.Addr); host != "10.0.0.5" || port == "0" || err != nil || in.Tag != "gray" || in.Weight != 2 {
		t.Errorf("registered %+v", in)
	}
	if rt.Identity().Addr != in.Addr {
		t.Errorf("hops show %q, registered is %q", rt.Identity().Addr, in.Addr)
	}
	t.Logf("registered %v after the registry's return", time.Since(began))
	if err := svr.Stop(); err != nil {
		t.Error(err)
	}
	if left := m.registry.Instances("orders.rpc"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	silent := run(graykitex.WithEndpoint("exact"), graykitex.WithoutRegistration())
	exact := run(graykitex.WithEndpoint("exact"))
	eventually(t, "one is registered under its exact name", func() bool { return len(m.registry.Instances("exact")) == 1 })
	_ = exact.Stop()
	_ = silent.Stop()
}

// TestStoppingOneServerLeavesTheOthersConnectionsAlone repeats what broke calls to another live server of the same
// process before: the listener's file descriptor was closed twice.
func TestStoppingOneServerLeavesTheOthersConnectionsAlone(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	c := m.client(m.runtime("a", ""), "b")
	for i := range 5 {
		_, stop := m.serve(m.runtime("other", ""), nil)
		ctx, cancel := context.WithCancel(context.Background())
		opener := make(chan struct{})
		go func() { // descriptors are opened all the while
			defer close(opener)
			for ctx.Err() == nil {
				if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
					if _, err := net.DialTimeout("tcp", ln.Addr().String(), time.Second); err != nil {
						t.Errorf("stop %d: %v", i, err)
					}
					if err := ln.Close(); err != nil {
						t.Errorf("stop %d: closing a stranger's listener: %v", i, err)
					}
				}
				for _, kind := range kinds {
					if _, err := c.call(ctx, kind, "x"); err != nil && ctx.Err() == nil {
						t.Errorf("stop %d: %s: %v", i, kind, err)
					}
				}
			}
		}()
		stop()
		cancel()
		<-opener
	}
}

// TestGracefulStopUnderLoad restarts one of two instances again and again while a caller that hears of it 50 ms late calls on.
func TestGracefulStopUnderLoad(t *testing.T) {
	m := newMesh(t)
	m.registry.SetDelay(50 * time.Millisecond)
	m.serve(m.runtime("b", ""), nil)
	c := m.client(m.runtime("a", ""), "b")
	if _, err := c.call(context.Background(), "invoke", "x"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var sent, failed atomic.Int64
	var wg sync.WaitGroup
	for _, kind := range kinds {
		wg.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C { // 4 x 50 = 200 calls a second
				if _, err := c.call(context.Background(), kind, "x"); err != nil {
					failed.Add(1)
					t.Logf("%s: %v", kind, err)
				}
				sent.Add(1)
			}
		})
	}
	for range 3 {
		_, stop := m.serve(m.runtime("b", ""), nil)
		n := sent.Load()
		eventually(t, "50 calls are sent", func() bool { return sent.Load() > n+50 })
		stop()
	}
	cancel()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d calls failed", failed.Load(), sent.Load())
	}
	t.Logf("%d calls over 3 stops, %d failed", sent.Load(), failed.Load())
}
