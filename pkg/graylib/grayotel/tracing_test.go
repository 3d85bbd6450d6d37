package grayotel_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayotel"
)

const (
	arrivedTrace = "0af7651916cd43dd8448eb211c80319c"
	arrivedSpan  = "b7ad6b7169203331"
)

// one is a runtime with tracing, and what it exports.
type one struct {
	rt    *graylib.Runtime
	spans *tracetest.InMemoryExporter
	sdk   *sdktrace.TracerProvider
}

func newOne(t testing.TB, sampler sdktrace.Sampler, opts ...grayotel.Option) one {
	t.Helper()
	o := one{spans: tracetest.NewInMemoryExporter()}
	o.sdk = sdktrace.NewTracerProvider(sdktrace.WithSyncer(o.spans), sdktrace.WithSampler(sampler))
	rt, err := graylib.New(graylib.Identity{Service: "a"},
		graylib.WithTelemetry(grayotel.New(append([]grayotel.Option{grayotel.WithTracerProvider(o.sdk)}, opts...)...)))
	if err != nil {
		t.Fatal(err)
	}
	o.rt = rt
	return o
}

func (o one) arrive(ctx context.Context, flags string) (context.Context, *graylib.Arrival) {
	return o.rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{
		"traceparent": "00-" + arrivedTrace + "-" + arrivedSpan + "-" + flags, "tracestate": "vendor=1", "x-gray-tag": "gray",
	})
}

// departed makes a call and returns what it bears.
func (o one) departed(ctx context.Context, outcome graylib.Outcome) graylib.MapCarrier {
	ctx, call := o.rt.Depart(ctx, "b", nil)
	_, done := o.rt.Telemetry().Departed(ctx, call, graylib.Departing{Endpoint: "b", Protocol: graylib.ProtocolHTTP, Method: "GET"})
	c := graylib.MapCarrier{}
	call.Inject(graylib.HTTPKeys, c)
	done(outcome)
	return c
}

// TestWireIsTheSpansOwn: a call bears its client span, the sender's sampling decision and the tracestate.
func TestWireIsTheSpansOwn(t *testing.T) {
	for _, tt := range []struct {
		name, flags string
		sampler     sdktrace.Sampler
		want        string // flags
		exported    int
	}{
		{"sampled", "01", sdktrace.ParentBased(sdktrace.NeverSample()), "01", 2},
		{"the caller doesn't sample", "00", sdktrace.ParentBased(sdktrace.AlwaysSample()), "00", 0},
		{"the edge has no tracer, and samplers go by the trace's id", "00", sdktrace.TraceIDRatioBased(1), "01", 2},
		{"we don't", "01", sdktrace.NeverSample(), "00", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOne(t, tt.sampler)
			ctx, a := o.arrive(t.Context(), tt.flags)
			ctx, done := o.rt.Telemetry().Arrived(ctx, graylib.Arriving{Hop: a.Hop(), Method: "GET"})
			wire := o.departed(ctx, graylib.Outcome{Status: 200})
			done(graylib.Outcome{Status: 200})
			parts := strings.Split(wire["traceparent"], "-")
			if len(parts) != 4 || parts[1] != arrivedTrace || parts[2] == arrivedSpan || parts[3] != tt.want {
				t.Errorf("traceparent %q, want trace %s, a span of ours, flags %s", wire["traceparent"], arrivedTrace, tt.want)
			}
			if wire["tracestate"] != "vendor=1" || wire["x-gray-tag"] != "gray" {
				t.Errorf("the call bears %v", wire)
			}
			if graylib.TraceIDFrom(ctx) != arrivedTrace {
				t.Errorf("the context's trace is %q", graylib.TraceIDFrom(ctx))
			}
			spans := o.spans.GetSpans()
			if len(spans) != tt.exported {
				t.Fatalf("%d spans, want %d", len(spans), tt.exported)
			}
			if tt.exported > 0 && (parts[2] != spans[0].SpanContext.SpanID().String() || spans[1].Parent.SpanID().String() != arrivedSpan) {
				t.Errorf("the wire's span is %s, the client's %s; the server's parent %s", parts[2], spans[0].SpanContext.SpanID(), spans[1].Parent.SpanID())
			}
		})
	}
}

// TestWithoutSDK: with the API's own provider, which makes no spans, what arrived goes on as if there were no telemetry.
func TestWithoutSDK(t *testing.T) {
	o := newOne(t, sdktrace.AlwaysSample(), grayotel.WithTracerProvider(noop.NewTracerProvider()))
	ctx, a := o.arrive(t.Context(), "01")
	ctx, done := o.rt.Telemetry().Arrived(ctx, graylib.Arriving{Hop: a.Hop(), Method: "GET"})
	defer done(graylib.Outcome{})
	if wire := o.departed(ctx, graylib.Outcome{}); wire["traceparent"] != "00-"+arrivedTrace+"-"+arrivedSpan+"-01" || wire["tracestate"] != "vendor=1" {
		t.Errorf("the call bears %v", wire)
	}
}

