package grayhttp

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
)

// Transport wraps base (nil = [http.DefaultTransport]) so that requests to a host that is a service's name reach one of its
// instances: of the tag's lane, or of the baseline. Where no connection can be made, which means that nothing
// was sent, the next instance is tried, and when the lane has none left the baseline; a timed-out or failed request is not
// repeated. The callee sees the service's name as Host. Where the process-wide default can't be built, each request
// fails with the reason.
func Transport(base http.RoundTripper, opts ...Option) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	o, err := apply(opts)
	if err != nil {
		return failing{err}
	}
	if !o.rt.Enabled() {
		return base
	}
	return &transport{options: o, base: base}
}

type failing struct{ err error }

// RoundTrip implements [http.RoundTripper].
func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	closeBody(r)
	return nil, fmt.Errorf("graylib: %w", f.err)
}

type transport struct {
	*options
	base http.RoundTripper
}

type departedKey struct{}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	discovered := t.discovered(r.URL.Host)
	if r.Context().Value(departedKey{}) == t.rt || !discovered && !t.hosts[r.URL.Host] {
		return t.base.RoundTrip(r)
	}
	service := r.URL.Host
	out := r.Clone(context.WithValue(r.Context(), departedKey{}, t.rt)) // a RoundTripper leaves its request as it is
	body := newBody(out)
	ctx, call := t.rt.Depart(out.Context(), service, &requestView{req: out})
	out = out.WithContext(ctx)
	if !discovered {
		return t.try(call, out, body)
	}
	table, err := t.rt.Table(ctx, service)
	if err != nil && len(table.Load().Instances()) == 0 {
		body.finish()
		closeBody(out)
		return nil, fmt.Errorf("%w of service %q: %w", graylib.ErrNoInstance, service, err)
	}
	if out.Host == "" {
		out.Host = service
	}
	for err = nil; ; {
		in, _, nextErr := call.Next(table)
		if nextErr != nil {
			body.finish()
			closeBody(out)
			if err != nil {
				return nil, fmt.Errorf("%w; last: %w", nextErr, err)
			}
			return nil, nextErr
		}
		out.URL.Host = in.Addr
		resp, tryErr := t.send(call, out)
		if !graylib.DialFailed(tryErr) || body.touched() || ctx.Err() != nil {
			body.finish()
			return resp, tryErr
		}
		err = tryErr
	}
}

// try sends a request whose instance is given.
func (t *transport) try(call *graylib.Call, out *http.Request, body *body) (*http.Response, error) {
	defer body.finish()
	return t.send(call, out)
}

func (t *transport) send(call *graylib.Call, out *http.Request) (*http.Response, error) {
	call.Inject(graylib.HTTPKeys, graylib.HeaderCarrier(out.Header))
	resp, err := t.base.RoundTrip(out)
	if err == nil {
		call.Return(graylib.HTTPKeys, graylib.HeaderCarrier(resp.Header))
	}
	return resp, err
}

// discovered tells whether a URL's host is a service's name: it has no dot and no port, and isn't localhost.
func (t *transport) discovered(host string) bool {
	return t.rt.Registry() != nil && host != "" && host != "localhost" && !strings.ContainsAny(host, ".:")
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}
