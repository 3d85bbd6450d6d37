package graylib

import "context"

// Telemetry is told of all that passes through a runtime's adapters: packages grayprom (metrics) and grayotel (traces)
// implement it. Methods are called on the request's path by many goroutines at once and must not block. Each that returns
// a context returns the one that the work goes on with, and a function, never nil, that is called once when the work has
// ended, maybe by another goroutine. Implementations embed [NoTelemetry], so that methods may be added here.
type Telemetry interface {
	// Arrived is told of a request or call that came in, before its handler; ctx is what [Runtime.Arrive] returned.
	Arrived(ctx context.Context, a Arriving) (context.Context, func(Outcome))
	// Departed is told of a call that goes out, before an instance is chosen; ctx is what [Runtime.Depart] returned. In the
	// end call says which reason it came to.
	Departed(ctx context.Context, call *Call, d Departing) (context.Context, func(Outcome))
	// Sent is told of messages that are about to be marked and sent at once; which ones and with what tags the outcome says.
	Sent(ctx context.Context, s Sending) (context.Context, func(Outcome))
	// Consumed is told of a message that is about to be given to its handler; ctx is what [Runtime.Arrive] returned.
	Consumed(ctx context.Context, c Consuming) (context.Context, func(Outcome))
	// Skipped is told of a message that is acknowledged without its handler. Its Hop says who did so, and no more.
	Skipped(c Consuming)
}

// Attacher is implemented by a [Telemetry] that wants to know its runtime. [New] calls it last, and fails where it does.
type Attacher interface {
	Attach(rt *Runtime) error
}

// Arriving is a request or call that came in.
type Arriving struct {
	Hop    Hop    // of this instance
	Method string // GET; for RPC the method
	Route  string // /users/:id, never the path itself; for RPC /Service/Method; empty where there is none
	Root   bool   // its trace was begun here, by [Enter]: what stands in the context as its parent is nobody's
	Stream bool
}

// Departing is a call that goes out.
type Departing struct {
	Endpoint string // the callee's name in the registry, or the host
	Protocol Protocol
	Method   string
	Route    string // for RPC /Service/Method
	Stream   bool
}

// Sending is one send of one message or a batch.
type Sending struct {
	Topic    string // of the first message
	Messages int
}

// Consuming is one message on the consumer's side.
type Consuming struct {
	Hop        Hop
	Group      string // the actual group
	Topic      string
	ID         string
	Queue      string // <broker name>/<queue number>
	Tag        Tag    // that the message bears; a malformed one counts as none
	Reason     string // why this member handles or skips it, one of a few; an [Event] has the same
	Deliveries int    // 1 = the first
}

// Outcome is how something ended. Fields that don't concern it are zero.
type Outcome struct {
	Err      error     // why it failed
	Status   int       // HTTP
	Route    string    // of an arrival whose route was known only afterwards
	Result   string    // of a consumed message: ResultSuccess, ResultRetry or ResultPanic
	Messages []Message // those sent; also where sending failed
}

// Failed tells whether an outcome counts as a failure: an error, an HTTP status of 500 and above, or a message that is
// delivered again.
func (o Outcome) Failed() bool {
	return o.Err != nil || o.Status >= 500 || o.Result != "" && o.Result != ResultSuccess
}

// NoTelemetry does nothing. Implementations of [Telemetry] embed it and add what they are for.
type NoTelemetry struct{}

var _ Telemetry = NoTelemetry{}

func noEnd(Outcome) {}

// Arrived implements [Telemetry].
func (NoTelemetry) Arrived(ctx context.Context, _ Arriving) (context.Context, func(Outcome)) {
	return ctx, noEnd
}

// Departed implements [Telemetry].
func (NoTelemetry) Departed(ctx context.Context, _ *Call, _ Departing) (context.Context, func(Outcome)) {
	return ctx, noEnd
}

// Sent implements [Telemetry].
func (NoTelemetry) Sent(ctx context.Context, _ Sending) (context.Context, func(Outcome)) {
	return ctx, noEnd
}

// Consumed implements [Telemetry].
func (NoTelemetry) Consumed(ctx context.Context, _ Consuming) (context.Context, func(Outcome)) {
	return ctx, noEnd
}

// Skipped implements [Telemetry].
func (NoTelemetry) Skipped(Consuming) {}

// WithTelemetry adds to who is told of what passes through; each is told, in this order, and of the end in the reverse
// order. The default is nobody, and costs a comparison. A nil one is left out.
func WithTelemetry(ts ...Telemetry) Option {
	return func(rt *Runtime) {
		for _, t := range ts {
			if t == nil {
				continue
			}
			rt.telemetryList = append(rt.telemetryList, t)
			rt.telemetry = t
		}
		if len(rt.telemetryList) > 1 {
			rt.telemetry = rt.telemetryList
		}
	}
}

