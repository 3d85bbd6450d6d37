package grayhertz_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestRoutesByTag(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.serve(m.runtime("b", "gray"), nil)
	caller := m.client(m.runtime("a", ""))
	for _, tc := range []struct{ tag, want graylib.Tag }{{"", ""}, {"gray", "gray"}, {"blue", ""}} {
		for range 20 {
			got := get(graylib.WithTag(context.Background(), tc.tag), t, caller, "http://b/echo")
			if got.Tag != tc.want || got.Request != tc.tag {
				t.Fatalf("tag %q reached %q with tag %q, want %q", tc.tag, got.Tag, got.Request, tc.want)
			}
		}
	}
}

func TestHopsComeBackInOrder(t *testing.T) {
	m := newMesh(t)
	m.rules.ColourFunc = func(callee string, req graylib.Request) (graylib.Decision, bool) {
		name, _ := req.Value(graylib.FromQuery, "name", 0)
		return graylib.Decision{Tag: "gray", Propagate: true}, callee == "a" && name == "xiaoming"
	}
	forward := func(rt *graylib.Runtime, to string) func(*server.Hertz) {
		c := m.client(rt)
		return func(h *server.Hertz) {
			h.GET("/go", func(ctx context.Context, rc *app.RequestContext) {
				status, body, err := c.Get(ctx, nil, "http://"+to+"?"+string(rc.QueryArgs().QueryString()), config.WithSD(true))
				if err != nil {
					rc.String(http.StatusBadGateway, err.Error())
					return
				}
				rc.Data(status, "application/json", body)
			})
		}
	}
	var events graylibtest.Reporter
	edge := m.runtime("gateway", "", graylib.WithReporter(&events))
	a, aGray := m.runtime("a", ""), m.runtime("a", "gray")
	b := m.runtime("b", "")
	m.serve(m.runtime("c", ""), nil)
	cGray, _ := m.serve(m.runtime("c", "gray"), nil)
	m.serve(b, forward(b, "c/echo"))
	m.serve(a, forward(a, "b/go"))
	m.serve(aGray, forward(aGray, "b/go"))
	gateway, _ := m.serve(edge, forward(edge, "a/go"), grayhertz.WithEdge())

	for i, tc := range []struct {
		query string
		want  []graylib.Hop
	}{
		{"", []graylib.Hop{
			{Service: "gateway"},
			{Service: "a", Reason: graylib.ReasonBaseline},
			{Service: "b", Reason: graylib.ReasonBaseline},
			{Service: "c", Reason: graylib.ReasonBaseline},
		}},
		{"?name=xiaoming", []graylib.Hop{
			{Service: "gateway"},
			{Service: "a", Tag: "gray", RequestTag: "gray", Reason: graylib.ReasonLane},
			{Service: "b", RequestTag: "gray", Reason: graylib.ReasonNoInstance},
			{Service: "c", Tag: "gray", RequestTag: "gray", Reason: graylib.ReasonLane},
		}},
	} {
		resp, err := http.Get("http://" + gateway + "/go" + tc.query)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("status %d, %v: %s", resp.StatusCode, err, body)
		}
		for _, h := range []string{graylib.HTTPKeys.Hops, graylib.HTTPKeys.Messages} {
			if v := resp.Header.Get(h); v != "" {
				t.Errorf("%s goes outside: %s", h, v)
			}
		}
		if len(events.Events()) != i+1 {
			t.Fatalf("%d events after %d requests", len(events.Events()), i+1)
		}
		e := events.Events()[i]
		opts := cmpopts.IgnoreFields(graylib.Hop{}, "Instance", "Addr")
		for j := range tc.want {
			tc.want[j].Protocol = graylib.ProtocolHTTP
		}
		if diff := cmp.Diff(tc.want, e.Hops, opts); diff != "" {
			t.Errorf("hops of %q (-want +got):\n%s", tc.query, diff)
		}
		if id := resp.Header.Get(graylib.HTTPKeys.RequestID); id == "" || id != e.RequestID {
			t.Errorf("the answer's request id is %q, the event's %q", id, e.RequestID)
		}
		if len(e.Trace) != 32 || e.Status != 200 || e.Kind != graylib.EventChain || e.RequestTag != graylib.ChainTag(tc.want) {
			t.Errorf("event %+v", e)
		}
		if i == 1 && e.Hops[3].Addr != cGray {
			t.Errorf("the last hop's address is %q, want %q", e.Hops[3].Addr, cGray)
		}
	}
}

