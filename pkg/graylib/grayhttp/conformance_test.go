package grayhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	d := conformance.Of("grayhttp")
	graylibtest.Run(t, graylibtest.Harness{Name: d.Name, Features: d.Features, Open: openConformance})
}

func openConformance(t testing.TB, s *graylibtest.Setup) graylibtest.Link {
	m := &mesh{t: t, registry: s.Registry, rules: s.Rules, settle: 100 * time.Millisecond}
	var opts []grayhttp.Option
	if s.Edge {
		opts = append(opts, grayhttp.WithEdge())
	}
	var addrs []string
	for _, callee := range s.Callees {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			payload, err := io.ReadAll(r.Body)
			if err == nil {
				var answer string
				if answer, err = callee.Handle(r.Context(), string(payload)); err == nil {
					_, _ = io.WriteString(w, answer)
					return
				}
			}
			http.Error(w, err.Error(), http.StatusInternalServerError)
		})
		addr, _ := m.serve(callee.Runtime, h, opts...)
		addrs = append(addrs, addr)
	}
	client, bare := m.client(s.Caller), &http.Client{Transport: &http.Transport{}}
	t.Cleanup(bare.CloseIdleConnections)
	return graylibtest.Link{
		Endpoint: s.Service,
		Call: func(ctx context.Context, payload string) (string, error) {
			req, err := conformanceRequest(ctx, "http://"+s.Service, payload)
			if err != nil {
				return "", err
			}
			answer, _, err := answerOf(client, req)
			return answer, err
		},
		Raw: func(ctx context.Context, callee int, wire map[string][]string, payload string) (map[string]string, error) {
			req, err := conformanceRequest(ctx, "http://"+addrs[callee], payload)
			if err != nil {
				return nil, err
			}
			for k, values := range wire {
				for _, v := range values {
					req.Header.Add(k, v)
				}
			}
			_, header, err := answerOf(bare, req)
			if err != nil {
				return nil, err
			}
			back := make(map[string]string)
			for _, k := range []string{graylib.HTTPKeys.Hops, graylib.HTTPKeys.Messages, graylib.HTTPKeys.RequestID} {
				back[k] = header.Get(k)
			}
			return back, nil
		},
	}
}

// conformanceRequest shows the payload in every place where a rule may look.
func conformanceRequest(ctx context.Context, base, payload string) (*http.Request, error) {
	u := base + "/conformance?" + url.Values{graylibtest.SourceKey: {payload}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(payload))
	if err != nil {
		return nil, err
	}
	req.Header.Set(graylibtest.SourceKey, payload)
	req.AddCookie(&http.Cookie{Name: graylibtest.SourceKey, Value: payload})
	return req, nil
}

func answerOf(c *http.Client, req *http.Request) (string, http.Header, error) {
	resp, err := c.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return string(body), resp.Header, err
}
