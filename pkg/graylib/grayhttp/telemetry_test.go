package grayhttp_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
)

// told notes, in one line each, how what began has ended.
type told struct {
	graylib.NoTelemetry
	mu    sync.Mutex
	lines []string
}

func (r *told) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// take returns the n lines so far, sorted, and forgets them: the two sides end in any order.
func (r *told) take(t *testing.T, n int) []string {
	t.Helper()
	var lines []string
	eventually(t, fmt.Sprintf("%d ends", n), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		lines = slices.Sorted(slices.Values(r.lines))
		if len(lines) < n {
			return false
		}
		r.lines = nil
		return true
	})
	return lines
}

func (r *told) Arrived(ctx context.Context, a graylib.Arriving) (context.Context, func(graylib.Outcome)) {
	return ctx, func(o graylib.Outcome) {
		r.note("served %s %s %s status %d", a.Method, cmp.Or(a.Route, o.Route), a.Hop.Reason, o.Status)
	}
}

func (r *told) Departed(ctx context.Context, call *graylib.Call, d graylib.Departing) (context.Context, func(graylib.Outcome)) {
	call.SetTrace("00-ffffffffffffffffffffffffffffffff-2222222222222222-01", "")
	return ctx, func(o graylib.Outcome) {
		r.note("called %s %s %q status %d error %v", d.Method, d.Endpoint, call.Reason(), o.Status, o.Err != nil)
	}
}

// TestTelemetry is what both sides tell of an answer, an error, a panic, and of nobody to call.
func TestTelemetry(t *testing.T) {
	m, r := newMesh(t), &told{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("traceparent")[3:35] != "ffffffffffffffffffffffffffffffff" {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	mux.HandleFunc("/broken", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	addr, stop := m.serve(m.runtime("b", "", graylib.WithTelemetry(r)), mux)
	c := m.client(m.runtime("a", "", graylib.WithTelemetry(r)), grayhttp.WithHosts(addr))
	do := func(method, url string, n int) []string {
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := c.Do(req); err == nil {
			_ = resp.Body.Close()
		}
		return r.take(t, n)
	}
	get := func(url string, n int) []string { return do(http.MethodGet, url, n) }
	check := func(got []string, want ...string) {
		t.Helper()
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check(get("http://b/users/7", 2), `called GET b "baseline" status 200 error false`, "served GET GET /users/{id} baseline status 200")
	check(get("http://b/broken", 2), `called GET b "baseline" status 503 error false`, "served GET /broken baseline status 503")
	// Not a GET, which net/http would repeat by itself on a fresh connection.
	check(do(http.MethodPost, "http://b/panic", 2), `called POST b "baseline" status 0 error true`, "served POST /panic baseline status 500")
	check(get("http://"+addr+"/users/7", 2), fmt.Sprintf(`called GET %s "" status 200 error false`, addr), "served GET GET /users/{id}  status 200")
	stop()
	check(get("http://b/users/7", 1), `called GET b "" status 0 error true`)
}