func TestConnectRefusedFallsBackWithinTheCall(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.registry.Put(graylib.Instance{Service: "b", Addr: deadAddr(t), Tag: "gray"})
	m.registry.Put(graylib.Instance{Service: "b", Addr: deadAddr(t), Tag: "gray"})
	rt := m.runtime("a", "")
	caller := m.client(rt)
	for range 10 {
		ctx, arrival := rt.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys,
			graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
		got := get(ctx, t, caller, "http://b/echo")
		if got.Tag != "" || got.Request != "gray" {
			t.Fatalf("reached %+v", got)
		}
		hops, _ := arrival.Chain()
		if len(hops) != 2 || hops[1].Reason != graylib.ReasonConnectFailed {
			t.Fatalf("hops %+v, want one with %q", hops, graylib.ReasonConnectFailed)
		}
	}
	// A baseline request never tries the lane.
	m.registry.Remove("b", m.registry.Instances("b")[0].Addr)
}

func TestNobodyLeftNamesWhoAndWhy(t *testing.T) {
	m := newMesh(t)
	dead := deadAddr(t)
	m.registry.Put(graylib.Instance{Service: "b", Addr: dead})
	caller := m.client(m.runtime("a", ""))
	_, _, err := caller.Get(context.Background(), nil, "http://b/echo", config.WithSD(true))
	if !errors.Is(err, graylib.ErrNoInstance) || !strings.Contains(err.Error(), "of b ") || !graylib.DialFailed(err) {
		t.Errorf("got %v", err)
	}
	_, _, err = caller.Get(context.Background(), nil, "http://nobody/echo", config.WithSD(true))
	if !errors.Is(err, graylib.ErrNoInstance) || !strings.Contains(err.Error(), "of nobody ") {
		t.Errorf("got %v", err)
	}
}

func TestBodySurvivesTriesAndRules(t *testing.T) {
	m := newMesh(t)
	m.rules.ColourFunc = func(_ string, req graylib.Request) (graylib.Decision, bool) {
		var doc struct{ User string }
		_ = json.Unmarshal(req.Body(), &doc)
		return graylib.Decision{Tag: "gray", Propagate: true}, doc.User == "xiaoming"
	}
	m.serve(m.runtime("b", ""), nil)
	m.registry.Put(graylib.Instance{Service: "b", Addr: deadAddr(t), Tag: "gray"})
	caller := m.client(m.runtime("a", ""))
	small := `{"user":"xiaoming"}`
	large := `{"user":"xiaoming","pad":"` + strings.Repeat("x", 2<<20) + `"}`
	for name, tc := range map[string]struct {
		body   string
		stream bool
		length int
		tag    graylib.Tag
	}{
		"bytes":                    {small, false, 0, "gray"},
		"stream":                   {small, true, len(small), "gray"},
		"stream of unknown length": {small, true, -1, "gray"},
		"too long":                 {large, false, 0, ""},
		"too long a stream":        {large, true, len(large), ""},
	} {
		t.Run(name, func(t *testing.T) {
			req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
			req.SetRequestURI("http://b/echo")
			req.SetMethod("POST")
			req.SetOptions(config.WithSD(true))
			if tc.stream {
				req.SetBodyStream(strings.NewReader(tc.body), tc.length)
			} else {
				req.SetBodyString(tc.body)
			}
			if err := caller.Do(context.Background(), req, resp); err != nil {
				t.Fatal(err)
			}
			var got answer
			if err := json.Unmarshal(resp.Body(), &got); err != nil {
				t.Fatal(err)
			}
			if got.Body != tc.body {
				t.Errorf("%d bytes arrived of %d", len(got.Body), len(tc.body))
			}
			if got.Request != tc.tag {
				t.Errorf("tag %q, want %q", got.Request, tc.tag)
			}
			if host := string(req.Host()); host != "b" {
				t.Errorf("the request's host is left as %q", host)
			}
		})
	}
}

