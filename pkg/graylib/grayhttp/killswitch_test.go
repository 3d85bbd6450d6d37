package grayhttp_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
)

// TestKillSwitch calls through a service whose kill switch is thrown: it is found, finds the baseline, and hands no tag on.
func TestKillSwitch(t *testing.T) {
	m := newMesh(t)
	off := graylib.WithConfig(graylib.Config{Disabled: true})
	m.serve(m.runtime("b", ""), nil)
	m.serve(m.runtime("b", "gray"), nil)
	a, idle := m.runtime("a", "", off), m.runtime("a", "gray", off)
	toB := m.client(a)
	relay := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(graylib.WithTag(r.Context(), "gray"), http.MethodGet, "http://b/", nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = r.Header.Clone() // as a proxy does
		resp, err := toB.Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		_, _ = io.Copy(w, resp.Body)
	})
	serve := func(rt *graylib.Runtime) (addr string) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := grayhttp.WrapServer(&http.Server{Handler: relay}, grayhttp.WithRuntime(rt), grayhttp.WithSettle(0))
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(ln) }()
		t.Cleanup(func() {
			if err := errors.Join(srv.Close(), <-ended); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
		addr = ln.Addr().String()
		eventually(t, "it is ready", func() bool {
			resp, err := m.client(m.runtime("c", "")).Get("http://" + addr + graylib.ReadyPath)
			if err != nil {
				return false
			}
			_ = resp.Body.Close()
			return resp.StatusCode == http.StatusOK
		})
		return addr
	}
	serve(idle)
	serve(a)
	if in := m.registry.Instances("a"); len(in) != 1 || in[0].Tag != graylib.Untagged {
		t.Fatalf("registered: %v; want the baseline's instance alone", in)
	}
	ctx := graylib.WithTag(t.Context(), "gray")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := m.client(m.runtime("c", "")).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var got answer
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Service != "b" || got.Tag != "" || got.Request != "" || got.Header.Get(graylib.HTTPKeys.Tag) != "" {
		t.Errorf("through a switched-off service: %+v; want the baseline's b, and no tag", got)
	}
}
