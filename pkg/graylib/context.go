package graylib

import "context"

// meta is what a context carries for one request. It is immutable: a change makes a copy.
type meta struct {
	tag         Tag
	requestID   string
	traceParent string
	traceState  string
	recorder    *recorder // of the arrival that this context belongs to; nil outside of one
}

type metaKey struct{}

var noMeta = &meta{}

func metaFrom(ctx context.Context) *meta {
	if m, ok := ctx.Value(metaKey{}).(*meta); ok {
		return m
	}
	return noMeta
}

func withMeta(ctx context.Context, m *meta) context.Context {
	return context.WithValue(ctx, metaKey{}, m)
}

// TagFrom returns the tag of the request or message that ctx belongs to, or [Untagged].
func TagFrom(ctx context.Context) Tag { return metaFrom(ctx).tag }

// WithTag returns a context with the given tag in place of ctx's. Adapters and tests use it; business code has no
// reason to (G10). A tag that isn't valid is taken as [Untagged], so that no bad value gets onto the wire.
func WithTag(ctx context.Context, tag Tag) context.Context {
	m := metaFrom(ctx)
	if !tag.Valid() {
		tag = Untagged
	}
	if m.tag == tag {
		return ctx
	}
	c := *m
	c.tag = tag
	return withMeta(ctx, &c)
}

// RequestIDFrom returns the id that the gateway gave the request, or "".
func RequestIDFrom(ctx context.Context) string { return metaFrom(ctx).requestID }

// WithRequestID returns a context with the given request id.
func WithRequestID(ctx context.Context, id string) context.Context {
	c := *metaFrom(ctx)
	c.requestID = id
	return withMeta(ctx, &c)
}

// TraceParentFrom returns the W3C traceparent that ctx carries, or "".
func TraceParentFrom(ctx context.Context) string { return metaFrom(ctx).traceParent }

// TraceIDFrom returns the trace id of ctx's traceparent as 32 hexadecimal digits, or "".
func TraceIDFrom(ctx context.Context) string { return traceID(metaFrom(ctx).traceParent) }

func traceID(traceParent string) string {
	// version "-" trace-id "-" parent-id "-" flags; https://www.w3.org/TR/trace-context/#traceparent-header
	if len(traceParent) < 55 || traceParent[2] != '-' || traceParent[35] != '-' {
		return ""
	}
	return traceParent[3:35]
}
