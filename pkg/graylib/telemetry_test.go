package graylib_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

// spanTrace is what a tracer makes of goodTrace: the same trace, a span of its own.
var spanTrace = goodTrace[:36] + "1111111111111111-01"

// teller notes what it is told.
type teller struct {
	graylib.NoTelemetry
	name  string
	notes *[]string
}

type tellerKey string

func (n teller) note(ctx context.Context, what string) (context.Context, func(graylib.Outcome)) {
	*n.notes = append(*n.notes, n.name+" "+what)
	ctx = context.WithValue(ctx, tellerKey(n.name), true)
	return ctx, func(o graylib.Outcome) {
		*n.notes = append(*n.notes, fmt.Sprint(n.name, " ended, failed ", o.Failed()))
	}
}

func (n teller) Arrived(ctx context.Context, a graylib.Arriving) (context.Context, func(graylib.Outcome)) {
	return n.note(ctx, "arrived "+a.Hop.Service)
}

func (n teller) Departed(ctx context.Context, c *graylib.Call, d graylib.Departing) (context.Context, func(graylib.Outcome)) {
	return n.note(ctx, "departed "+d.Endpoint+" "+c.Tag().String())
}

func (n teller) Sent(ctx context.Context, s graylib.Sending) (context.Context, func(graylib.Outcome)) {
	return n.note(ctx, "sent "+s.Topic)
}

func (n teller) Consumed(ctx context.Context, c graylib.Consuming) (context.Context, func(graylib.Outcome)) {
	return n.note(ctx, "consumed "+c.Group)
}

func (n teller) Skipped(c graylib.Consuming) {
	*n.notes = append(*n.notes, n.name+" skipped "+c.Group)
}

// TestSeveralTelemetries: each is told in order, of the end in the reverse order, and each one's context goes to the next.
func TestSeveralTelemetries(t *testing.T) {
	var notes []string
	rt := newRuntime(t, baselineSelf, graylib.WithTelemetry(teller{name: "1", notes: &notes}, nil, teller{name: "2", notes: &notes}))
	told := rt.Telemetry()
	ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": "gray"})
	arrived, endArrived := told.Arrived(ctx, graylib.Arriving{Hop: arrival.Hop()})
	if arrived.Value(tellerKey("1")) == nil || arrived.Value(tellerKey("2")) == nil || graylib.TagFrom(arrived) != "gray" {
		t.Error("the context isn't that of both")
	}
	departed, call := rt.Depart(arrived, "b", noRequest{})
	_, endDeparted := told.Departed(departed, call, graylib.Departing{Endpoint: "b"})
	_, endSent := told.Sent(arrived, graylib.Sending{Topic: "T"})
	_, endConsumed := told.Consumed(ctx, graylib.Consuming{Group: "g"})
	told.Skipped(graylib.Consuming{Group: "g"})
	notes = append(notes, "ends")
	endConsumed(graylib.Outcome{Result: graylib.ResultRetry})
	endSent(graylib.Outcome{})
	endDeparted(graylib.Outcome{Err: errors.New("x")})
	endArrived(graylib.Outcome{Status: 404})
	want := []string{
		"1 arrived a", "2 arrived a", "1 departed b gray", "2 departed b gray", "1 sent T", "2 sent T", "1 consumed g", "2 consumed g",
		"1 skipped g", "2 skipped g", "ends",
		"2 ended, failed true", "1 ended, failed true", "2 ended, failed false", "1 ended, failed false",
		"2 ended, failed true", "1 ended, failed true", "2 ended, failed false", "1 ended, failed false",
	}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOutcomeFailed(t *testing.T) {
	for _, tt := range []struct {
		o    graylib.Outcome
		want bool
	}{
		{graylib.Outcome{}, false},
		{graylib.Outcome{Status: 499}, false},
		{graylib.Outcome{Status: 500}, true},
		{graylib.Outcome{Err: context.Canceled}, true},
		{graylib.Outcome{Result: graylib.ResultSuccess}, false},
		{graylib.Outcome{Result: graylib.ResultPanic}, true},
	} {
		if got := tt.o.Failed(); got != tt.want {
			t.Errorf("%+v failed: %v, want %v", tt.o, got, tt.want)
		}
	}
}

// attached fails to attach, or notes whom it was attached to.
type attached struct {
	graylib.NoTelemetry
	rt  **graylib.Runtime
	err error
}

func (a attached) Attach(rt *graylib.Runtime) error {
	if a.err == nil {
		*a.rt = rt
	}
	return a.err
}

func TestAttach(t *testing.T) {
	var got *graylib.Runtime
	rt := newRuntime(t, baselineSelf, graylib.WithTelemetry(graylib.NoTelemetry{}, attached{rt: &got}))
	if got != rt {
		t.Error("telemetry wasn't attached to its runtime")
	}
	refused := errors.New("no")
	if _, err := graylib.New(baselineSelf, graylib.WithTelemetry(attached{err: refused})); !errors.Is(err, refused) {
		t.Errorf("error %v, want that of Attach", err)
	}
}

// TestTracersOwn: what a tracer says takes the place of what arrived, also where that was handed on by others, and never of
// what the application's own tracer has written.
func TestTracersOwn(t *testing.T) {
	const foreign = "00-ffffffffffffffffffffffffffffffff-2222222222222222-01"
	for _, tt := range []struct {
		name        string
		on          graylib.MapCarrier // what the request bears before
		span, state string
		want, wants string
	}{
		{"no tracer", graylib.MapCarrier{}, "", "", goodTrace, "k=v"},
		{"no tracer, handed on", graylib.MapCarrier{"traceparent": goodTrace, "tracestate": "k=v"}, "", "", goodTrace, "k=v"},
		{"no tracer, the application's", graylib.MapCarrier{"traceparent": foreign}, "", "", foreign, ""},
		{"a span", graylib.MapCarrier{}, spanTrace, "k=w", spanTrace, "k=w"},
		{"a span, handed on", graylib.MapCarrier{"traceparent": goodTrace, "tracestate": "k=v"}, spanTrace, "", spanTrace, ""},
		{"a span, the application's", graylib.MapCarrier{"traceparent": foreign, "tracestate": "x=y"}, spanTrace, "k=w", foreign, "x=y"},
		{"no span at all", graylib.MapCarrier{}, "00-0-0-00", "", goodTrace, "k=v"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := newRuntime(t, baselineSelf)
			ctx, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"traceparent": goodTrace, "tracestate": "k=v"})
			check := func(how string, c graylib.MapCarrier) {
				if c["traceparent"] != tt.want || c["tracestate"] != tt.wants {
					t.Errorf("%s: %q %q, want %q %q", how, c["traceparent"], c["tracestate"], tt.want, tt.wants)
				}
			}
			_, call := rt.Depart(ctx, "b", noRequest{})
			if tt.span != "" {
				call.SetTrace(tt.span, tt.state)
			}
			c := clone(tt.on)
			call.Inject(graylib.HTTPKeys, c)
			check("call", c)
			call.Inject(graylib.HTTPKeys, c) // the next try
			check("call, second try", c)

			spanned := ctx
			if tt.span != "" {
				spanned = graylib.WithTrace(ctx, tt.span, tt.state)
			}
			c = clone(tt.on)
			graylib.Inject(spanned, graylib.HTTPKeys, c)
			check("context", c)
			_, call = rt.Depart(spanned, "b", noRequest{})
			if tt.span != "" {
				call.SetTrace(tt.span, tt.state) // a span in a span
			}
			c = clone(tt.on)
			call.Inject(graylib.HTTPKeys, c)
			check("call in a span", c)
		})
	}
}

