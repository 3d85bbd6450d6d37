package graykitex_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

// told notes, in one line each, what began and how it ended.
type told struct {
	graylib.NoTelemetry
	mu    sync.Mutex
	begun int
	lines []string
}

func (r *told) begin(line func(graylib.Outcome) string) func(graylib.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun++
	return func(o graylib.Outcome) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lines = append(r.lines, fmt.Sprint(line(o), " failed ", o.Failed()))
	}
}

func (r *told) Arrived(ctx context.Context, a graylib.Arriving) (context.Context, func(graylib.Outcome)) {
	return ctx, r.begin(func(graylib.Outcome) string {
		return fmt.Sprint("served ", a.Route, " ", a.Hop.RequestTag, " ", a.Hop.Reason, " stream ", a.Stream)
	})
}

func (r *told) Departed(ctx context.Context, call *graylib.Call, d graylib.Departing) (context.Context, func(graylib.Outcome)) {
	call.SetTrace("00-ffffffffffffffffffffffffffffffff-2222222222222222-01", "")
	return ctx, r.begin(func(graylib.Outcome) string {
		return fmt.Sprint("called ", d.Endpoint, d.Route, " ", call.Tag(), " ", call.Reason(), " stream ", d.Stream)
	})
}

// ended returns the lines once everything that began has ended, sorted.
func (r *told) ended(t *testing.T, n int) []string {
	t.Helper()
	var lines []string
	eventually(t, fmt.Sprintf("%d ends", n), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		lines = slices.Sorted(slices.Values(r.lines))
		return len(lines) >= n && r.begun == len(lines)
	})
	return lines
}

// TestTelemetry: every kind of call and stream begins and ends once on both sides, and bears the tracer's own trace.
func TestTelemetry(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			m, r := newMesh(t), &told{}
			m.serve(m.runtime("t", "gray", graylib.WithTelemetry(r)), nil)
			c := m.client(m.runtime("caller", "", graylib.WithTelemetry(r)), "t")
			ctx, _ := m.runtime("caller", "").Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{
				"x-gray-tag": "gray", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			})
			if a := call(ctx, t, c, kind); a.Trace != "ffffffffffffffffffffffffffffffff" {
				t.Errorf("the callee saw trace %s", a.Trace)
			}
			stream := kind != "invoke"
			want := []string{
				fmt.Sprint("called t.rpc/T/", kind, " gray lane stream ", stream, " failed false"),
				fmt.Sprint("served /T/", kind, " gray lane stream ", stream, " failed false"),
			}
			if diff := cmp.Diff(want, r.ended(t, 2)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTelemetryOfFailures: a handler's error, and nobody to call.
func TestTelemetryOfFailures(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			m, r := newMesh(t), &told{}
			_, stop := m.serve(m.runtime("t", "", graylib.WithTelemetry(r)), func(context.Context, string) (string, error) {
				return "", errors.New("refused by the handler")
			})
			c := m.client(m.runtime("caller", "", graylib.WithTelemetry(r)), "t")
			if _, err := c.call(t.Context(), kind, "x"); err == nil {
				t.Fatal("no error came back")
			}
			stream := kind != "invoke"
			want := []string{
				fmt.Sprint("called t.rpc/T/", kind, " - baseline stream ", stream, " failed true"),
				fmt.Sprint("served /T/", kind, " - baseline stream ", stream, " failed true"),
			}
			if diff := cmp.Diff(want, r.ended(t, 2)); diff != "" {
				t.Errorf("a handler's error (-want +got):\n%s", diff)
			}
			stop()
			if _, err := c.call(t.Context(), kind, "x"); err == nil {
				t.Fatal("nobody answered without an error")
			}
			want = slices.Insert(want, 0, fmt.Sprint("called t.rpc/T/", kind, " -  stream ", stream, " failed true"))
			slices.Sort(want)
			if diff := cmp.Diff(want, r.ended(t, 3)); diff != "" {
				t.Errorf("nobody to call (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTelemetryOfACancelledStream: a stream that its caller gives up ends too.
func TestTelemetryOfACancelledStream(t *testing.T) {
	m, r := newMesh(t), &told{}
	m.serve(m.runtime("t", ""), nil)
	c := m.client(m.runtime("caller", "", graylib.WithTelemetry(r)), "t")
	ctx, cancel := context.WithCancel(t.Context())
	st, err := c.bidi(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := st.Recv(ctx); err == nil {
		t.Fatal("a cancelled stream goes on")
	}
	if got := r.ended(t, 1); len(got) != 1 {
		t.Errorf("ended %q", got)
	}
}
