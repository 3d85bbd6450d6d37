package grayhertz_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
)

// arrived returns the context of a request that came with these values.
func arrived(rt *graylib.Runtime, wire graylib.MapCarrier) context.Context {
	ctx, _ := rt.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, wire)
	return ctx
}

// TestRequestsAreGivenBack uses one request for several callers and callees: nothing of the one before is in it, and what the
// application set itself is there again.
func TestRequestsAreGivenBack(t *testing.T) {
	k := graylib.HTTPKeys
	for name, normalized := range map[string]bool{"normalized": true, "as they are": false} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			m.serve(m.runtime("b", ""), nil)
			seen := make(chan http.Header, 1)
			hosts := make(chan string, 1)
			other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				hosts <- r.Host
				seen <- r.Header.Clone()
			}))
			defer other.Close()

			rt := m.runtime("a", "", graylib.WithBaggage(), graylib.WithPresets("mse", "polaris=lanes", "sermant=x-lane"))
			c, err := client.NewClient(client.WithDisableHeaderNamesNormalizing(!normalized))
			c, err = grayhertz.WrapClient(c, err, grayhertz.WithRuntime(rt))
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			req := &protocol.Request{}
			if !normalized {
				req.Header.DisableNormalizing()
			}
			own := map[string][]string{"X-Request-Id": {"mine"}, "Baggage": {"k=1", "l=2"}, "X-Own": {"kept"}}
			for name, values := range own {
				for _, v := range values {
					req.Header.Add(name, v)
				}
			}
			first := arrived(rt, graylib.MapCarrier{
				k.Tag: "gray", k.RequestID: "one", k.Hops: graylib.HopsWanted, k.TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			})
			second := arrived(rt, graylib.MapCarrier{k.RequestID: "two", k.TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"})
			for _, call := range []struct {
				ctx  context.Context
				want answer
			}{
				{first, answer{Request: "gray", ID: "one", Trace: "4bf92f3577b34da6a3ce929d0e0e4736"}},
				{second, answer{ID: "two", Trace: "0af7651916cd43dd8448eb211c80319c"}},
				{context.Background(), answer{ID: "mine"}},
			} {
				req.SetRequestURI("http://b/echo")
				req.SetOptions(config.WithSD(true))
				resp := &protocol.Response{}
				if err := c.Do(call.ctx, req, resp); err != nil {
					t.Fatal(err)
				}
				var got answer
				if err := json.Unmarshal(resp.Body(), &got); err != nil {
					t.Fatal(err)
				}
				if got := (answer{Request: got.Request, ID: got.ID, Trace: got.Trace}); !cmp.Equal(got, call.want) {
					t.Errorf("the callee saw %+v, want %+v", got, call.want)
				}
				for name, want := range own {
					if diff := cmp.Diff(want, req.Header.GetAll(name)); diff != "" {
						t.Errorf("the application's %s (-want +got):\n%s", name, diff)
					}
				}
			}

			req.SetRequestURI(other.URL)
			req.SetOptions(config.WithSD(false))
			if err := c.Do(context.Background(), req, &protocol.Response{}); err != nil {
				t.Fatal(err)
			}
			third := <-seen
			if host := <-hosts; host != other.Listener.Addr().String() {
				t.Errorf("a third party at %s got the Host %q", other.Listener.Addr(), host)
			}
			for name := range third {
				if own[name] == nil && (graylib.Stripped(name) || name == "X-Lane") {
					t.Errorf("a third party got %s: %q", name, third[name])
				}
			}
		})
	}
}

func TestWithoutARegistryTheTagIsCarried(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get(graylib.HTTPKeys.Tag) }))
	t.Cleanup(server.Close)
	rt, err := graylib.New(graylib.Identity{Service: "a"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.NewClient()
	c, err = grayhertz.WrapClient(c, err, grayhertz.WithRuntime(rt))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	// The application's own discovery, as a middleware of the client.
	c.Use(func(next client.Endpoint) client.Endpoint {
		return func(ctx context.Context, req *protocol.Request, resp *protocol.Response) error {
			if string(req.Host()) == "b" && req.Options().IsSD() {
				req.SetHost(server.Listener.Addr().String())
			}
			return next(ctx, req, resp)
		}
	})
	req := &protocol.Request{}
	req.SetRequestURI("http://b/x")
	req.SetOptions(config.WithSD(true))
	if err := c.Do(graylib.WithTag(t.Context(), "gray"), req, &protocol.Response{}); err != nil {
		t.Fatal(err)
	}
	if tag := <-got; tag != "gray" {
		t.Errorf("the server saw the tag %q", tag)
	}
}
