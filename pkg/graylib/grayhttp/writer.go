package grayhttp

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
)

// responseWriter calls before when the header is about to be written.
type responseWriter struct {
	http.ResponseWriter
	before func()
	wrote  bool
	status int
}

// as returns the writer with what else the one below it can: libraries ask for these, and take another way where they are absent.
// An answer of HTTP/1 can be a Hijacker, one of HTTP/2 a Pusher.
func (w *responseWriter) as() http.ResponseWriter {
	_, hijacks := w.ResponseWriter.(http.Hijacker)
	_, pushes := w.ResponseWriter.(http.Pusher)
	switch {
	case hijacks && pushes:
		return &struct {
			*responseWriter
			hijacker
			pusher
		}{w, hijacker{w}, pusher{w}}
	case hijacks:
		return &struct {
			*responseWriter
			hijacker
		}{w, hijacker{w}}
	case pushes:
		return &struct {
			*responseWriter
			pusher
		}{w, pusher{w}}
	}
	return w
}

// begin writes the header of an answer that has none yet.
func (w *responseWriter) begin() {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
}

// WriteHeader implements [http.ResponseWriter].
func (w *responseWriter) WriteHeader(code int) {
	final := code >= 200 || code == http.StatusSwitchingProtocols // other 1xx are sent ahead of the answer
	if final && !w.wrote {
		w.wrote, w.status = true, code
		w.before()
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements [http.ResponseWriter].
func (w *responseWriter) Write(b []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(b)
}

// ReadFrom implements [io.ReaderFrom]: a file is sent by the kernel where the connection can.
func (w *responseWriter) ReadFrom(r io.Reader) (n int64, err error) {
	if !w.wrote {
		// The header is written with the first bytes: where none come, what to answer is still open, as with net/http's own.
		n, err = io.CopyN(struct{ io.Writer }{w}, r, firstBytes)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	rest, err := io.Copy(w.ResponseWriter, r)
	return n + rest, err
}

const firstBytes = 512 // as many as net/http looks at for the content's type

// Flush implements [http.Flusher], where the connection can.
func (w *responseWriter) Flush() { _ = w.FlushError() }

// FlushError is for [http.ResponseController].
func (w *responseWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for [http.ResponseController]'s deadlines and full duplex. Flush and Hijack it finds here.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type hijacker struct{ w *responseWriter }

// Hijack implements [http.Hijacker]. What is written then is the application's; before its own answer (101 as a rule) it may take
// the answer's headers from the writer, as httputil.ReverseProxy does.
func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := h.w.ResponseWriter.(http.Hijacker).Hijack()
	if err == nil && !h.w.wrote {
		h.w.wrote, h.w.status = true, http.StatusSwitchingProtocols
		h.w.before()
	}
	return conn, rw, err
}

type pusher struct{ w *responseWriter }

// Push implements [http.Pusher].
func (p pusher) Push(target string, opts *http.PushOptions) error {
	return p.w.ResponseWriter.(http.Pusher).Push(target, opts)
}
