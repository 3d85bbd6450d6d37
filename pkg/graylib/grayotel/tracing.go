package grayotel

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/graychain/graychain/pkg/graylib"
)

// ScopeName is the name of the tracer.
const ScopeName = "github.com/graychain/graychain/pkg/graylib/grayotel"

// Our own attributes, beside those of the semantic conventions. An untagged request or instance has no such attribute.
const (
	TagKey      = attribute.Key("graychain.tag")      // the request's or message's
	OwnTagKey   = attribute.Key("graychain.own_tag")  // the instance's
	ReasonKey   = attribute.Key("graychain.reason")   // why this instance
	InstanceKey = attribute.Key("graychain.instance") // its name
	RequestKey  = attribute.Key("graychain.request_id")
	VerdictKey  = attribute.Key("graychain.message.verdict") // why this member handles the message
	ResultKey   = attribute.Key("graychain.message.result")  // success, retry or panic
)

// Option sets one thing of a [Tracing].
type Option func(*Tracing)

// WithTracerProvider sets whose tracer makes the spans. The default is the process-wide one, [otel.GetTracerProvider], as it
// is when [New] is called or, set later, from then on.
func WithTracerProvider(p trace.TracerProvider) Option { return func(t *Tracing) { t.provider = p } }

// WithoutSpans makes no spans, for applications with instrumentation of their own: the span that is in the context gets the
// attributes, and calls and messages bear its trace.
func WithoutSpans() Option { return func(t *Tracing) { t.without = true } }

// Tracing is the telemetry that makes spans. It may serve several runtimes, and is safe for concurrent use.
type Tracing struct {
	graylib.NoTelemetry
	provider trace.TracerProvider
	tracer   trace.Tracer
	without  bool
}

var _ graylib.Telemetry = (*Tracing)(nil)

// New makes tracing, see [graylib.WithTelemetry].
func New(opts ...Option) *Tracing {
	t := &Tracing{}
	for _, o := range opts {
		o(t)
	}
	if t.provider == nil {
		t.provider = otel.GetTracerProvider()
	}
	t.tracer = t.provider.Tracer(ScopeName, trace.WithSchemaURL(semconv.SchemaURL))
	return t
}

func noEnd(graylib.Outcome) {}

// w3c is the wire's form of a span's context, whatever propagator the process has.
var w3c propagation.TraceContext

const (
	traceParent = "traceparent"
	traceState  = "tracestate"
)

// w3cOf renders the wire's form of ctx's span.
func w3cOf(ctx context.Context) (parent, state string) {
	c := propagation.MapCarrier{}
	w3c.Inject(ctx, c)
	return c[traceParent], c[traceState]
}

// within returns ctx with the span that arrived as the parent of what is begun in it; ctx itself where it has a span
// already, or where nothing arrived.
func within(ctx context.Context) context.Context {
	parent := graylib.TraceParentFrom(ctx)
	if parent == "" || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return w3c.Extract(ctx, propagation.MapCarrier{traceParent: parent, traceState: graylib.TraceStateFrom(ctx)})
}

// current returns the application's own span in ctx, or nil where there is none.
func current(ctx context.Context) trace.Span {
	s := trace.SpanFromContext(ctx)
	if sc := s.SpanContext(); !sc.IsValid() || sc.IsRemote() {
		return nil
	}
	return s
}

// carry returns ctx in which calls and messages bear its span's trace.
func carry(ctx context.Context) context.Context {
	parent, state := w3cOf(ctx)
	return graylib.WithTrace(ctx, parent, state)
}

// Arrived implements [graylib.Telemetry].
func (t *Tracing) Arrived(ctx context.Context, a graylib.Arriving) (context.Context, func(graylib.Outcome)) {
	if s := current(ctx); s != nil || t.without {
		return t.join(ctx, s, a.Hop)
	}
	attrs := append(hopAttributes(ctx, a.Hop), operation(a.Hop.Protocol, a.Method, a.Route)...)
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attrs...)}
	if a.Root {
		opts = append(opts, trace.WithNewRoot())
	} else {
		ctx = within(ctx)
	}
	ctx, span := t.tracer.Start(ctx, name(a.Hop.Protocol, a.Method, a.Route), opts...)
	return carry(ctx), func(o graylib.Outcome) {
		if a.Route == "" && o.Route != "" {
			span.SetName(name(a.Hop.Protocol, a.Method, o.Route))
			span.SetAttributes(semconv.HTTPRoute(o.Route))
		}
		end(span, o, 500)
	}
}

