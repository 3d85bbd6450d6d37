package graykitex

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/rpcinfo/remoteinfo"
	"github.com/cloudwego/kitex/pkg/streaming"

	"github.com/graychain/graychain/pkg/graylib"
)

// send is the client's inner middleware: it comes after an instance was picked. It goes on with the next instance
// itself: Kitex's own loop ends after six, and would not reach the baseline behind a lane with more dead instances.
func (c *clientSide) send(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, req, resp interface{}) error {
		d, direct := ctx.(*departure)
		if !direct { // a middleware of the application's has made a context of its own
			d = departureFrom(ctx)
			switch {
			case d == nil:
				return next(ctx, req, resp)
			case d.ri != rpcinfo.GetRPCInfo(ctx): // and the RPCInfo anew: its call is carried, and not tried again
				return next(inject(ctx, d.Call()), req, resp)
			}
		}
		ri := d.ri
		_, isStream := resp.(*streaming.Result)
		repeatable := !isStream && c.idempotent != nil && c.idempotent[ri.Invocation().MethodName()]
		for {
			how, err := c.try(ctx, d, isStream, repeatable, next, req, resp)
			if how == answered {
				return err
			}
			if d.table == nil || ctx.Err() != nil || how != notConnected && !repeatable {
				return err
			}
			d.further().lastDial = err
			in, _, nextErr := d.Call().Next(d.table)
			if nextErr != nil {
				d.further().noInstance = nextErr
				// Not as a cause: Kitex would try on.
				return kerrors.ErrNoMoreInstance.WithCause(fmt.Errorf("%w; last: %s", nextErr, err.Error()))
			}
			remoteinfo.AsRemoteInfo(ri.To()).SetInstance(instance{in})
		}
	}
}

// tryEnd is how a try ended.
type tryEnd int

const (
	answered     tryEnd = iota // or made, for a stream
	notConnected               // nothing was sent
	unanswered                 // in time, or because the connection broke
)

// try makes one try with the instance that is set, and tells the call how it ended.
func (c *clientSide) try(ctx context.Context, d *departure, isStream, repeatable bool, next endpoint.Endpoint, req, resp any) (tryEnd, error) {
	ri, parent := d.ri, ctx
	if repeatable && c.tryTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = withTryTimeout(ctx, ri, c.tryTimeout)
		defer cancel()
	} else if stop := d.watchDeadline(ctx, ri); stop != nil {
		defer stop()
	}
	var out context.Context
	if d.direct {
		out = d.straight(ctx)
	} else {
		out = inject(ctx, d.Call())
	}
	err := next(out, req, resp)
	if err == nil {
		if d.table != nil && !isStream && !oneWay(ri) { // how a stream goes on is seen by its events, and of a call without an answer nobody has said anything
			d.Call().Answered()
		}
		return answered, nil
	}
	switch {
	case !timedOut(err) && fromCallee(err):
		d.Call().Answered()
		return answered, err
	case errors.Is(err, kerrors.ErrGetConnection):
		d.Call().NotConnected()
		return notConnected, err
	case isStream && graylib.DialFailed(err):
		// Kitex says of calls that a connection couldn't be made, and tries the next instance; of TTHeader streams it doesn't
		// say.
		d.Call().NotConnected()
		return notConnected, kerrors.ErrGetConnection.WithCause(err)
	case errors.Is(parent.Err(), context.Canceled):
	case timedOut(err), errors.Is(ctx.Err(), context.DeadlineExceeded):
		d.Call().TimedOut()
	default:
		d.Call().Ended(err)
	}
	return unanswered, err
}

// oneWay tells whether a call has no answer.
func oneWay(ri rpcinfo.RPCInfo) bool {
	m := ri.Invocation().MethodInfo()
	return m != nil && m.OneWay()
}

// fromCallee tells whether it is the callee who said that a call failed.
func fromCallee(err error) bool {
	var said *remote.TransError
	return errors.As(err, &said)
}

func timedOut(err error) bool {
	return kerrors.IsTimeoutError(err) || errors.Is(err, kerrors.ErrStreamingTimeout) || errors.Is(err, context.DeadlineExceeded)
}

// withTryTimeout bounds one try: by the timeout of a copy of the call's settings, which the transports go by, and by the
// context, which gRPC does.
func withTryTimeout(ctx context.Context, ri rpcinfo.RPCInfo, timeout time.Duration) (context.Context, context.CancelFunc) {
	from := ri.Config()
	if set := from.RPCTimeout(); set > 0 {
		timeout = min(timeout, set)
	}
	config := rpcinfo.NewRPCConfig() // and no clone of the call's, whose timeout may be locked
	to := rpcinfo.AsMutableRPCConfig(config)
	_ = to.SetRPCTimeout(timeout) // a new one has no locks
	_ = to.SetConnectTimeout(min(timeout, from.ConnectTimeout()))
	_ = to.SetReadWriteTimeout(from.ReadWriteTimeout())
	_ = to.SetIOBufferSize(from.IOBufferSize())
	_ = to.SetTransportProtocol(from.TransportProtocol())
	_ = to.SetInteractionMode(from.InteractionMode())
	to.SetPayloadCodec(from.PayloadCodec())
	ctx = rpcinfo.NewCtxWithRPCInfo(ctx, rpcinfo.NewRPCInfo(ri.From(), ri.To(), ri.Invocation(), config, ri.Stats()))
	return context.WithTimeout(ctx, timeout)
}

// watchDeadline counts a timeout when the call's context ends long before the transport gives up: that goes by
// client.WithRPCTimeout alone, and without one waits for ever. It returns nil where there is nothing to watch.
func (d *departure) watchDeadline(ctx context.Context, ri rpcinfo.RPCInfo) (stop func() bool) {
	if d.table == nil {
		return nil
	}
	deadline, ok := ctx.Deadline()
	if timeout := ri.Config().RPCTimeout(); !ok || timeout > 0 && time.Until(deadline) > timeout/2 {
		return nil
	}
	call := d.Call()
	return context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			call.Overdue()
		}
	})
}

// streamEnded notes how a stream ended. Where something came of it before, there is nothing to note.
func (d *departure) streamEnded(ctx context.Context, err error, trailer bool) {
	switch {
	case trailer:
		d.Call().Answered()
	case timedOut(err), errors.Is(ctx.Err(), context.DeadlineExceeded):
		d.Call().Overdue()
	case time.Since(d.further().streamBegan) >= streamSilence:
		// Where a caller's deadline is what ends a stream, the service in the middle sees a cancellation.
		d.Call().GivenUp()
	}
}

// streamSilence is how long nothing must have come of a stream for its end to say something of the instance.
const streamSilence = time.Second
