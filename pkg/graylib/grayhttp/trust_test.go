package grayhttp_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
)

func TestTrustedSources(t *testing.T) {
	m := newMesh(t)
	m.rules.List = []graylib.Lane{{Tag: "gray", State: graylib.LaneActive}}
	key := graylib.TrustKey{ID: "k1", Secret: []byte(strings.Repeat("k", 32))}
	edge, _ := m.serve(m.runtime("gateway", "", graylib.WithTrust([]graylib.TrustKey{key}), graylib.WithPresets("sermant=x_lane")), nil, grayhttp.WithEdge())
	local, _ := m.serve(m.runtime("local", "", graylib.WithTrust(nil, netip.MustParsePrefix("127.0.0.0/8"))), nil, grayhttp.WithEdge())
	token, err := graylib.SignTag(key, graylib.SignedTag{Tag: "gray", Method: http.MethodGet, Path: "/a%2Fb"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, method, url string
		header            http.Header
		want              graylib.Tag
	}{
		{"signed", "GET", "http://" + edge + "/a%2Fb?q=1", http.Header{"X-Gray-Signed-Tag": {token}}, "gray"},
		{"signed for another path", "GET", "http://" + edge + "/a/b", http.Header{"X-Gray-Signed-Tag": {token}}, ""},
		{"signed for another method", "POST", "http://" + edge + "/a%2Fb", http.Header{"X-Gray-Signed-Tag": {token}}, ""},
		{"a client's word", "GET", "http://" + edge + "/", http.Header{"X-Gray-Tag": {"gray"}, "X_lane": {"gray"}}, ""},
		{"a trusted network's", "GET", "http://" + local + "/", http.Header{"X-Gray-Tag": {"gray"}}, "gray"},
		{"a trusted network's, of a lane that isn't listed", "GET", "http://" + local + "/", http.Header{"X-Gray-Tag": {"blue"}}, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = tt.header
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if got := send(t, c, req); got.Request != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got.Request, tt.want)
		} else if got.Header.Get("X-Gray-Signed-Tag")+got.Header.Get("X_lane") != "" {
			t.Errorf("%s: left %v", tt.name, got.Header)
		}
	}
}

// TestOtherCarriersOverHTTP calls with all carriers, and through a proxy that keeps baggage alone.
func TestOtherCarriersOverHTTP(t *testing.T) {
	m := newMesh(t)
	others := []graylib.Option{graylib.WithBaggage(), graylib.WithPresets("joylive=1")}
	m.serve(m.runtime("b", "gray", others...), nil)
	m.serve(m.runtime("b", "", others...), nil)
	c := m.client(m.runtime("a", "", others...))
	got := do(graylib.WithTag(t.Context(), "gray"), t, c, http.MethodGet, "http://b/", nil)
	for header, want := range map[string]string{"X-Gray-Tag": "gray", "Baggage": "gray-tag=gray", "X-Lane-Code": "gray", "X-Lane-Space-Id": "1"} {
		if got.Header.Get(header) != want || got.Tag != "gray" {
			t.Errorf("%s: %q in %+v", header, got.Header.Get(header), got)
		}
	}
	addr, _ := m.serve(m.runtime("c", "", others...), nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["Baggage"] = []string{"a=1", got.Header.Get("Baggage")}
	if got := send(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, req); got.Request != "gray" {
		t.Errorf("behind a service that keeps baggage alone: %+v", got)
	}
}