// join adds to the application's own span.
func (*Tracing) join(ctx context.Context, s trace.Span, h graylib.Hop) (context.Context, func(graylib.Outcome)) {
	if s == nil {
		return ctx, noEnd
	}
	s.SetAttributes(hopAttributes(ctx, h)...)
	return carry(ctx), noEnd
}

// Departed implements [graylib.Telemetry].
func (t *Tracing) Departed(ctx context.Context, call *graylib.Call, d graylib.Departing) (context.Context, func(graylib.Outcome)) {
	if t.without {
		if s := current(ctx); s != nil {
			call.SetTrace(w3cOf(ctx))
		}
		return ctx, noEnd
	}
	attrs := append(operation(d.Protocol, d.Method, d.Route), semconv.ServerAddress(d.Endpoint))
	if tag := call.Tag(); tag != graylib.Untagged {
		attrs = append(attrs, TagKey.String(string(tag)))
	}
	target := d.Route
	if target == "" {
		target = d.Endpoint
	}
	ctx, span := t.tracer.Start(within(ctx), name(d.Protocol, d.Method, target),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	call.SetTrace(w3cOf(ctx))
	return ctx, func(o graylib.Outcome) {
		if reason := call.Reason(); reason != "" {
			span.SetAttributes(ReasonKey.String(string(reason)), semconv.NetworkPeerAddress(call.Addr()))
		}
		end(span, o, 400)
	}
}

// Sent implements [graylib.Telemetry].
func (t *Tracing) Sent(ctx context.Context, s graylib.Sending) (context.Context, func(graylib.Outcome)) {
	if t.without {
		if s := current(ctx); s != nil {
			return carry(ctx), noEnd
		}
		return ctx, noEnd
	}
	attrs := []attribute.KeyValue{
		semconv.MessagingSystemRocketMQ, semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("send"),
		semconv.MessagingDestinationName(s.Topic),
	}
	if s.Messages > 1 {
		attrs = append(attrs, semconv.MessagingBatchMessageCount(s.Messages))
	}
	ctx, span := t.tracer.Start(within(ctx), "send "+s.Topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
	return carry(ctx), func(o graylib.Outcome) {
		if len(o.Messages) == 1 {
			span.SetAttributes(semconv.MessagingMessageID(o.Messages[0].ID))
		}
		if len(o.Messages) > 0 && o.Messages[0].Tag != graylib.Untagged {
			span.SetAttributes(TagKey.String(string(o.Messages[0].Tag)))
		}
		end(span, o, 500)
	}
}

// Consumed implements [graylib.Telemetry].
func (t *Tracing) Consumed(ctx context.Context, c graylib.Consuming) (context.Context, func(graylib.Outcome)) {
	if s := current(ctx); s != nil || t.without {
		return t.join(ctx, s, c.Hop)
	}
	attrs := append(hopAttributes(ctx, c.Hop),
		semconv.MessagingSystemRocketMQ, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"),
		semconv.MessagingDestinationName(c.Topic), semconv.MessagingConsumerGroupName(c.Group), semconv.MessagingMessageID(c.ID),
		semconv.MessagingDestinationPartitionID(c.Queue), attribute.Int("messaging.rocketmq.delivery_attempt", c.Deliveries),
		VerdictKey.String(c.Reason),
	)
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...)}
	ctx = within(ctx)
	if producer := trace.SpanContextFromContext(ctx); producer.IsValid() {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: producer}))
	}
	ctx, span := t.tracer.Start(ctx, "process "+c.Topic, opts...)
	return carry(ctx), func(o graylib.Outcome) {
		if o.Result != "" {
			span.SetAttributes(ResultKey.String(o.Result))
		}
		end(span, o, 500)
	}
}

// end ends a span. HTTP statuses from least on are errors: a client's from 400, a server's from 500.
func end(span trace.Span, o graylib.Outcome, least int) {
	defer span.End()
	if o.Status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(o.Status))
	}
	switch {
	case o.Err != nil:
		span.SetAttributes(semconv.ErrorType(o.Err))
		span.SetStatus(codes.Error, o.Err.Error())
	case o.Status >= least:
		span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(o.Status)))
		span.SetStatus(codes.Error, "")
	case o.Failed():
		span.SetAttributes(semconv.ErrorTypeKey.String(o.Result))
		span.SetStatus(codes.Error, "")
	}
}
