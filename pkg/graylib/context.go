package graylib

import "context"

// meta is what a context carries for one request. It is immutable: a change makes a copy.
type meta struct {
	tag         Tag
	requestID   string
	traceParent string
	trace       *furtherTrace // nil: there is no more of it
	arrival     *Arrival      // that this context belongs to; nil outside of one
	local       bool          // the tag is not put on the wire: the lane colours from the node and says propagate: false
	detached    bool          // has left its arrival, see Detach
}

// furtherTrace is what few requests have of their trace. It is immutable.
type furtherTrace struct {
	state   string
	arrived string // the traceparent that arrived, where a tracer has put its own in its place
}

// further returns what there is of the trace beside the traceparent.
func (m *meta) further() furtherTrace {
	if m.trace == nil {
		return furtherTrace{}
	}
	return *m.trace
}

type metaKey struct{}

var noMeta = &meta{}

func metaFrom(ctx context.Context) *meta {
	if m, ok := ctx.Value(metaKey{}).(*meta); ok {
		return m
	}
	return noMeta
}

// arrived tells whether the context arrived from somewhere: nothing colours it from the node any more.
func (m *meta) arrived() bool { return m.arrival != nil || m.detached }

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
	if m.tag == tag && !m.local {
		return ctx
	}
	c := *m
	c.tag, c.local = tag, false
	return withMeta(ctx, &c)
}

// RequestIDFrom returns the id that the gateway gave the request, or "".
func RequestIDFrom(ctx context.Context) string { return metaFrom(ctx).requestID }

// WithRequestID returns a context with the given request id. An id that can't go over every carrier (longer than 128
// bytes, or other than visible ASCII and spaces) is taken as none.
func WithRequestID(ctx context.Context, id string) context.Context {
	c := *metaFrom(ctx)
	c.requestID = printable(id, maxRequestID)
	return withMeta(ctx, &c)
}

// TraceParentFrom returns the W3C traceparent that ctx carries, or "".
func TraceParentFrom(ctx context.Context) string { return metaFrom(ctx).traceParent }

// TraceIDFrom returns the trace id of ctx's traceparent as 32 hexadecimal digits, or "".
func TraceIDFrom(ctx context.Context) string { return traceID(metaFrom(ctx).traceParent) }

// traceID returns the trace id of a traceparent that is well formed and fits every carrier, else "".
func traceID(traceParent string) string {
	// version "-" trace-id "-" parent-id "-" flags, all lower-case hexadecimal; version ff and ids of zeros are invalid, and
	// only versions after 00 may go on: https://www.w3.org/TR/trace-context/#traceparent-header
	const length, noTrace, noParent = 55, "00000000000000000000000000000000", "0000000000000000"
	s := traceParent
	switch {
	case len(s) < length, s[2] != '-', s[35] != '-', s[52] != '-':
		return ""
	case len(s) > length && (s[:2] == "00" || s[length] != '-' || printable(s, maxTraceParent) == ""):
		return ""
	case !lowerHex(s[:2]), !lowerHex(s[3:35]), !lowerHex(s[36:52]), !lowerHex(s[53:length]):
		return ""
	case s[:2] == "ff", s[3:35] == noTrace, s[36:52] == noParent:
		return ""
	}
	return s[3:35]
}
