package graylib

import (
	"context"
	"log/slog"
	"slices"
)

// The keys of what a record of [NewLogHandler] bears where its context belongs to a request or message.
const (
	LogKeyTag       = "tag"       // the request's or message's; absent = untagged
	LogKeyRequestID = "requestId" //
	LogKeyTraceID   = "traceId"   // 32 hexadecimal digits
)

// NewLogHandler returns a handler that adds the tag, the request id and the trace id of a record's context to the record
// and hands it to next: slog.New(graylib.NewLogHandler(h)). They stand at the top level of a record, also where the logger
// has opened groups. A record without a context, or with one that belongs to no request, is handed on as it is.
func NewLogHandler(next slog.Handler) slog.Handler { return logHandler{next: next} }

// logHandler keeps groups to itself, as what next's groups hold can't be left again.
type logHandler struct {
	next   slog.Handler
	groups []logGroup // opened by WithGroup, outermost first
}

type logGroup struct {
	name  string
	attrs []slog.Attr // given after it was opened
}

// Enabled implements [slog.Handler].
func (h logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle implements [slog.Handler].
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	m := noMeta
	if ctx != nil {
		m = metaFrom(ctx)
	}
	trace := traceID(m.traceParent)
	if len(h.groups) > 0 {
		r = h.grouped(r)
	} else if m.tag != Untagged || m.requestID != "" || trace != "" {
		r = r.Clone()
	}
	addNonEmpty(&r, LogKeyTag, string(m.tag))
	addNonEmpty(&r, LogKeyRequestID, m.requestID)
	addNonEmpty(&r, LogKeyTraceID, trace)
	return h.next.Handle(ctx, r)
}

func addNonEmpty(r *slog.Record, key, value string) {
	if value != "" {
		r.AddAttrs(slog.String(key, value))
	}
}

// grouped returns the record with its attributes inside of the open groups.
func (h logHandler) grouped(r slog.Record) slog.Record {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	attrs := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	for _, g := range slices.Backward(h.groups) {
		attrs = []slog.Attr{{Key: g.name, Value: slog.GroupValue(slices.Concat(g.attrs, attrs)...)}}
	}
	out.AddAttrs(attrs...)
	return out
}

// WithAttrs implements [slog.Handler].
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.groups) == 0 {
		return logHandler{next: h.next.WithAttrs(attrs)}
	}
	groups := slices.Clone(h.groups)
	last := &groups[len(groups)-1]
	last.attrs = slices.Concat(last.attrs, attrs)
	return logHandler{next: h.next, groups: groups}
}

// WithGroup implements [slog.Handler].
func (h logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return logHandler{next: h.next, groups: append(slices.Clip(h.groups), logGroup{name: name})}
}
