package grayhttp

import (
	"context"
	"encoding/json"
	"net"
	"net/http"

	"github.com/graychain/graychain/pkg/graylib"
)

type arrivedKey struct{}

// Handler wraps next so that each request's tag, request id and trace are in its context, and the hops so far stand
// in the answer's headers when the first byte is written. It also answers GET [graylib.StatusPath] and
// [graylib.ReadyPath]. Where the process-wide default can't be built, every request is answered 500 with the reason.
func Handler(next http.Handler, opts ...Option) http.Handler {
	o, err := apply(opts)
	if err != nil {
		text := "graylib: " + err.Error()
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, text, http.StatusInternalServerError)
		})
	}
	return &handler{options: o, next: next}
}

type handler struct {
	*options
	next http.Handler
}

// ServeHTTP implements [http.Handler].
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Context().Value(arrivedKey{}) == h.rt {
		h.next.ServeHTTP(w, r)
		return
	}
	if h.answerStatus(w, r) {
		return
	}
	in := headers{graylib.HeaderCarrier(r.Header)}
	root := false
	if h.edge {
		peer, _, _ := net.SplitHostPort(r.RemoteAddr)
		root = h.rt.Admit(in, graylib.Outside{Peer: peer, Method: r.Method, Path: r.URL.EscapedPath()})
	}
	ctx := context.WithValue(r.Context(), arrivedKey{}, h.rt)
	ctx = graylib.WithClientIP(ctx, h.rt.Config().TrustedProxies.ClientIP(r.RemoteAddr, func() []string { return r.Header.Values(graylib.ForwardedHeader) }))
	ctx, arrival := h.rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, in)
	out := &responseWriter{ResponseWriter: w, status: http.StatusOK}
	out.before = func() {
		c := graylib.HeaderCarrier(w.Header())
		if h.edge {
			c.Set(graylib.HTTPKeys.Hops, "")
			c.Set(graylib.HTTPKeys.Messages, "")
			c.Set(graylib.HTTPKeys.RequestID, graylib.RequestIDFrom(ctx))
			return
		}
		arrival.Return(graylib.HTTPKeys, c)
	}
	ended := false
	served := r // as next has it: ServeMux writes the pattern into it
	if t := h.rt.Telemetry(); t != nil {
		var done func(graylib.Outcome)
		ctx, done = t.Arrived(ctx, graylib.Arriving{Hop: arrival.Hop(), Method: r.Method, Route: r.Pattern, Root: root})
		defer func() { done(graylib.Outcome{Status: out.status, Route: served.Pattern}) }()
	}
	defer func() {
		if !ended {
			out.status = http.StatusInternalServerError // a panic, which net/http logs and cuts the connection for
		} else if !out.wrote {
			out.before()
		}
		if h.edge {
			hops, messages := arrival.Chain()
			h.rt.Report(graylib.Event{
				Kind: graylib.EventChain, RequestID: graylib.RequestIDFrom(ctx), Trace: graylib.TraceIDFrom(ctx),
				RequestTag: graylib.ChainTag(hops), Status: out.status, Hops: hops, Messages: messages,
			})
		}
	}()
	served = r.WithContext(ctx)
	h.next.ServeHTTP(out.as(), served)
	ended = true
}

// answerStatus answers what every gray-aware server answers of itself.
func (h *handler) answerStatus(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	status := h.rt.Status
	switch r.URL.Path {
	case graylib.StatusPath:
		writeJSON(w, http.StatusOK, status())
	case graylib.ReadyPath:
		s := status()
		code := http.StatusOK
		if !s.Ready {
			code = http.StatusServiceUnavailable
		}
		writeJSON(w, code, ready{Ready: s.Ready, NotReady: s.NotReady})
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

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // fails where the client is gone
}

// headers is graylib's HeaderStripper over net/http's headers.
type headers struct{ graylib.HeaderCarrier }

// Names implements [graylib.HeaderStripper].
func (h headers) Names(yield func(name string) bool) {
	for name := range h.HeaderCarrier {
		if !yield(name) {
			return
		}
	}
}

// Remove implements [graylib.HeaderStripper].
func (h headers) Remove(name string) { delete(h.HeaderCarrier, name) }
