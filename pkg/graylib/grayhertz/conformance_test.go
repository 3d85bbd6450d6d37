package grayhertz_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	d := conformance.Of("grayhertz")
	graylibtest.Run(t, graylibtest.Harness{Name: d.Name, Features: d.Features, Open: openConformance})
}

func openConformance(t testing.TB, s *graylibtest.Setup) graylibtest.Link {
	m := &mesh{t: t, registry: s.Registry, rules: s.Rules, settle: 100 * time.Millisecond, exitWait: 2 * time.Second}
	var opts []grayhertz.Option
	if s.Edge {
		opts = append(opts, grayhertz.WithEdge())
	}
	var addrs []string
	for _, callee := range s.Callees {
		addr, _ := m.serve(callee.Runtime, func(h *server.Hertz) {
			h.PUT("/conformance", func(ctx context.Context, c *app.RequestContext) {
				answer, err := callee.Handle(ctx, string(c.Request.Body()))
				if err != nil {
					c.String(http.StatusInternalServerError, "%s", err.Error())
					return
				}
				c.String(http.StatusOK, "%s", answer)
			})
		}, opts...)
		addrs = append(addrs, addr)
	}
	wrapped := m.client(s.Caller)
	bare, err := client.NewClient(client.WithDialTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bare.CloseIdleConnections)
	return graylibtest.Link{
		Endpoint: s.Service,
		Call: func(ctx context.Context, payload string) (string, error) {
			answer, _, err := ask(ctx, wrapped, s.Service, payload, func(r *protocol.Request) { r.SetOptions(config.WithSD(true)) })
			return answer, err
		},
		Raw: func(ctx context.Context, callee int, wire map[string][]string, payload string) (map[string]string, error) {
			_, back, err := ask(ctx, bare, addrs[callee], payload, func(r *protocol.Request) {
				for k, values := range wire {
					for _, v := range values {
						r.Header.Add(k, v)
					}
				}
			})
			return back, err
		},
	}
}

// ask shows the payload in every place where a rule may look.
func ask(ctx context.Context, c *client.Client, host, payload string, more func(*protocol.Request)) (string, map[string]string, error) {
	req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
	defer protocol.ReleaseRequest(req)
	defer protocol.ReleaseResponse(resp)
	req.SetMethod(http.MethodPut) // Hertz sends one again by itself where a pooled connection breaks
	req.SetRequestURI("http://" + host + "/conformance?" + url.Values{graylibtest.SourceKey: {payload}}.Encode())
	req.SetBodyString(payload)
	req.Header.Set(graylibtest.SourceKey, payload)
	req.SetCookie(graylibtest.SourceKey, payload)
	more(req)
	if err := c.Do(ctx, req, resp); err != nil {
		return "", nil, err
	}
	if resp.StatusCode() != http.StatusOK {
		return "", nil, fmt.Errorf("status %d: %s", resp.StatusCode(), resp.Body())
	}
	back := make(map[string]string)
	for _, k := range []string{graylib.HTTPKeys.Hops, graylib.HTTPKeys.Messages, graylib.HTTPKeys.RequestID} {
		back[k] = resp.Header.Get(k)
	}
	return string(resp.Body()), back, nil
}
