package grayhttp_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
)

// Who sent a request is what trusted proxies say, and nobody else.
func TestTrustedProxies(t *testing.T) {
	for trusted, want := range map[string]string{"": "10.0.0.1", "10.0.0.0/8": "9.9.9.9", "10.0.0.2": "10.0.0.1"} {
		proxies, err := graylib.ParseProxies(trusted)
		if err != nil {
			t.Fatal(err)
		}
		rt := newMesh(t).runtime("b", "", graylib.WithConfig(graylib.Config{TrustedProxies: proxies}))
		var got string
		h := grayhttp.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = graylib.ClientIPFrom(r.Context()) }), grayhttp.WithRuntime(rt))
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.RemoteAddr = "10.0.0.1:4711"
		req.Header["X-Forwarded-For"] = []string{"6.6.6.6, 9.9.9.9", "10.0.0.2"}
		h.ServeHTTP(httptest.NewRecorder(), req)
		if got != want {
			t.Errorf("with %q trusted the client is %q, want %q", trusted, got, want)
		}
	}
}
