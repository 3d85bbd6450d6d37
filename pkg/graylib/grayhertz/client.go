package grayhertz

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/common/config"
	errs "github.com/cloudwego/hertz/pkg/common/errors"
	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/pkg/graylib"
)

type departedKey struct{}

// departure is the context that a request is sent in, and what rules see of it: one allocation does for both.
type departure struct {
	graylib.Departed
	req  *protocol.Request
	lent lent
}

// Value implements [context.Context].
func (d *departure) Value(key any) any {
	if _, ok := key.(departedKey); ok {
		return d.req
	}
	return d.Departed.Value(key)
}

// ClientMiddleware returns the middleware that sends requests with config.WithSD(true) to an instance of the service
// that the URL's host names: one of the tag's lane, or of the baseline. Where no connection can be made and nothing was
// sent, the next instance is tried, and when the lane has none left the baseline; a timed-out or failed
// request is not repeated unless [WithIdempotent] declares it. Make the client with client.WithPooledConnHealthCheck(true)
// ([WrapClient] sees to it): else a pooled connection that an instance has left behind is found out by writing to it, after which
// nobody knows whether the request was taken in hand. Timeouts count towards the instance's ejection, see
// [graylib.Ejection]. Without a registry the tag is written all the same, and the client finds the host, by its own discovery where it
// has one. Other requests are left alone, see [WithHosts]. A request is given back as it came: headers that were written
// for the callee are taken off again, and the application's own of these names put back. Where the process-wide default can't be
// built, each request fails with the reason.
func ClientMiddleware(opts ...Option) client.Middleware {
	o, err := apply(opts)
	return func(next client.Endpoint) client.Endpoint {
		if err != nil {
			return func(context.Context, *protocol.Request, *protocol.Response) error {
				return fmt.Errorf("graylib: %w", err)
			}
		}
		return func(ctx context.Context, req *protocol.Request, resp *protocol.Response) error {
			return o.call(ctx, req, resp, next)
		}
	}
}

// WrapClient adds [ClientMiddleware] to a client, as client.NewClient returns it, before its first request, and has it look at a
// pooled connection before it writes to it (client.WithPooledConnHealthCheck); it returns both.
func WrapClient(c *client.Client, err error, opts ...Option) (*client.Client, error) {
	if err != nil {
		return c, err
	}
	if _, err := apply(opts); err != nil {
		return nil, err
	}
	c.GetOptions().PooledConnHealthCheck = true
	c.Use(ClientMiddleware(opts...))
	return c, nil
}

func (o *options) call(ctx context.Context, req *protocol.Request, resp *protocol.Response, next client.Endpoint) (failed error) {
	named := req.Options().IsSD()
	discovered := named && o.rt.Registry() != nil
	if ctx.Value(departedKey{}) == req || !named && !o.hosts[string(req.Host())] {
		return next(ctx, req, resp)
	}
	service := string(req.Host())
	d := &departure{req: req}
	o.rt.DepartIn(ctx, &d.Departed, service, (*requestView)(d))
	call := d.Call()
	ctx = d
	defer d.lent.takeBack(requestCarrier{&req.Header})
	if t := o.rt.Telemetry(); t != nil {
		var done func(graylib.Outcome)
		ctx, done = t.Departed(ctx, call, graylib.Departing{
			Endpoint: service, Protocol: graylib.ProtocolHTTP, Method: string(req.Header.Method()),
		})
		defer func() { done(outcome(resp, failed)) }()
	}
	if !discovered {
		call.Inject(graylib.HTTPKeys, (*lending)(d))
		err := next(ctx, req, resp)
		o.arriveBack(call, resp, err)
		return err
	}
	table, err := o.rt.Table(ctx, service)
	if err != nil && len(table.Load().Instances()) == 0 {
		return fmt.Errorf("%w of service %q: %w", graylib.ErrNoInstance, service, err)
	}
	defer req.SetHost(service)
	// Hertz puts the address into an empty Host as it writes: another try and the next user of the request have their own.
	host := string(req.Header.Host())
	defer func() { req.Header.SetHost(host) }()
	repeatable := o.idempotent != nil && !req.IsBodyStream() && o.idempotent(req)
	if repeatable {
		defer o.boundTry(req)()
	}
	for {
		in, _, nextErr := call.Next(table)
		if nextErr != nil {
			if err != nil {
				return fmt.Errorf("%w; last: %w", nextErr, err)
			}
			return nextErr
		}
		call.Inject(graylib.HTTPKeys, (*lending)(d))
		req.SetHost(in.Addr)
		req.Header.SetHost(host)
		req.Header.SetRequestURI(notWritten)
		err = next(ctx, req, resp)
		sent := written(req)
		ended(call, err)
		if err == nil || ctx.Err() != nil || !repeatable && (sent || !call.DialFailed(err)) {
			o.arriveBack(call, resp, err)
			return err
		}
	}
}

// notWritten stands in a request's header until Hertz writes the request line there that it makes of the URI, which it does when
// it has a connection and before the first byte goes out (protocol/http1/req.Write). The error alone doesn't tell: where a
// pooled connection breaks, Hertz itself sends a GET, HEAD, PUT, DELETE, OPTIONS or TRACE again on a new one (http1.HostClient.Do),
// and when that is refused, as a crashed instance refuses it, a dial error is all that comes out.
const notWritten = "graylib:not-written"

// written tells whether a request may have been sent since notWritten was put there, and takes it away.
func written(req *protocol.Request) bool {
	if string(req.Header.RequestURI()) != notWritten {
		return true
	}
	req.Header.SetRequestURIBytes(req.URI().RequestURI())
	return false
}

// boundTry sets the time for one try on a request, and returns what takes it off again.
func (o *options) boundTry(req *protocol.Request) (undo func()) {
	set := req.Options().ReadTimeout()
	if o.tryTimeout <= 0 || set > 0 && set <= o.tryTimeout {
		return func() {}
	}
	req.SetOptions(config.WithReadTimeout(o.tryTimeout))
	return func() { req.SetOptions(config.WithReadTimeout(set)) }
}

// ended says how a try ended. Hertz's timeouts are no [net.Error].
func ended(call *graylib.Call, err error) {
	if errors.Is(err, errs.ErrTimeout) {
		call.TimedOut()
		return
	}
	call.Ended(err)
}

// arriveBack takes in what the callee says of its hops.
func (o *options) arriveBack(call *graylib.Call, resp *protocol.Response, err error) {
	if err == nil && resp != nil {
		call.Return(graylib.HTTPKeys, responseCarrier{&resp.Header})
	}
}

// outcome is how a call ended, for telemetry.
func outcome(resp *protocol.Response, err error) graylib.Outcome {
	o := graylib.Outcome{Err: err}
	if err == nil && resp != nil {
		o.Status = resp.StatusCode()
	}
	return o
}
