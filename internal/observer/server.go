package observer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Limits of what is posted and asked.
const (
	// MaxLine is the longest line taken: an event bears at most 64 hops and 64 messages of about 200 bytes each.
	MaxLine = 64 << 10
	// MaxBody is the longest body taken: the services' reporter sends at most 512 events at once.
	MaxBody = 32 << 20
	// MaxWait is the longest time that a question may wait for its answer.
	MaxWait = 60 * time.Second
	// maxNamed is how many refused lines an answer names.
	maxNamed = 20
)

// Posted is the answer to POST /v1/events. Good lines are taken even where others are refused.
type Posted struct {
	Accepted int       `json:"accepted"`
	Repeated int       `json:"repeated"` // known eventIds: taken before
	Refused  []BadLine `json:"refused,omitempty"`
	// RefusedTotal counts also those that Refused doesn't name, after its first twenty.
	RefusedTotal int `json:"refusedTotal,omitempty"`
}

// BadLine is a refused line: its number, from 1, and why.
type BadLine struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// Handler returns the observer's HTTP interface over a store:
//
//	POST /v1/events                  NDJSON, one graylib.Event a line, idempotent by eventId; 200, or 400 with the
//	                                 numbers of the refused lines: the good ones are kept then too
//	GET  /v1/loops/{requestId}       a Loop; 404 where nothing is known. ?wait=10s waits for the chain
//	GET  /v1/messages/{id}           a Message; 404 where nothing is known. ?wait=10s waits until a handler acknowledged it
//	GET  /v1/counts                  Counts
func Handler(s *Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+graylib.ObserverPath, s.postEvents)
	mux.HandleFunc("GET /v1/loops/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel, ok := WaitContext(w, r)
		if !ok {
			return
		}
		defer cancel()
		id := r.PathValue("id")
		loop, _ := s.WaitLoop(ctx, id, func(l Loop) bool { return l.Chain != nil }) // in vain: what is known then is the answer
		if loop.Chain == nil && len(loop.Messages) == 0 {
			Fail(w, http.StatusNotFound, fmt.Errorf("request %q: nothing is known of it", clip(id)))
			return
		}
		Reply(w, http.StatusOK, loop)
	})
	mux.HandleFunc("GET /v1/messages/{id}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel, ok := WaitContext(w, r)
		if !ok {
			return
		}
		defer cancel()
		id := r.PathValue("id")
		var m Message
		var known bool
		_ = s.Wait(ctx, func() bool { // in vain: what is known then is the answer
			m, known = s.Message(id)
			return len(m.Handled()) > 0
		})
		if !known {
			Fail(w, http.StatusNotFound, fmt.Errorf("message %q: nothing is known of it", clip(id)))
			return
		}
		Reply(w, http.StatusOK, m)
	})
	mux.HandleFunc("GET /v1/counts", func(w http.ResponseWriter, _ *http.Request) { Reply(w, http.StatusOK, s.Counts()) })
	return mux
}

// WaitContext returns a context that ends after the request's ?wait=, a duration from 0 to [MaxWait]; without one it has
// ended already. Where it is malformed it answers 400 and returns false.
func WaitContext(w http.ResponseWriter, r *http.Request) (context.Context, context.CancelFunc, bool) {
	raw := r.URL.Query().Get("wait")
	wait := time.Duration(0)
	if raw != "" {
		var err error
		if wait, err = time.ParseDuration(raw); err != nil || wait < 0 || wait > MaxWait {
			Fail(w, http.StatusBadRequest, fmt.Errorf("wait=%q: want a duration from 0s to %s", clip(raw), MaxWait))
			return nil, nil, false
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	return ctx, cancel, true
}

func (s *Store) postEvents(w http.ResponseWriter, r *http.Request) {
	lines := bufio.NewReaderSize(http.MaxBytesReader(w, r.Body, MaxBody), MaxLine)
	var out Posted
	refuse := func(line int, err error) {
		out.RefusedTotal++
		if len(out.Refused) < maxNamed {
			out.Refused = append(out.Refused, BadLine{line, err.Error()})
		}
	}
	for n := 1; ; n++ {
		line, err := readLine(lines)
		if err != nil && !errors.Is(err, errLongLine) && !errors.Is(err, io.EOF) {
			refuse(n, err) // the body broke off, or is too long
			break
		}
		switch line = bytes.TrimSpace(line); {
		case errors.Is(err, errLongLine):
			refuse(n, err)
		case len(line) > 0:
			switch fresh, addErr := s.addLine(line); {
			case addErr != nil:
				refuse(n, addErr)
			case fresh:
				out.Accepted++
			default:
				out.Repeated++
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	status := http.StatusOK
	if out.RefusedTotal > 0 {
		status = http.StatusBadRequest
	}
	Reply(w, status, out)
}

var errLongLine = fmt.Errorf("line is longer than %d bytes", MaxLine)

// readLine returns the next line; one beyond the reader's buffer is read to its end and gives errLongLine.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return nil, errLongLine
}

func (s *Store) addLine(line []byte) (bool, error) {
	var e graylib.Event
	if err := json.Unmarshal(line, &e); err != nil {
		s.mu.Lock()
		s.counts.Refused++
		s.mu.Unlock()
		return false, fmt.Errorf("%w: malformed JSON: %w", ErrInvalidEvent, err)
	}
	return s.Add(e, len(line))
}

// Reply answers with a value as JSON.
func Reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails where the client has gone: nobody is left to tell
}

// Fail answers {"error": "…"}.
func Fail(w http.ResponseWriter, status int, err error) {
	Reply(w, status, map[string]string{"error": err.Error()})
}

// clip bounds what an error quotes.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Server is an HTTP server on a listener of its own.
type Server struct {
	http *http.Server
	addr string
	done chan struct{}
}

// Serve serves h on ln until Close.
func Serve(ln net.Listener, h http.Handler) *Server {
	s := &Server{
		http: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second},
		addr: ln.Addr().String(),
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(ln) // ends with Close
	}()
	return s
}

// URL returns the base URL, for GRAY_OBSERVER.
func (s *Server) URL() string { return "http://" + s.addr }

// Close ends the server, waiting requests included, and frees its port.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	return err
}
