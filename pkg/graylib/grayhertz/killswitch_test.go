package grayhertz_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
)

// TestKillSwitch calls through a service whose kill switch is thrown: it is found, finds the baseline, and hands no tag on.
func TestKillSwitch(t *testing.T) {
	m := newMesh(t)
	off := graylib.WithConfig(graylib.Config{Disabled: true})
	m.serve(m.runtime("b", ""), nil)
	m.serve(m.runtime("b", "gray"), nil)
	a, idle := m.runtime("a", "", off), m.runtime("a", "gray", off)
	toB := m.client(a)
	relay := func(h *server.Hertz) {
		h.GET("/relay", func(ctx context.Context, c *app.RequestContext) {
			req := &protocol.Request{}
			c.Request.Header.CopyTo(&req.Header) // as a proxy does
			req.SetRequestURI("http://b/echo")
			req.SetHost("b")
			req.SetOptions(config.WithSD(true))
			if err := toB.Do(graylib.WithTag(ctx, "gray"), req, &c.Response); err != nil {
				c.String(http.StatusBadGateway, "%s", err.Error())
			}
		})
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := grayhertz.WrapServer(server.Default(server.WithListener(ln), server.WithExitWaitTime(2*time.Second)), grayhertz.WithRuntime(idle), grayhertz.WithSettle(0))
	relay(h)
	ended := make(chan error, 1)
	go func() { ended <- h.Run() }()
	eventually(t, "the idle instance is ready", func() bool {
		resp, err := http.Get("http://" + ln.Addr().String() + graylib.ReadyPath)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	addr, _ := m.serve(a, relay)
	if in := m.registry.Instances("a"); len(in) != 1 || in[0].Addr != addr || in[0].Tag != graylib.Untagged {
		t.Fatalf("registered: %v; want the baseline's instance alone", in)
	}
	caller := m.client(m.runtime("c", ""))
	got := get(graylib.WithTag(t.Context(), "gray"), t, caller, "http://a/relay")
	if _, sent := got.Headers["X-Gray-Tag"]; got.Service != "b" || got.Tag != "" || got.Request != "" || sent {
		t.Errorf("through a switched-off service: %+v; want the baseline's b, and no tag", got)
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}

	// The edge strips as ever.
	edge, _ := m.serve(m.runtime("gateway", "", off), nil, grayhertz.WithEdge())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+edge+"/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(graylib.HTTPKeys.Tag, "gray")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got = answer{}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Request != "" || got.Headers["X-Gray-Tag"] != "" {
		t.Errorf("a tag from outside passed a switched-off edge: %+v", got)
	}
}
