package grayhttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Transport wraps base (nil = [http.DefaultTransport]) so that requests to a host that is a service's name reach one of its
// instances: of the tag's lane, or of the baseline. Where no connection can be made and nothing
// was sent, the next instance is tried, and when the lane has none left the baseline; a timed-out or failed request is not
// repeated unless [WithIdempotent] declares it. (That something was sent it learns from [httptrace], which net/http's own transports
// and most others serve.) Timeouts count towards the instance's ejection, see [graylib.Ejection].
// Without a registry the tag is written all the same, and base finds the host.
// The callee sees the service's name as Host. Where the process-wide default can't be built, each request
// fails with the reason.
func Transport(base http.RoundTripper, opts ...Option) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	o, err := apply(opts)
	if err != nil {
		return failing{err}
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

// departed is a request under way: a RoundTripper below may be ours too, and gets it again or, as most hand it on, a copy of it.
// Other requests in its context are calls of their own. It is never changed: they may outlive the request.
type departed struct {
	rt                        *graylib.Runtime
	host, method, path, query string
}

func departing(rt *graylib.Runtime, r *http.Request) *departed {
	d := &departed{rt: rt, host: r.Host, method: r.Method, path: r.URL.Path, query: r.URL.RawQuery}
	if d.host == "" {
		d.host = r.URL.Host
	}
	return d
}

// underWay tells whether the request is the one that is under way in its context.
func underWay(rt *graylib.Runtime, r *http.Request) bool {
	d, ok := r.Context().Value(departedKey{}).(*departed)
	return ok && *departing(rt, r) == *d
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (answer *http.Response, failed error) {
	named := serviceName(r.URL.Host)
	discovered := named && t.rt.Registry() != nil
	if underWay(t.rt, r) || !named && !t.hosts[r.URL.Host] {
		return t.base.RoundTrip(r)
	}
	service := r.URL.Host
	out := r.Clone(context.WithValue(r.Context(), departedKey{}, departing(t.rt, r))) // a RoundTripper leaves its request as it is
	body := newBody(out)
	ctx, call := t.rt.Depart(out.Context(), service, &requestView{req: out})
	if told := t.rt.Telemetry(); told != nil {
		var done func(graylib.Outcome)
		ctx, done = told.Departed(ctx, call, graylib.Departing{
			Endpoint: service, Protocol: graylib.ProtocolHTTP, Method: r.Method,
		})
		defer func() { done(outcome(answer, failed)) }()
	}
	sent := &tracedWrite{}
	if discovered {
		ctx = httptrace.WithClientTrace(ctx, sent.trace())
	}
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
	repeatable := t.idempotent != nil && t.idempotent(r) && (body.rc == nil || r.GetBody != nil)
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
		if body.touched() {
			if body, err = again(r, out, body); err != nil {
				return nil, err
			}
		}
		out.URL.Host = in.Addr
		sent.to(in.Addr)
		resp, tryErr := t.tryOne(call, out, repeatable)
		ended(ctx, call, tryErr)
		next := tryErr != nil && ctx.Err() == nil && (repeatable || call.DialFailed(tryErr) && !body.touched() && !sent.sent.Load())
		if !next {
			body.finish()
			return resp, tryErr
		}
		err = tryErr
	}
}

// tracedWrite tells whether a request may have been sent. The error alone doesn't: where a pooled connection breaks, net/http
// itself sends a request that it takes for repeatable again on a new one ([http.Transport]), and when that is refused, as a
// crashed instance refuses it, a dial error is all that comes out.
// Calls that a transport below makes in the request's context, for a token say, are traced too: what goes to another address is theirs.
type tracedWrite struct {
	sent atomic.Bool
	addr atomic.Pointer[string] // of the instance that is tried
	ours atomic.Bool            // the last connection that was asked for is to it
}

// to says which instance is tried next.
func (w *tracedWrite) to(addr string) { w.addr.Store(&addr) }

func (w *tracedWrite) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(addr string) { w.ours.Store(addr == *w.addr.Load()) },
		WroteHeaders: func() {
			if w.ours.Load() {
				w.sent.Store(true)
			}
		},
	}
}

// ended says how a try ended. Where [http.Client.Timeout] runs out the client cancels, by chance before the deadline does,
// and the error may be of either.
func ended(ctx context.Context, call *graylib.Call, err error) {
	if deadline, ok := ctx.Deadline(); ok && err != nil && !graylib.DialFailed(err) && !time.Now().Before(deadline) {
		call.TimedOut()
		return
	}
	call.Ended(err)
}

// again puts a fresh body in place of one that was read for an earlier try.
func again(r, out *http.Request, old *body) (*body, error) {
	old.finish()
	rc, err := r.GetBody()
	if err != nil {
		return nil, fmt.Errorf("graylib: the body can't be had again for another try: %w", err)
	}
	out.Body = rc
	return newBody(out), nil
}

// ErrTryTimeout is wrapped where an instance didn't begin its answer in time, see [WithTryTimeout]. It is a timeout in the
// sense of [net.Error].
var ErrTryTimeout error = tryTimeoutError{}

type tryTimeoutError struct{}

func (tryTimeoutError) Error() string   { return "no answer within the time for one try" }
func (tryTimeoutError) Timeout() bool   { return true }
func (tryTimeoutError) Temporary() bool { return true }

// tryOne sends a request to one instance; one that is repeatable within the time for one try.
func (t *transport) tryOne(call *graylib.Call, out *http.Request, repeatable bool) (*http.Response, error) {
	if !repeatable || t.tryTimeout <= 0 || out.Header.Get("Upgrade") != "" {
		return t.send(call, out)
	}
	ctx, cancel := context.WithCancel(out.Context())
	timer := time.AfterFunc(t.tryTimeout, cancel)
	resp, err := t.send(call, out.WithContext(ctx))
	inTime := timer.Stop()
	switch {
	case err == nil && inTime:
		resp.Body = &tryBody{ReadCloser: resp.Body, cancel: cancel}
		return resp, nil
	case err == nil: // the answer began too late, and reading it would fail
		_ = resp.Body.Close()
	}
	cancel()
	if !inTime && out.Context().Err() == nil {
		return nil, fmt.Errorf("%s at %s: %w (%s)", out.Host, out.URL.Host, ErrTryTimeout, t.tryTimeout)
	}
	return nil, err
}

// tryBody frees a try's context when the answer was read.
type tryBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements [io.Closer].
func (b *tryBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
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

// serviceName tells whether a URL's host is a service's name: it has no dot and no port, and isn't localhost.
func serviceName(host string) bool {
	return host != "" && host != "localhost" && !strings.ContainsAny(host, ".:")
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// outcome is how a call ended, for telemetry: when its answer has begun.
func outcome(answer *http.Response, err error) graylib.Outcome {
	o := graylib.Outcome{Err: err}
	if answer != nil {
		o.Status = answer.StatusCode
	}
	return o
}
