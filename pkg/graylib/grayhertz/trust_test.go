package grayhertz_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
)

// raw sends header lines just as they are and returns what the handler saw.
func raw(t *testing.T, addr, requestLine string, lines ...string) answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n%s\r\n\r\n", requestLine, strings.Join(lines, "\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	return a
}

// listen starts a server without a registration.
func listen(t *testing.T, rt *graylib.Runtime, opts []grayhertz.Option, hertz ...config.Option) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := server.New(append([]config.Option{server.WithListener(ln), server.WithExitWaitTime(time.Second)}, hertz...)...)
	grayhertz.WrapServer(h, append(opts, grayhertz.WithRuntime(rt), grayhertz.WithoutRegistration())...)
	h.Any("/*any", func(ctx context.Context, c *app.RequestContext) { c.JSON(http.StatusOK, saw(ctx, rt, c)) })
	done := make(chan error, 1)
	go func() { done <- h.Run() }()
	t.Cleanup(func() {
		if err := h.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return ln.Addr().String()
}

var trustKey = graylib.TrustKey{ID: "k1", Secret: []byte(strings.Repeat("k", 32))}

func signed(t *testing.T, s graylib.SignedTag) string {
	t.Helper()
	token, err := graylib.SignTag(trustKey, s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestEdgeInAnyCase sends what only our services may say in every case of letters, to servers that normalize names and
// to such as don't.
func TestEdgeInAnyCase(t *testing.T) {
	for name, opts := range map[string][]config.Option{"normalizing": nil, "not normalizing": {server.WithDisableHeaderNamesNormalizing(true)}} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			m.rules.List = []graylib.Lane{{Tag: "gray", State: graylib.LaneActive}}
			gateway := listen(t, m.runtime("gateway", "", graylib.WithBaggage(), graylib.WithPresets("mse"), graylib.WithTrust([]graylib.TrustKey{trustKey})),
				[]grayhertz.Option{grayhertz.WithEdge()}, opts...)
			inner := listen(t, m.runtime("a", "", graylib.WithBaggage()), nil, opts...)

			for _, spelled := range []string{"x-gray-tag", "X-Gray-Tag", "X-GRAY-TAG", "X_Gray_tag", "x-GRAY-tag"} {
				if got := raw(t, gateway, "GET /x", spelled+": gray", "x-gray-tag: gray", "X-MSE-TAG: gray", "BAGGAGE: gray-tag=gray,a=1", "baggage: b=2,gray-tag=gray"); got.Request != "" {
					t.Errorf("broke G9 trust: %s from outside colours: %+v", spelled, got)
				} else if b := strings.ToLower(fmt.Sprint(got.Headers)); strings.Contains(b, "gray-tag") || strings.Contains(b, "mse") || !strings.Contains(b, "a=1") || !strings.Contains(b, "b=2") {
					t.Errorf("%s: left %v", spelled, got.Headers)
				}
			}
			for _, spelled := range []string{"x-gray-tag", "X-Gray-Tag", "X-GRAY-TAG"} {
				if got := raw(t, inner, "GET /x", spelled+": gray"); got.Request != "gray" {
					t.Errorf("%s within the mesh is lost: %+v", spelled, got)
				}
			}
			if got := raw(t, inner, "GET /x", "Baggage: a=1", "BAGGAGE: gray-tag=gray"); got.Request != "gray" {
				t.Errorf("baggage within the mesh is lost: %+v", got)
			}
			for _, spelled := range []string{"x-gray-signed-tag", "X-Gray-Signed-Tag", "X-GRAY-SIGNED-TAG"} {
				if got := raw(t, gateway, "GET /x", spelled+": "+signed(t, graylib.SignedTag{Tag: "gray"})); got.Request != "gray" {
					t.Errorf("%s is not taken: %+v", spelled, got)
				}
			}
		})
	}
}

func TestTrustedSources(t *testing.T) {
	m := newMesh(t)
	m.rules.List = []graylib.Lane{{Tag: "gray", State: graylib.LaneActive}, {Tag: "blue", State: graylib.LaneActive}}
	rt := m.runtime("gateway", "", graylib.WithTrust([]graylib.TrustKey{trustKey}))
	gateway := listen(t, rt, []grayhertz.Option{grayhertz.WithEdge()})
	bound := "X-Gray-Signed-Tag: " + signed(t, graylib.SignedTag{Tag: "gray", Method: "GET", Path: "/a%20b/c"})
	for line, want := range map[string]graylib.Tag{
		"GET /a%20b/c": "gray", "GET /a%20b/c?q=1": "gray", "GET /a%20b/../a%20b/c": "", "GET /a%20b/C": "", "POST /a%20b/c": "",
	} {
		if got := raw(t, gateway, line, bound, "X-Gray-Tag: blue", "Content-Length: 0"); got.Request != want {
			t.Errorf("%s: %q, want %q", line, got.Request, want)
		}
	}
	if diff := cmp.Diff(&graylib.TrustStatus{Signed: 2, Refused: map[string]int64{"wrong signature": 3}}, rt.Status().Trust); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if n := rt.Status().Stripped; n["x-gray-tag"] != 5 || n["x-gray-signed-tag"] != 5 {
		t.Errorf("stripped %v", n)
	}

	for network, want := range map[string]graylib.Tag{"127.0.0.0/8": "gray", "10.0.0.0/8": ""} {
		gateway := listen(t, m.runtime("gateway", "", graylib.WithTrust(nil, netip.MustParsePrefix(network))), []grayhertz.Option{grayhertz.WithEdge()})
		got := raw(t, gateway, "GET /x", "X-Gray-Tag: gray", "X-Request-Id: theirs", "X-Gray-Reason: lane", "X-Forwarded-For: 10.0.0.1")
		if got.Request != want || (got.ID == "theirs") != (want != "") {
			t.Errorf("trusting %s: %+v", network, got)
		}
		for name := range got.Headers {
			if strings.EqualFold(name, "x-gray-reason") {
				t.Errorf("trusting %s: the reason is left", network)
			}
		}
	}
}

// TestOtherCarriersOverHTTP calls through a service that knows baggage and x-mse-tag alone.
func TestOtherCarriersOverHTTP(t *testing.T) {
	m := newMesh(t)
	others := []graylib.Option{graylib.WithBaggage(), graylib.WithPresets("mse", "polaris=lanes")}
	m.serve(m.runtime("b", "gray", others...), nil)
	m.serve(m.runtime("b", "", others...), nil)
	for name, normalize := range map[string]bool{"normalizing": true, "not normalizing": false} {
		c, err := client.NewClient(client.WithDialTimeout(time.Minute), client.WithDisableHeaderNamesNormalizing(!normalize))
		if c, err = grayhertz.WrapClient(c, err, grayhertz.WithRuntime(m.runtime("a", "", others...))); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.CloseIdleConnections)
		got := get(graylib.WithTag(t.Context(), "gray"), t, c, "http://b/echo")
		for header, want := range map[string]string{"X-Gray-Tag": "gray", "Baggage": "gray-tag=gray", "X-Mse-Tag": "gray", "Service-Lane": "lanes/gray"} {
			if got.Headers[header] != want || got.Tag != "gray" {
				t.Errorf("%s: %s: %q in %+v", name, header, got.Headers[header], got)
			}
		}
		if got := get(t.Context(), t, c, "http://b/echo"); got.Tag != "" || got.Request != "" || got.Headers["Baggage"]+got.Headers["X-Mse-Tag"] != "" {
			t.Errorf("%s: untagged: %+v", name, got)
		}
	}
}