// TestApplicationsOwnSpan: a server span that is there already is used in place of a second one.
func TestApplicationsOwnSpan(t *testing.T) {
	for name, opts := range map[string][]grayotel.Option{"with": nil, "without": {grayotel.WithoutSpans()}} {
		t.Run(name, func(t *testing.T) {
			o := newOne(t, sdktrace.AlwaysSample(), opts...)
			ctx, own := o.sdk.Tracer("app").Start(t.Context(), "app")
			ctx, a := o.arrive(ctx, "01")
			ctx, done := o.rt.Telemetry().Arrived(ctx, graylib.Arriving{Hop: a.Hop(), Method: "GET"})
			wire := o.departed(ctx, graylib.Outcome{})
			sent, ended := o.rt.Telemetry().Sent(ctx, graylib.Sending{Topic: "T", Messages: 1})
			message := graylib.MapCarrier{}
			graylib.Inject(sent, graylib.MessageKeys, message)
			ended(graylib.Outcome{})
			done(graylib.Outcome{})
			own.End()
			spans := o.spans.GetSpans()
			var names []string
			for _, s := range spans {
				names = append(names, s.SpanKind.String()+" "+s.Name)
			}
			want := []string{"client GET b", "producer send T", "internal app"}
			if name == "without" {
				want = want[2:]
			}
			if diff := cmp.Diff(want, names); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			app := spans[len(spans)-1]
			if value(app, grayotel.TagKey) != "gray" {
				t.Errorf("the application's span has %v", app.Attributes)
			}
			id := own.SpanContext()
			for what, parent := range map[string]string{"call": wire["traceparent"], "message": message["traceparent"]} {
				if parts := strings.Split(parent, "-"); parts[1] != id.TraceID().String() || (parts[2] == id.SpanID().String()) != (name == "without") {
					t.Errorf("the %s bears %q, the application's span is %s", what, parent, id.SpanID())
				}
			}
		})
	}
}

// TestRoot: at the edge the trace that Enter made up is nobody's parent; a started context begins a trace too.
func TestRoot(t *testing.T) {
	o := newOne(t, sdktrace.AlwaysSample())
	ctx, a := o.arrive(t.Context(), "01")
	ctx, done := o.rt.Telemetry().Arrived(ctx, graylib.Arriving{Hop: a.Hop(), Method: "GET", Root: true})
	o.departed(ctx, graylib.Outcome{})
	done(graylib.Outcome{})
	_, ended := o.rt.Telemetry().Sent(t.Context(), graylib.Sending{Topic: "T"})
	ended(graylib.Outcome{})
	spans := o.spans.GetSpans()
	if spans[1].Parent.IsValid() || spans[1].SpanContext.TraceID().String() == arrivedTrace || spans[0].Parent.SpanID() != spans[1].SpanContext.SpanID() {
		t.Errorf("server's parent %s, trace %s", spans[1].Parent.SpanID(), spans[1].SpanContext.TraceID())
	}
	if graylib.TraceIDFrom(ctx) != spans[1].SpanContext.TraceID().String() {
		t.Errorf("logs say trace %s, want %s", graylib.TraceIDFrom(ctx), spans[1].SpanContext.TraceID())
	}
	if spans[2].Parent.IsValid() {
		t.Error("a message sent by nobody's request has a parent")
	}
}

