package grayhertz

import (
	"context"
	"fmt"

	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/pkg/graylib"
)

type departedKey struct{}

// ClientMiddleware returns the middleware that sends requests with config.WithSD(true) to an instance of the service
// that the URL's host names: one of the tag's lane, or of the baseline. Where no connection can be made, which means that
// nothing was sent, the next instance is tried, and when the lane has none left the baseline; a timed-out or failed
// request is not repeated. Other requests are left alone, see [WithHosts]. Where the process-wide default can't be
// built, each request fails with the reason.
func ClientMiddleware(opts ...Option) client.Middleware {
	o, err := apply(opts)
	return func(next client.Endpoint) client.Endpoint {
		switch {
		case err != nil:
			return func(context.Context, *protocol.Request, *protocol.Response) error {
				return fmt.Errorf("graylib: %w", err)
			}
		case !o.rt.Enabled():
			return next
		}
		return func(ctx context.Context, req *protocol.Request, resp *protocol.Response) error {
			return o.call(ctx, req, resp, next)
		}
	}
}

// WrapClient adds [ClientMiddleware] to a client, as client.NewClient returns it, and returns both as they are.
func WrapClient(c *client.Client, err error, opts ...Option) (*client.Client, error) {
	if err != nil {
		return c, err
	}
	o, err := apply(opts)
	if err != nil {
		return nil, err
	}
	if o.rt.Enabled() {
		c.Use(ClientMiddleware(opts...))
	}
	return c, nil
}

func (o *options) call(ctx context.Context, req *protocol.Request, resp *protocol.Response, next client.Endpoint) error {
	discovered := req.Options().IsSD()
	if ctx.Value(departedKey{}) == req || !discovered && !o.hosts[string(req.Host())] {
		return next(ctx, req, resp)
	}
	ctx = context.WithValue(ctx, departedKey{}, req)
	service := string(req.Host())
	ctx, call := o.rt.Depart(ctx, service, &requestView{req: req, ctx: ctx})
	if !discovered {
		call.Inject(graylib.HTTPKeys, requestCarrier{&req.Header})
		err := next(ctx, req, resp)
		o.arriveBack(call, resp, err)
		return err
	}
	table, err := o.rt.Table(ctx, service)
	if err != nil && len(table.Load().Instances()) == 0 {
		return fmt.Errorf("%w of service %q: %w", graylib.ErrNoInstance, service, err)
	}
	defer req.SetHost(service)
	for {
		in, _, nextErr := call.Next(table)
		if nextErr != nil {
			if err != nil {
				return fmt.Errorf("%w; last: %w", nextErr, err)
			}
			return nextErr
		}
		call.Inject(graylib.HTTPKeys, requestCarrier{&req.Header})
		req.SetHost(in.Addr)
		err = next(ctx, req, resp)
		if !graylib.DialFailed(err) || ctx.Err() != nil {
			o.arriveBack(call, resp, err)
			return err
		}
	}
}

// arriveBack takes in what the callee says of its hops.
func (o *options) arriveBack(call *graylib.Call, resp *protocol.Response, err error) {
	if err == nil && resp != nil {
		call.Return(graylib.HTTPKeys, responseCarrier{&resp.Header})
	}
}
