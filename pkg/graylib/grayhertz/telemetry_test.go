package grayhertz_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
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
	_, stop := m.serve(m.runtime("b", "", graylib.WithTelemetry(r)), func(h *server.Hertz) {
		h.GET("/users/:id", func(_ context.Context, c *app.RequestContext) {
			if c.Request.Header.Get("traceparent")[3:35] != "ffffffffffffffffffffffffffffffff" {
				c.SetStatusCode(http.StatusTeapot)
			}
		})
		h.GET("/broken", func(_ context.Context, c *app.RequestContext) { c.SetStatusCode(http.StatusServiceUnavailable) })
	})
	c := m.client(m.runtime("a", "", graylib.WithTelemetry(r)))
	get := func(path string, n int) []string {
		_, _, _ = c.Get(t.Context(), nil, "http://b"+path, config.WithSD(true))
		return r.take(t, n)
	}
	check := func(got []string, want ...string) {
		t.Helper()
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	check(get("/users/7", 2), `called GET b "baseline" status 200 error false`, "served GET /users/:id baseline status 200")
	check(get("/broken", 2), `called GET b "baseline" status 503 error false`, "served GET /broken baseline status 503")
	check(get("/panic", 2), `called GET b "baseline" status 500 error false`, "served GET /panic baseline status 500")
	check(get("/nothing", 2), `called GET b "baseline" status 404 error false`, "served GET  baseline status 404")
	stop()
	check(get("/users/7", 1), `called GET b "" status 0 error true`)
}