// TestEnds is what spans say of how things ended.
func TestEnds(t *testing.T) {
	refused := errors.New("connection refused")
	type end struct {
		Status codes.Code
		Text   string
		HTTP   string
		Error  string
	}
	for _, tt := range []struct {
		name    string
		outcome graylib.Outcome
		server  end
		client  end
	}{
		{"200", graylib.Outcome{Status: 200}, end{HTTP: "200"}, end{HTTP: "200"}},
		{"404", graylib.Outcome{Status: 404}, end{HTTP: "404"}, end{codes.Error, "", "404", "404"}},
		{"503", graylib.Outcome{Status: 503}, end{codes.Error, "", "503", "503"}, end{codes.Error, "", "503", "503"}},
		{
			"an error", graylib.Outcome{Err: refused}, end{codes.Error, "connection refused", "", "*errors.errorString"},
			end{codes.Error, "connection refused", "", "*errors.errorString"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOne(t, sdktrace.AlwaysSample())
			ctx, a := o.arrive(t.Context(), "01")
			ctx, done := o.rt.Telemetry().Arrived(ctx, graylib.Arriving{Hop: a.Hop(), Method: "GET"})
			o.departed(ctx, tt.outcome)
			done(tt.outcome)
			var got []end
			for _, s := range o.spans.GetSpans() {
				got = append(got, end{s.Status.Code, s.Status.Description, value(s, "http.response.status_code"), value(s, "error.type")})
			}
			if diff := cmp.Diff([]end{tt.client, tt.server}, got); diff != "" {
				t.Errorf("client, server (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMessages is what the spans of messages say, failed ones too.
func TestMessages(t *testing.T) {
	o := newOne(t, sdktrace.AlwaysSample())
	ctx, _ := o.arrive(t.Context(), "01")
	_, ended := o.rt.Telemetry().Sent(ctx, graylib.Sending{Topic: "T", Messages: 1})
	ended(graylib.Outcome{Messages: []graylib.Message{{ID: "ID1", Topic: "T", Tag: "gray"}}})
	_, ended = o.rt.Telemetry().Consumed(ctx, graylib.Consuming{
		Hop: graylib.Hop{RequestTag: "gray", Reason: graylib.ReasonLane}, Group: "g_gray", Topic: "T", ID: "ID1", Queue: "broker-a/3",
		Reason: "lane", Deliveries: 2,
	})
	ended(graylib.Outcome{Result: graylib.ResultPanic})
	spans := o.spans.GetSpans()
	wants := []map[attribute.Key]string{
		{"messaging.system": "rocketmq", "messaging.operation.type": "send", "messaging.operation.name": "send",
			"messaging.destination.name": "T", "messaging.message.id": "ID1", "graychain.tag": "gray"},
		{"messaging.system": "rocketmq", "messaging.operation.type": "process", "messaging.operation.name": "process",
			"messaging.destination.name": "T", "messaging.message.id": "ID1", "messaging.consumer.group.name": "g_gray",
			"messaging.destination.partition.id": "broker-a/3", "messaging.rocketmq.delivery_attempt": "2",
			"graychain.tag": "gray", "graychain.reason": "lane", "graychain.message.verdict": "lane", "graychain.message.result": "panic",
			"error.type": "panic"},
	}
	for i, want := range wants {
		got := make(map[attribute.Key]string)
		for _, a := range spans[i].Attributes {
			got[a.Key] = a.Value.String()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", spans[i].Name, diff)
		}
	}
	if spans[1].Status.Code != codes.Error || len(spans[1].Links) != 1 || spans[1].Links[0].SpanContext.SpanID().String() != arrivedSpan {
		t.Errorf("status %v, links %v", spans[1].Status, spans[1].Links)
	}
}

// TestDeliveredAgain: each delivery of a message has a span of its own, child of the producer's and linked to it: one below the
// other would grow with each try, and a trace of its own would tear the loop.
func TestDeliveredAgain(t *testing.T) {
	o := newOne(t, sdktrace.AlwaysSample())
	for n, result := range []string{graylib.ResultRetry, graylib.ResultPanic, graylib.ResultSuccess} {
		ctx, _ := o.arrive(t.Context(), "01") // the message bears what it bore
		_, ended := o.rt.Telemetry().Consumed(ctx, graylib.Consuming{Group: "g", Topic: "T", ID: "ID1", Reason: "retry", Deliveries: n + 1})
		ended(graylib.Outcome{Result: result})
	}
	spans := o.spans.GetSpans()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want one for each delivery", len(spans))
	}
	for i, s := range spans {
		if s.Parent.SpanID().String() != arrivedSpan || len(s.Links) != 1 || s.Links[0].SpanContext.SpanID().String() != arrivedSpan {
			t.Errorf("delivery %d: parent %s, links %v, want the producer's span as both", i+1, s.Parent.SpanID(), s.Links)
		}
		if s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
			t.Errorf("delivery %d has a trace of its own", i+1)
		}
	}
}

// TestNames: what clients say never becomes a span's name.
func TestNames(t *testing.T) {
	for _, tt := range []struct {
		arriving graylib.Arriving
		route    string
		want     string
	}{
		{graylib.Arriving{Method: "GET", Route: "/users/:id"}, "", "GET /users/:id"},
		{graylib.Arriving{Method: "GET"}, "GET /users/{id}", "GET /users/{id}"},
		{graylib.Arriving{Method: "", Route: "/x"}, "", "GET /x"},
		{graylib.Arriving{Method: "DROP TABLE"}, "", "HTTP"},
		{graylib.Arriving{Hop: graylib.Hop{Protocol: graylib.ProtocolRPC}, Method: "invoke", Route: "/B/invoke"}, "", "B/invoke"},
	} {
		o := newOne(t, sdktrace.AlwaysSample())
		_, done := o.rt.Telemetry().Arrived(t.Context(), tt.arriving)
		done(graylib.Outcome{Route: tt.route})
		s := o.spans.GetSpans()[0]
		if s.Name != tt.want || s.SpanKind != trace.SpanKindServer {
			t.Errorf("%+v: %s span %q, want %q", tt.arriving, s.SpanKind, s.Name, tt.want)
		}
	}
}

// BenchmarkRequest is what an arrival and one call cost with spans: sampled (without an exporter) and not.
func BenchmarkRequest(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{"sampled": sdktrace.AlwaysSample(), "not sampled": sdktrace.NeverSample()} {
		b.Run(name, func(b *testing.B) {
			sdk := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler))
			o := newOne(b, sampler, grayotel.WithTracerProvider(sdk))
			ctx, a := o.arrive(context.Background(), "01")
			b.ReportAllocs()
			for b.Loop() {
				ctx, done := o.rt.Telemetry().Arrived(ctx, graylib.Arriving{Hop: a.Hop(), Method: "GET", Route: "/x"})
				o.departed(ctx, graylib.Outcome{Status: 200})
				done(graylib.Outcome{Status: 200})
			}
		})
	}
}
