package grayhertz_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"

	"github.com/graychain/graychain/pkg/graylib"
)

// Who sent a request is what trusted proxies say, and nobody else.
func TestTrustedProxies(t *testing.T) {
	for trusted, want := range map[string]string{"": "127.0.0.1", "127.0.0.0/8,10.0.0.2": "9.9.9.9", "10.0.0.2": "127.0.0.1"} {
		proxies, err := graylib.ParseProxies(trusted)
		if err != nil {
			t.Fatal(err)
		}
		m := newMesh(t)
		rt := m.runtime("b", "", graylib.WithConfig(graylib.Config{TrustedProxies: proxies}))
		var got string
		addr, stop := m.serve(rt, func(h *server.Hertz) {
			h.GET("/who", func(ctx context.Context, _ *app.RequestContext) { got = graylib.ClientIPFrom(ctx) })
		})
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/who", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header["X-Forwarded-For"] = []string{"6.6.6.6, 9.9.9.9", "10.0.0.2"}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		stop()
		if got != want {
			t.Errorf("with %q trusted the client is %q, want %q", trusted, got, want)
		}
	}
}
