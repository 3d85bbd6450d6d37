// Package logs sends what a service and its frameworks log through one slog handler. Each record says which service and
// own tag it comes from; one that belongs to a request says which tag, request and trace.
package logs

import (
	"context"
	"io"
	"log/slog"

	"github.com/graychain/graychain/pkg/graylib"
)

// The keys of what every record bears, and of what records of a request bear beside it.
const (
	KeyService   = "service"
	KeyOwnTag    = "ownTag" // empty = baseline
	KeyTag       = "tag"    // the request's or message's; absent = untagged
	KeyRequestID = "requestId"
	KeyTraceID   = "traceId"
)

// New returns a logger to w, as JSON or text, at the level, for an instance.
func New(w io.Writer, asJSON bool, level slog.Leveler, id graylib.Identity) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if asJSON {
		h = slog.NewJSONHandler(w, opts)
	}
	h = h.WithAttrs([]slog.Attr{slog.String(KeyService, id.Service), slog.String(KeyOwnTag, string(id.Tag))})
	return slog.New(handler{h})
}

// handler adds what the record's context knows of its request.
type handler struct{ next slog.Handler }

func (h handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if ctx != nil {
		r = r.Clone()
		add(&r, KeyTag, string(graylib.TagFrom(ctx)))
		add(&r, KeyRequestID, graylib.RequestIDFrom(ctx))
		add(&r, KeyTraceID, graylib.TraceIDFrom(ctx))
	}
	return h.next.Handle(ctx, r)
}

func add(r *slog.Record, key, value string) {
	if value != "" {
		r.AddAttrs(slog.String(key, value))
	}
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler { return handler{h.next.WithAttrs(attrs)} }

func (h handler) WithGroup(name string) slog.Handler { return handler{h.next.WithGroup(name)} }