// Telemetry returns who is told of what passes through, all of them as one, or nil. Adapters ask first and prepare
// nothing where it is nil.
func (rt *Runtime) Telemetry() Telemetry { return rt.telemetry }

// attach introduces the runtime to its telemetry.
func (rt *Runtime) attach() error {
	for _, t := range rt.telemetryList {
		if a, ok := t.(Attacher); ok {
			if err := a.Attach(rt); err != nil {
				return err
			}
		}
	}
	return nil
}

// telemetries are several as one.
type telemetries []Telemetry

// each asks all of them, first to last.
func (ts telemetries) each(ctx context.Context, ask func(context.Context, Telemetry) (context.Context, func(Outcome))) (context.Context, func(Outcome)) {
	ends := make([]func(Outcome), len(ts))
	for i, t := range ts {
		ctx, ends[i] = ask(ctx, t) //nolint:fatcontext // each adds to what the one before has: there are two or three
	}
	return ctx, func(o Outcome) {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i](o)
		}
	}
}

func (ts telemetries) Arrived(ctx context.Context, a Arriving) (context.Context, func(Outcome)) {
	return ts.each(ctx, func(ctx context.Context, t Telemetry) (context.Context, func(Outcome)) { return t.Arrived(ctx, a) })
}

func (ts telemetries) Departed(ctx context.Context, call *Call, d Departing) (context.Context, func(Outcome)) {
	return ts.each(ctx, func(ctx context.Context, t Telemetry) (context.Context, func(Outcome)) {
		return t.Departed(ctx, call, d)
	})
}

func (ts telemetries) Sent(ctx context.Context, s Sending) (context.Context, func(Outcome)) {
	return ts.each(ctx, func(ctx context.Context, t Telemetry) (context.Context, func(Outcome)) { return t.Sent(ctx, s) })
}

func (ts telemetries) Consumed(ctx context.Context, c Consuming) (context.Context, func(Outcome)) {
	return ts.each(ctx, func(ctx context.Context, t Telemetry) (context.Context, func(Outcome)) { return t.Consumed(ctx, c) })
}

func (ts telemetries) Skipped(c Consuming) {
	for _, t := range ts {
		t.Skipped(c)
	}
}

// Addr returns the address of the instance that Next returned last, or "".
func (c *Call) Addr() string {
	switch {
	case c.now != nil:
		return c.now.Addr
	case c.tried != nil: // and then nobody was left
		return (*c.tried)[len(*c.tried)-1]
	}
	return ""
}

// EjectionsOf returns how often this process ejected an instance since its start, by endpoint.
func (rt *Runtime) EjectionsOf() map[string]int64 {
	tables := rt.routes.load()
	n := make(map[string]int64, len(tables))
	for endpoint, t := range tables {
		n[endpoint] = t.Ejections()
	}
	return n
}

// WithTrace returns a context whose calls and messages bear the given W3C trace in place of the one that arrived. Tracers
// call it with a span of their own. A traceparent that isn't well formed leaves ctx as it is.
func WithTrace(ctx context.Context, traceParent, traceState string) context.Context {
	if traceID(traceParent) == "" {
		return ctx
	}
	m := *metaFrom(ctx)
	m.setTrace(traceParent, traceState)
	return withMeta(ctx, &m)
}

// TraceStateFrom returns the W3C tracestate that ctx carries, or "".
func TraceStateFrom(ctx context.Context) string { return metaFrom(ctx).further().state }

// SetTrace makes the call bear the given W3C trace, as [WithTrace] does for a context. It must come before the call's
// first Inject.
func (c *Call) SetTrace(traceParent, traceState string) {
	if traceID(traceParent) == "" {
		return
	}
	m := *c.meta
	m.setTrace(traceParent, traceState)
	c.meta = &m
}

func (m *meta) setTrace(traceParent, traceState string) {
	arrived := m.further().arrived
	if arrived == "" {
		arrived = m.traceParent
	}
	m.traceParent, m.trace = traceParent, &furtherTrace{state: printable(traceState, maxTraceState), arrived: arrived}
}

// injectTrace writes the trace, unless a tracer of the application's has written its own: that knows better. What only was
// handed on from the arrival (by a proxy, or by persistent metainfo) is nobody's own.
func (m *meta) injectTrace(keys *Keys, c Carrier) {
	if m.traceParent == "" {
		return
	}
	old, further := c.Get(keys.TraceParent), m.further()
	switch {
	case old == "":
		c.Set(keys.TraceParent, m.traceParent)
		if further.state != "" {
			c.Set(keys.TraceState, further.state)
		}
	case further.arrived != "" && old == further.arrived && old != m.traceParent:
		c.Set(keys.TraceParent, m.traceParent)
		c.Set(keys.TraceState, further.state) // the older one belongs to the older traceparent
	}
}
