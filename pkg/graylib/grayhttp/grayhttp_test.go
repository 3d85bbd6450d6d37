package grayhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// serve starts a registered server.
func TestRoutesByTag(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.serve(m.runtime("b", "gray"), nil)
	c := m.client(m.runtime("a", ""))
	for _, tc := range []struct{ tag, want graylib.Tag }{{"", ""}, {"gray", "gray"}, {"blue", ""}} {
		for range 20 {
			ctx := graylib.WithRequestID(graylib.WithTag(context.Background(), tc.tag), "id-1")
			got := do(ctx, t, c, http.MethodGet, "http://b/echo", nil)
			if got.Tag != tc.want || got.Request != tc.tag || got.ID != "id-1" || got.Host != "b" {
				t.Fatalf("tag %q reached %+v, want %q", tc.tag, got, tc.want)
			}
		}
	}
}

func TestHopsComeBackInOrder(t *testing.T) {
	m := newMesh(t)
	m.rules.ColourFunc = func(callee string, req graylib.Request) (graylib.Decision, bool) {
		name, _ := req.Value(graylib.FromQuery, "name", 0)
		return graylib.Decision{Tag: "gray", Propagate: true}, callee == "b" && name == "xiaoming"
	}
	m.serve(m.runtime("c", "gray"), nil)
	m.serve(m.runtime("c", ""), nil)
	forward := func(rt *graylib.Runtime, to string) http.Handler {
		c := m.client(rt)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			do(r.Context(), t, c, http.MethodGet, to+"?"+r.URL.RawQuery, nil)
			w.WriteHeader(http.StatusAccepted)
		})
	}
	b := m.runtime("b", "")
	m.serve(b, forward(b, "http://c/echo"))
	var events graylibtest.Reporter
	gateway := m.runtime("gateway", "", graylib.WithReporter(&events))
	// b answers no JSON, so the gateway asks it itself.
	toB := m.client(gateway)
	addr, _ := m.serve(gateway, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://b/x?"+r.URL.RawQuery, nil)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := toB.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			t.Errorf("status %d", resp.StatusCode)
		}
	}), grayhttp.WithEdge())

	resp, err := m.client(m.runtime("outside", "")).Get("http://" + addr + "/x?name=xiaoming")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if v := resp.Header.Get(graylib.HTTPKeys.Hops); v != "" {
		t.Errorf("hops go outside: %s", v)
	}
	eventually(t, "the chain is reported", func() bool { return len(events.Events()) == 1 })
	e := events.Events()[0]
	want := []graylib.Hop{
		{Service: "gateway", Protocol: graylib.ProtocolHTTP},
		{Service: "b", RequestTag: "gray", Protocol: graylib.ProtocolHTTP, Reason: graylib.ReasonNoInstance},
		{Service: "c", Tag: "gray", RequestTag: "gray", Protocol: graylib.ProtocolHTTP, Reason: graylib.ReasonLane},
	}
	if diff := cmp.Diff(want, e.Hops, cmpopts.IgnoreFields(graylib.Hop{}, "Instance", "Addr")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e.RequestID == "" || e.RequestID != resp.Header.Get(graylib.HTTPKeys.RequestID) || e.RequestTag != "gray" || e.Status != 200 {
		t.Errorf("event %+v", e)
	}
}

// onlyReader hides what net/http knows of a reader, so that it is a body of unknown length that can't be rewound.
type onlyReader struct{ io.Reader }

func TestConnectRefusedFallsBackWithinTheCall(t *testing.T) {
	m := newMesh(t)
	m.rules.ColourFunc = func(_ string, req graylib.Request) (graylib.Decision, bool) {
		return graylib.Decision{Tag: "gray", Propagate: true}, strings.Contains(string(req.Body()), "xiaoming")
	}
	m.serve(m.runtime("b", ""), nil)
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	a := m.runtime("a", "")
	c := m.client(a)
	small, large := `{"user":"xiaoming"}`, "xiaoming"+strings.Repeat("x", 2<<20)
	for name, tc := range map[string]struct {
		body func() io.Reader
		text string
		tag  graylib.Tag
	}{
		"rewindable":   {func() io.Reader { return strings.NewReader(small) }, small, "gray"},
		"stream":       {func() io.Reader { return onlyReader{strings.NewReader(small)} }, small, "gray"},
		"byte by byte": {func() io.Reader { return onlyReader{iotest.OneByteReader(strings.NewReader(small))} }, small, "gray"},
		"too long":     {func() io.Reader { return onlyReader{strings.NewReader(large)} }, large, ""},
		"none":         {func() io.Reader { return nil }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
			got := do(ctx, t, c, http.MethodPost, "http://b/echo", tc.body())
			if got.Tag != "" || got.Request != tc.tag || got.Body != tc.text {
				t.Errorf("tag %q and %d bytes, want %q and %d", got.Request, len(got.Body), tc.tag, len(tc.text))
			}
			want := graylib.ReasonConnectFailed
			if tc.tag == "" {
				want = graylib.ReasonBaseline
			}
			if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Reason != want {
				t.Errorf("hops %+v, want %q", hops, want)
			}
		})
	}
}

