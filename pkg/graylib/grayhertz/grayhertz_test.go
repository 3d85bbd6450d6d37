package grayhertz_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

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
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
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
	dead := graylibtest.ReserveAddr(t)
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
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
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