func TestRequestViewShowsWhatTheCalleeSees(t *testing.T) {
	m := newMesh(t)
	type seen struct{ Header, Query, Query2, Cookie, Path, Method, IP string }
	var got seen
	m.rules.ColourFunc = func(_ string, req graylib.Request) (graylib.Decision, bool) {
		value := func(from graylib.From, key string, i int) string {
			v, ok := req.Value(from, key, i)
			if !ok {
				return "-"
			}
			return v
		}
		got = seen{
			value(graylib.FromHeader, "X-User-Id", 0), value(graylib.FromQuery, "name", 0), value(graylib.FromQuery, "name", 1),
			value(graylib.FromCookie, "session", 0), value(graylib.FromPath, "", 0), value(graylib.FromMethod, "", 0),
			value(graylib.FromIP, "", 0),
		}
		if _, ok := req.Value(graylib.FromQuery, "name", 2); ok {
			t.Error("a third value of two")
		}
		if _, ok := req.Value(graylib.FromMetainfo, "name", 0); ok {
			t.Error("HTTP has no metainfo")
		}
		return graylib.Decision{}, false
	}
	m.serve(m.runtime("b", ""), nil)
	caller := m.client(m.runtime("a", ""))
	req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
	req.SetRequestURI("http://b/echo?name=xiao%20ming&other=1&name=second")
	req.SetOptions(config.WithSD(true))
	req.Header.Set("x-user-id", "42")
	req.SetCookie("session", "s1")
	if err := caller.Do(graylib.WithClientIP(context.Background(), "10.9.8.7"), req, resp); err != nil {
		t.Fatal(err)
	}
	want := seen{"42", "xiao ming", "second", "s1", "/echo", "GET", "10.9.8.7"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEdgeStripsWhatOnlyOurServicesMaySay(t *testing.T) {
	m := newMesh(t)
	rt := m.runtime("gateway", "")
	gateway, _ := m.serve(rt, nil, grayhertz.WithEdge())
	inner, _ := m.serve(m.runtime("a", ""), nil)
	forged := map[string]string{
		"X-Gray-Tag": "gray", "x_gray_tag": "gray", "X-Request-Id": "mine", "Traceparent": "00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01",
		"Rpc-Persist-Gray-Tag": "gray", "Rpc-Transit-Gray-Reason": "lane", "X-Gray-Hops": "[]", "Baggage": "gray-tag=gray,other=1",
	}
	ask := func(addr string) answer {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/echo", nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range forged {
			req.Header[k] = []string{v}
		}
		resp, err := http.DefaultClient.Do(req)
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
	got := ask(gateway)
	if got.Request != "" || got.ID == "mine" || got.ID == "" || got.Trace == strings.Repeat("a", 32) || got.Trace == "" {
		t.Errorf("the gateway believed %+v", got)
	}
	for _, h := range []string{"X-Gray-Tag", "X_gray_tag", "Rpc-Persist-Gray-Tag", "Rpc-Transit-Gray-Reason", "X-Gray-Hops"} {
		if v, ok := got.Headers[h]; ok {
			t.Errorf("%s: %s is left", h, v)
		}
	}
	if v := got.Headers["Baggage"]; v != "other=1" {
		t.Errorf("baggage %q", v)
	}
	if n := rt.Status().StrippedHeaders; n != int64(len(forged)) {
		t.Errorf("%d counted, want %d", n, len(forged))
	}
	if got := ask(inner); got.Request != "gray" || got.ID != "mine" {
		t.Errorf("a service behind the gateway got %+v", got)
	}
}

func TestMalformedTagCountsAsUntagged(t *testing.T) {
	m := newMesh(t)
	rt := m.runtime("a", "")
	addr, _ := m.serve(rt, nil)
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(graylib.HTTPKeys.Tag, "Gray!")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got answer
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || got.Request != graylib.Untagged || rt.Status().MalformedTags != 1 {
		t.Errorf("status %d, tag %q, %d counted", resp.StatusCode, got.Request, rt.Status().MalformedTags)
	}
}

func TestTagDoesNotLeaveTheMesh(t *testing.T) {
	m := newMesh(t)
	outside, _ := m.serve(m.runtime("outside", ""), nil)
	ctx := graylib.WithTag(graylib.WithRequestID(context.Background(), "id-1"), "gray")
	ask := func(c *client.Client) answer {
		_, body, err := c.Get(ctx, nil, "http://"+outside+"/echo")
		if err != nil {
			t.Fatal(err)
		}
		var a answer
		if err := json.Unmarshal(body, &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if got := ask(m.client(m.runtime("a", ""))); got.Request != "" || got.ID != "" {
		t.Errorf("a third party was told %+v", got)
	}
	if got := ask(m.client(m.runtime("a", ""), grayhertz.WithHosts(outside))); got.Request != "gray" || got.ID != "id-1" {
		t.Errorf("a host of our own was told %+v", got)
	}
}

func TestStatusAndReady(t *testing.T) {
	m := newMesh(t)
	rt := m.runtime("a", "gray")
	addr, _ := m.serve(rt, nil)
	fetch := func(path string, into any) int {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	var s graylib.Status
	if code := fetch(graylib.StatusPath, &s); code != 200 || s.Service != "a" || s.Tag != "gray" || s.Addr != addr || !s.Ready || s.Rules.Revision != 1 {
		t.Errorf("%d: %+v", code, s)
	}
	var r struct {
		Ready    bool
		NotReady []string
	}
	if code := fetch(graylib.ReadyPath, &r); code != 200 || !r.Ready {
		t.Errorf("%d: %+v", code, r)
	}
	rt.SetReady("consumer test-a", "no broker")
	if code := fetch(graylib.ReadyPath, &r); code != 503 || r.Ready || len(r.NotReady) != 1 || r.NotReady[0] != "consumer test-a: no broker" {
		t.Errorf("%d: %+v", code, r)
	}
}

func TestPanicStillReturnsHops(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	rt := m.runtime("a", "")
	ctx, arrival := rt.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	status, _, err := m.client(rt).Get(ctx, nil, "http://b/panic", config.WithSD(true))
	if err != nil || status != 500 {
		t.Fatalf("status %d, %v", status, err)
	}
	if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Service != "b" {
		t.Errorf("hops %+v", hops)
	}
}

func TestAppliedTwice(t *testing.T) {
	m := newMesh(t)
	rt := m.runtime("b", "")
	m.serve(rt, func(h *server.Hertz) {
		grayhertz.WrapServer(h, grayhertz.WithRuntime(rt))
		h.GET("/twice", func(ctx context.Context, c *app.RequestContext) { c.JSON(200, saw(ctx, rt, c)) })
	})
	caller := m.runtime("a", "")
	c := m.client(caller)
	c, err := grayhertz.WrapClient(c, nil, grayhertz.WithRuntime(caller))
	if err != nil {
		t.Fatal(err)
	}
	ctx, arrival := caller.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
	if got := get(ctx, t, c, "http://b/twice"); got.Request != "gray" {
		t.Errorf("%+v", got)
	}
	if hops, _ := arrival.Chain(); len(hops) != 2 {
		t.Errorf("%d hops of two services: %+v", len(hops), hops)
	}
	if n := len(m.registry.Instances("b")); n != 1 {
		t.Errorf("registered %d times", n)
	}
}

func TestKillSwitch(t *testing.T) {
	m := newMesh(t)
	off := m.runtime("a", "", graylib.WithConfig(graylib.Config{Enabled: false}))
	h := server.New()
	before := len(h.Handlers)
	if got := grayhertz.WrapServer(h, grayhertz.WithRuntime(off)); got != h || len(h.Handlers) != before || len(h.OnRun) != 0 {
		t.Error("the server was changed")
	}
	addr, _ := m.serve(m.runtime("b", ""), nil)
	c := m.client(off)
	_, body, err := c.Get(graylib.WithTag(context.Background(), "gray"), nil, "http://"+addr+"/echo", config.WithSD(true))
	if err != nil {
		t.Fatal(err)
	}
	var got answer
	if err := json.Unmarshal(body, &got); err != nil || got.Request != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBrokenDefaultIsAClearError(t *testing.T) {
	graylib.SetDefault(nil)
	t.Cleanup(func() { graylib.SetDefault(nil) })
	t.Setenv(graylib.EnvService, "a")
	t.Setenv(graylib.EnvTag, "Gray!")
	h := grayhertz.WrapServer(server.New(server.WithHostPorts("127.0.0.1:33001")))
	if err := h.Run(); !errors.Is(err, graylib.ErrMalformedTag) || !strings.Contains(err.Error(), `GRAY_TAG`) || !strings.Contains(err.Error(), `"Gray!"`) {
		t.Errorf("Run: %v", err)
	}
	c, err := client.NewClient()
	if _, err := grayhertz.WrapClient(c, err); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("WrapClient: %v", err)
	}
	c.Use(grayhertz.ClientMiddleware())
	if _, _, err := c.Get(context.Background(), nil, "http://b/echo", config.WithSD(true)); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("first call: %v", err)
	}
	if _, err := grayhertz.WrapClient(nil, io.EOF); !errors.Is(err, io.EOF) {
		t.Errorf("an error of NewClient became %v", err)
	}
	if _, err := grayhertz.Register(); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("Register: %v", err)
	}
}

func TestRegistryAwayAtStart(t *testing.T) {
	m := newMesh(t)
	m.registry.SetDown(true)
	rt := m.runtime("a", "")
	h := grayhertz.WrapServer(server.New(server.WithHostPorts("127.0.0.1:33002")), grayhertz.WithRuntime(rt), grayhertz.WithSettle(0))
	done := make(chan error, 1)
	go func() { done <- h.Run() }()
	eventually(t, "it serves, and says that it isn't ready", func() bool {
		resp, err := http.Get("http://127.0.0.1:33002" + graylib.ReadyPath)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == 503 && strings.Contains(string(body), graylibtest.ErrRegistryDown.Error())
	})
	m.registry.SetDown(false)
	eventually(t, "it is registered", func() bool { return len(m.registry.Instances("a")) == 1 && rt.Status().Ready })
	if err := h.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left := m.registry.Instances("a"); len(left) != 0 {
		t.Errorf("left in the registry: %v", left)
	}
}

// TestGracefulStopUnderLoad restarts one of two instances again and again while a caller that hears of it 50 ms late sends on.
func TestGracefulStopUnderLoad(t *testing.T) {
	m := newMesh(t)
	m.registry.SetDelay(50 * time.Millisecond)
	m.serve(m.runtime("b", ""), nil)
	caller := m.client(m.runtime("a", ""))
	get(context.Background(), t, caller, "http://b/echo")

	ctx, cancel := context.WithCancel(context.Background())
	var sent, failed atomic.Int64
	var lastErr atomic.Pointer[string]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C { // 4 x 50 = 200 requests a second
				req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
				req.SetRequestURI("http://b/echo")
				req.SetMethod("POST") // Hertz would repeat a GET
				req.SetBodyString("x")
				req.SetOptions(config.WithSD(true))
				err := caller.Do(context.Background(), req, resp)
				if err != nil || resp.StatusCode() != 200 {
					failed.Add(1)
					text := fmt.Sprintf("status %d, %v", resp.StatusCode(), err)
					lastErr.Store(&text)
				}
				sent.Add(1)
			}
		})
	}
	for range 3 {
		_, stop := m.serve(m.runtime("b", ""), nil)
		n := sent.Load()
		eventually(t, "50 requests are sent", func() bool { return sent.Load() > n+50 })
		stop()
	}
	cancel()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, the last with: %s", failed.Load(), sent.Load(), *lastErr.Load())
	}
	t.Logf("%d requests over 3 stops, %d failed", sent.Load(), failed.Load())
}