// trackedBody tells whether it was closed.
type trackedBody struct {
	io.Reader
	closed atomic.Int32
}

func (b *trackedBody) Close() error {
	b.closed.Add(1)
	return nil
}

func TestBodiesAreClosed(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	m.registry.Put(graylib.Instance{Service: "dead", Addr: graylibtest.ReserveAddr(t)})
	m.serve(m.runtime("rude", ""), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	c := m.client(m.runtime("a", ""))
	for _, tc := range []struct {
		url string
		tag graylib.Tag
	}{{"http://b/", ""}, {"http://b/", "gray"}, {"http://dead/", ""}, {"http://nobody/", ""}, {"http://rude/", ""}} {
		body := &trackedBody{Reader: strings.NewReader("x")}
		req, err := http.NewRequestWithContext(graylib.WithTag(context.Background(), tc.tag), http.MethodPost, tc.url, body)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := c.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		eventually(t, fmt.Sprintf("the body of %s with tag %q is closed", tc.url, tc.tag), func() bool { return body.closed.Load() > 0 })
	}
}

func TestNobodyLeftNamesWhoAndWhy(t *testing.T) {
	m := newMesh(t)
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t)})
	c := m.client(m.runtime("a", ""))
	ask := func(url string) error {
		resp, err := c.Get(url)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	if err := ask("http://b/"); !errors.Is(err, graylib.ErrNoInstance) || !graylib.DialFailed(err) || !strings.Contains(err.Error(), "of b ") {
		t.Errorf("got %v", err)
	}
	if err := ask("http://nobody/"); !errors.Is(err, graylib.ErrNoInstance) || !strings.Contains(err.Error(), "of nobody ") {
		t.Errorf("got %v", err)
	}
	m.registry.SetDown(true)
	if err := ask("http://unknown/"); !errors.Is(err, graylibtest.ErrRegistryDown) || !strings.Contains(err.Error(), `"unknown"`) {
		t.Errorf("got %v", err)
	}
}

