// Package logs sends what a service and its frameworks log through one slog handler. Each record says which service and
// own tag it comes from; one that belongs to a request says which tag, request and trace.
package logs

import (
	"io"
	"log/slog"

	"github.com/graychain/graychain/pkg/graylib"
)

// The keys of what every record bears; those of records of a request are graylib's.
const (
	KeyService = "service"
	KeyOwnTag  = "ownTag" // empty = baseline
)

// New returns a logger to w, as JSON or text, at the level, for an instance.
func New(w io.Writer, asJSON bool, level slog.Leveler, id graylib.Identity) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(w, opts)
	if asJSON {
		h = slog.NewJSONHandler(w, opts)
	}
	h = h.WithAttrs([]slog.Attr{slog.String(KeyService, id.Service), slog.String(KeyOwnTag, string(id.Tag))})
	return slog.New(graylib.NewLogHandler(h))
}