func clone(c graylib.MapCarrier) graylib.MapCarrier {
	out := graylib.MapCarrier{}
	for k, v := range c {
		out[k] = v
	}
	return out
}

func TestCallAddr(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	_, call := rt.Depart(t.Context(), "b", noRequest{})
	if call.Addr() != "" {
		t.Errorf("address %q before a choice", call.Addr())
	}
	table := laneTable(2, 0)
	var addrs []string
	for range 2 {
		in, _, err := call.Next(table)
		if err != nil {
			t.Fatal(err)
		}
		if call.Addr() != in.Addr {
			t.Errorf("address %q, want %q", call.Addr(), in.Addr)
		}
		addrs = append(addrs, in.Addr)
	}
	if slices.Sort(addrs); addrs[0] == addrs[1] {
		t.Errorf("one instance twice: %v", addrs)
	}
}

// asked is what an adapter does for telemetry on one hop.
func asked(ctx context.Context, rt *graylib.Runtime, hop graylib.Hop) {
	if t := rt.Telemetry(); t != nil {
		var done func(graylib.Outcome)
		_, done = t.Arrived(ctx, graylib.Arriving{Hop: hop, Method: "GET"})
		defer done(graylib.Outcome{Status: 200})
	}
}

// TestNoTelemetryIsFree: nobody is told, and nothing is allocated for it.
func TestNoTelemetryIsFree(t *testing.T) {
	ctx, hop := t.Context(), graylib.Hop{Service: "a"}
	for name, rt := range map[string]*graylib.Runtime{
		"none": newRuntime(t, baselineSelf), "one that does nothing": newRuntime(t, baselineSelf, graylib.WithTelemetry(graylib.NoTelemetry{})),
	} {
		if n := testing.AllocsPerRun(200, func() { asked(ctx, rt, hop) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkTelemetry is what a hop pays for being asked for telemetry.
func BenchmarkTelemetry(b *testing.B) {
	ctx, hop := context.Background(), graylib.Hop{Service: "a"}
	for _, tt := range []struct {
		name string
		opts []graylib.Option
	}{
		{"none", nil},
		{"one that does nothing", []graylib.Option{graylib.WithTelemetry(graylib.NoTelemetry{})}},
		{"two that do nothing", []graylib.Option{graylib.WithTelemetry(graylib.NoTelemetry{}, graylib.NoTelemetry{})}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			rt := newRuntime(b, baselineSelf, tt.opts...)
			b.ReportAllocs()
			for b.Loop() {
				asked(ctx, rt, hop)
			}
		})
	}
}
