package grayhertz

import (
	"context"
	"net"
	"net/http"

	"github.com/cloudwego/hertz/pkg/app"

	"github.com/graychain/graychain/pkg/graylib"
)

type arrivedKey struct{}

// arrival is the context that a request is served in, and all that belongs to it: one allocation does.
type arrival struct {
	graylib.Arrived
	c *app.RequestContext // to know it by; it is used again after the request
}

// Value implements [context.Context].
func (a *arrival) Value(key any) any {
	if _, ok := key.(arrivedKey); ok {
		return a.c
	}
	return a.Arrived.Value(key)
}

// ServerMiddleware returns the middleware that takes in each request's tag, request id and trace, and writes the chain's
// hops into the answer. It also answers GET [graylib.StatusPath] and [graylib.ReadyPath]. It belongs before the routes
// are added, and behind nothing but recovery. Where the process-wide default can't be built, every request is answered 500
// with the reason; [WrapServer] refuses to start instead.
func ServerMiddleware(opts ...Option) app.HandlerFunc {
	o, err := apply(opts)
	if err != nil {
		text := "graylib: " + err.Error()
		return func(_ context.Context, c *app.RequestContext) {
			c.String(http.StatusInternalServerError, "%s", text)
			c.Abort()
		}
	}
	return o.serve
}

func (o *options) serve(ctx context.Context, c *app.RequestContext) {
	if ctx.Value(arrivedKey{}) == c {
		c.Next(ctx)
		return
	}
	if o.answerStatus(c) {
		c.Abort()
		return
	}
	o.drainer.begin()
	defer func() { o.drainer.end(&c.Response) }()
	request := requestCarrier{&c.Request.Header}
	root := false
	if o.edge {
		root = o.rt.Admit(request, graylib.Outside{
			Peer: peerIP(c), Method: string(c.Method()), Path: string(c.Request.URI().PathOriginal()),
		})
	}
	in := &arrival{c: c}
	in.Context = ctx
	if o.proxies.Any() {
		in.Context = graylib.WithClientIP(ctx, o.clientIP(c))
	} else {
		in.SetClientAddr(c.RemoteAddr())
	}
	o.rt.ArriveIn(&in.Arrived, graylib.ProtocolHTTP, &graylib.HTTPKeys, request)
	arrival := in.Arrival()
	ctx = in

	status := http.StatusInternalServerError // what recovery makes of a panic
	if t := o.rt.Telemetry(); t != nil {
		var ended func(graylib.Outcome)
		ctx, ended = t.Arrived(ctx, graylib.Arriving{
			Hop: arrival.Hop(), Method: string(c.Method()), Route: c.FullPath(), Root: root,
		})
		defer func() { ended(graylib.Outcome{Status: status}) }()
	}
	defer func() {
		if o.edge {
			o.leave(ctx, c, arrival, status)
			return
		}
		arrival.Return(graylib.HTTPKeys, responseCarrier{&c.Response.Header})
	}()
	c.Next(ctx)
	status = c.Response.StatusCode()
}

// answerStatus answers what every gray-aware server answers of itself.
func (o *options) answerStatus(c *app.RequestContext) bool {
	if !c.IsGet() {
		return false
	}
	switch string(c.Path()) {
	case graylib.StatusPath:
		c.JSON(http.StatusOK, o.rt.Status())
	case graylib.ReadyPath:
		s := o.rt.Status()
		code := http.StatusOK
		if !s.Ready {
			code = http.StatusServiceUnavailable
		}
		c.JSON(code, ready{Ready: s.Ready, NotReady: s.NotReady})
	default:
		return false
	}
	return true
}

// ready is the answer of [graylib.ReadyPath].
type ready struct {
	Ready    bool     `json:"ready"`
	NotReady []string `json:"notReady,omitempty"`
}

// leave closes a chain where it came in: what the hops said goes to the observer, not outside.
func (o *options) leave(ctx context.Context, c *app.RequestContext, arrival *graylib.Arrival, status int) {
	response := responseCarrier{&c.Response.Header}
	response.Set(graylib.HTTPKeys.Hops, "")
	response.Set(graylib.HTTPKeys.Messages, "")
	response.Set(graylib.HTTPKeys.RequestID, graylib.RequestIDFrom(ctx))
	hops, messages := arrival.Chain()
	o.rt.Report(graylib.Event{
		Kind: graylib.EventChain, RequestID: graylib.RequestIDFrom(ctx), Trace: graylib.TraceIDFrom(ctx),
		RequestTag: graylib.ChainTag(hops), Status: status, Hops: hops, Messages: messages,
	})
}

// clientIP returns the address of who sent the request, as far as trusted proxies tell.
func (o *options) clientIP(c *app.RequestContext) string {
	return o.proxies.ClientIP(c.RemoteAddr().String(), func() []string {
		return requestCarrier{&c.Request.Header}.Values(graylib.ForwardedHeader)
	})
}

// peerIP returns the address of the direct peer, or "".
func peerIP(c *app.RequestContext) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}