// TestStopDrains stops a server while a slow request and a slow streamed answer are on their way, and an idle connection is kept.
func TestStopDrains(t *testing.T) {
	m := newMesh(t)
	const size = 3 << 20
	begun := make(chan struct{}, 2)
	goOn := make(chan struct{})
	addr, stop := m.serve(m.runtime("b", ""), func(h *server.Hertz) {
		h.GET("/slow", func(_ context.Context, c *app.RequestContext) {
			begun <- struct{}{}
			<-goOn
			c.String(http.StatusOK, "done")
		})
		h.GET("/stream", func(_ context.Context, c *app.RequestContext) {
			r, w := io.Pipe()
			go func() {
				_, _ = w.Write(make([]byte, size/2))
				begun <- struct{}{}
				<-goOn
				_, _ = w.Write(make([]byte, size/2))
				_ = w.Close()
			}()
			c.SetBodyStream(r, -1)
		})
	})
	hc := &http.Client{Transport: &http.Transport{}}
	defer hc.CloseIdleConnections()
	resp, err := hc.Get("http://" + addr + "/echo")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // the connection stays

	type result struct {
		n   int64
		err error
	}
	results := make(chan result, 2)
	for _, path := range []string{"/slow", "/stream"} {
		go func() {
			resp, err := http.Get("http://" + addr + path)
			if err != nil {
				results <- result{0, err}
				return
			}
			defer func() { _ = resp.Body.Close() }()
			n, err := io.Copy(io.Discard, resp.Body)
			results <- result{n, err}
		}()
	}
	<-begun
	<-begun
	stopped := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(stopped)
		stop()
	}()
	eventually(t, "it is taken back", func() bool { return len(m.registry.Instances("b")) == 0 })
	time.AfterFunc(400*time.Millisecond, func() { close(goOn) })
	total := int64(0)
	for range 2 {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		total += r.n
	}
	if total != size+4 {
		t.Errorf("%d bytes arrived of %d", total, size+4)
	}
	<-stopped
	if took := time.Since(began); took < 400*time.Millisecond || took > 1500*time.Millisecond {
		t.Errorf("the stop took %v; the requests took 0.4 s, and the exit wait time is 2 s", took)
	}
}