func TestRequestViewShowsWhatTheCalleeSees(t *testing.T) {
	m := newMesh(t)
	var got []string
	m.rules.ColourFunc = func(_ string, req graylib.Request) (graylib.Decision, bool) {
		for _, s := range []struct {
			from graylib.From
			key  string
			i    int
		}{
			{graylib.FromHeader, "x-user-id", 0}, {graylib.FromHeader, "x-user-id", 1}, {graylib.FromQuery, "name", 0},
			{graylib.FromQuery, "name", 1}, {graylib.FromQuery, "name", 2}, {graylib.FromQuery, "a b", 0}, {graylib.FromCookie, "session", 0},
			{graylib.FromPath, "", 0}, {graylib.FromMethod, "", 0}, {graylib.FromIP, "", 0}, {graylib.FromMetainfo, "x", 0},
		} {
			v, ok := req.Value(s.from, s.key, s.i)
			got = append(got, fmt.Sprintf("%s[%d]=%s,%v", s.from, s.i, v, ok))
		}
		return graylib.Decision{}, false
	}
	m.serve(m.runtime("b", ""), nil)
	req, err := http.NewRequestWithContext(graylib.WithClientIP(context.Background(), "10.9.8.7"), http.MethodPut,
		"http://b/a%2Fb?name=xiao%20ming&a+b=1&name=second&;bad=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["X-User-Id"] = []string{"1", "2"}
	req.AddCookie(&http.Cookie{Name: "session", Value: "s1"})
	send(t, m.client(m.runtime("a", "")), req)
	want := []string{
		"header[0]=1,true", "header[1]=2,true", "query[0]=xiao ming,true", "query[1]=second,true", "query[2]=,false", "query[0]=1,true",
		"cookie[0]=s1,true", "path[0]=/a/b,true", "method[0]=PUT,true", "ip[0]=10.9.8.7,true", "metainfo[0]=,false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if req.URL.Host != "b" || req.Header.Get(graylib.HTTPKeys.Reason) != "" {
		t.Error("the caller's request was changed")
	}
}

func TestTagDoesNotLeaveTheMesh(t *testing.T) {
	m := newMesh(t)
	addr, _ := m.serve(m.runtime("outside", ""), nil)
	ctx := graylib.WithTag(context.Background(), "gray")
	if got := do(ctx, t, m.client(m.runtime("a", "")), http.MethodGet, "http://"+addr+"/", nil); got.Request != "" || got.Header.Get("X-Gray-Tag") != "" {
		t.Errorf("a third party was told %+v", got)
	}
	if got := do(ctx, t, m.client(m.runtime("a", ""), grayhttp.WithHosts(addr)), http.MethodGet, "http://"+addr+"/", nil); got.Request != "gray" {
		t.Errorf("a host of our own was told %+v", got)
	}
}

func TestEdgeStripsAndMalformedTags(t *testing.T) {
	m := newMesh(t)
	gateway, inner := m.runtime("gateway", ""), m.runtime("a", "")
	edgeAddr, _ := m.serve(gateway, nil, grayhttp.WithEdge())
	innerAddr, _ := m.serve(inner, nil)
	ask := func(addr, tag string) answer {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["x_gray_tag"] = []string{tag}
		req.Header.Set("X-Gray-Tag", tag)
		req.Header.Set("X-Request-Id", "mine")
		return send(t, m.client(m.runtime("outside", "")), req)
	}
	if got := ask(edgeAddr, "gray"); got.Request != "" || got.ID == "mine" || got.ID == "" || got.Header["X_gray_tag"] != nil {
		t.Errorf("the gateway believed %+v", got)
	}
	if n := gateway.Status().StrippedHeaders; n != 3 {
		t.Errorf("%d headers counted", n)
	}
	if got := ask(innerAddr, "gray"); got.Request != "gray" || got.ID != "mine" {
		t.Errorf("a service behind it got %+v", got)
	}
	if got := ask(innerAddr, "Gray!"); got.Request != "" || inner.Status().MalformedTags != 1 {
		t.Errorf("malformed: %+v, %d counted", got, inner.Status().MalformedTags)
	}
}

func TestStatusFlushAndPanic(t *testing.T) {
	m := newMesh(t)
	rt := m.runtime("a", "gray")
	flushed := make(chan struct{})
	addr, _ := m.serve(rt, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic(http.ErrAbortHandler)
		case "/flush":
			_, _ = io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
			<-flushed
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	c := m.client(m.runtime("outside", ""))
	get := func(path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set(graylib.HTTPKeys.Hops, graylib.HopsWanted)
		return c.Do(req)
	}
	resp, err := get("/flush")
	if err != nil {
		t.Fatal(err)
	}
	if hops, err := graylib.DecodeHops(resp.Header.Get(graylib.HTTPKeys.Hops)); err != nil || len(hops) != 1 {
		t.Errorf("a flushed answer's hops: %v, %v", hops, err)
	}
	close(flushed)
	_ = resp.Body.Close()
	if resp, err = get("/early"); err != nil || resp.StatusCode != http.StatusTeapot || resp.Header.Get(graylib.HTTPKeys.Hops) == "" {
		t.Errorf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	if resp, err := c.Get("http://" + addr + "/panic"); err == nil {
		t.Errorf("a panic was answered %d", resp.StatusCode)
		_ = resp.Body.Close()
	}
	for path, want := range map[string]int{graylib.StatusPath: 200, graylib.ReadyPath: 503} {
		rt.SetReady("consumer", "no broker")
		resp, err := c.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != want || !strings.Contains(string(body), `"consumer: no broker"`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestAppliedTwiceAndBrokenDefault(t *testing.T) {
	m := newMesh(t)
	b, a := m.runtime("b", ""), m.runtime("a", "")
	m.serve(b, grayhttp.Handler(echo(b), grayhttp.WithRuntime(b)))
	c := &http.Client{Transport: grayhttp.Transport(m.client(a).Transport, grayhttp.WithRuntime(a))}
	t.Cleanup(c.CloseIdleConnections)
	ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
	if got := do(ctx, t, c, http.MethodGet, "http://b/", nil); got.Request != "gray" {
		t.Errorf("%+v", got)
	}
	if hops, _ := arrival.Chain(); len(hops) != 2 {
		t.Errorf("hops %+v", hops)
	}

	mux := http.NewServeMux()
	graylib.SetDefault(nil)
	t.Cleanup(func() { graylib.SetDefault(nil) })
	t.Setenv(graylib.EnvService, "a")
	t.Setenv(graylib.EnvTag, "Gray!")
	w := httptest.NewRecorder()
	grayhttp.Handler(mux).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 500 || !strings.Contains(w.Body.String(), "GRAY_TAG") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if resp, err := (&http.Client{Transport: grayhttp.Transport(nil)}).Get("http://b/"); !errors.Is(err, graylib.ErrMalformedTag) {
		if err == nil {
			_ = resp.Body.Close()
		}
		t.Errorf("got %v", err)
	}
}

// TestGracefulStopUnderLoad starts and stops instances beside one that stays while a caller that hears of it 50 ms late sends on.
// The settle time is what a caller has that is held up by a busy machine.
func TestGracefulStopUnderLoad(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.registry.SetDelay(50 * time.Millisecond)
	m.serve(m.runtime("b", ""), nil)
	c := m.client(m.runtime("a", ""))
	do(context.Background(), t, c, http.MethodGet, "http://b/", nil)
	ctx, cancel := context.WithCancel(context.Background())
	var sent, failed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				resp, err := c.Post("http://b/", "text/plain", onlyReader{strings.NewReader("x")})
				if err != nil {
					failed.Add(1)
					t.Log(err)
				} else {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				sent.Add(1)
			}
		})
	}
	m.settle = 4 * time.Second
	var stops sync.WaitGroup
	for range 3 {
		_, stop := m.serve(m.runtime("b", ""), nil)
		n := sent.Load()
		eventually(t, "50 requests are sent", func() bool { return sent.Load() > n+50 })
		stops.Go(stop)
	}
	stops.Wait()
	cancel()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
}

// TestAGetThatMayHaveBeenSentIsNotRepeated: net/http itself sends a GET without a body again where a pooled connection breaks.
func TestAGetThatMayHaveBeenSentIsNotRepeated(t *testing.T) {
	m := newMesh(t)
	var door *graylibtest.Door
	var got, others atomic.Int64
	hidden := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if got.Add(1) > 1 {
			door.Shut()
		}
	}))
	t.Cleanup(hidden.Close)
	door = graylibtest.NewDoor(t, hidden.Listener.Addr().String())
	m.registry.Put(graylib.Instance{Service: "b", Addr: door.Addr(), Tag: "gray"})
	m.serve(m.runtime("b", ""), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { others.Add(1) }))
	c := m.client(m.runtime("a", ""))
	for i := range 2 {
		req, err := http.NewRequestWithContext(graylib.WithTag(t.Context(), "gray"), http.MethodGet, "http://b/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if crashed := i == 1; (err != nil) != crashed {
			t.Errorf("request %d: %v", i+1, err)
		}
	}
	if others.Load() != 0 || got.Load() != 2 {
		t.Errorf("the lane's instance got %d requests, want 2, and the baseline %d, want none", got.Load(), others.Load())
	}
}

func TestWithoutARegistryTheTagIsCarried(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.Host + " " + r.Header.Get(graylib.HTTPKeys.Tag)
	}))
	t.Cleanup(server.Close)
	rt, err := graylib.New(graylib.Identity{Service: "a"})
	if err != nil {
		t.Fatal(err)
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) { // the application's own resolver
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	c := &http.Client{Transport: grayhttp.Transport(base, grayhttp.WithRuntime(rt))}
	t.Cleanup(c.CloseIdleConnections)
	for host, want := range map[string]string{"b": "b gray", "elsewhere.example": "elsewhere.example "} {
		req, err := http.NewRequestWithContext(graylib.WithTag(t.Context(), "gray"), http.MethodGet, "http://"+host+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if saw := <-got; saw != want {
			t.Errorf("the server saw host and tag %q, want %q", saw, want)
		}
	}
}
