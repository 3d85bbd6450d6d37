package telemetry

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/graychain/graychain/internal/otlptest"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/config"
)

func TestTraced(t *testing.T) {
	for _, tt := range []struct {
		env  string // NAME=value, by blanks
		want bool
		err  string
	}{
		{env: ""},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", want: true},
		{env: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/v1/traces", want: true},
		{env: "OTEL_TRACES_EXPORTER=otlp", want: true},
		{env: "OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"},
		{env: "OTEL_SDK_DISABLED=true OTEL_TRACES_EXPORTER=otlp"},
		{env: "OTEL_TRACES_EXPORTER=zipkin", err: `OTEL_TRACES_EXPORTER="zipkin": want otlp or none`},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", err: `OTEL_EXPORTER_OTLP_PROTOCOL="grpc"`},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf", want: true},
		{env: "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, // of other signals, maybe
	} {
		t.Run(tt.env, func(t *testing.T) {
			env := make(map[string]string)
			for f := range strings.FieldsSeq(tt.env) {
				name, value, _ := strings.Cut(f, "=")
				env[name] = value
			}
			got, err := traced(func(name string) string { return env[name] })
			switch {
			case tt.err == "" && err != nil, got != tt.want:
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			case tt.err != "" && (!errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want one with %s", err, tt.err)
			}
		})
	}
}

// TestExported: with the standard variables alone spans reach a collector, with the service's name; Close sends the last.
func TestExported(t *testing.T) {
	c := otlptest.Start()
	defer c.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	id := graylib.Identity{Service: "a", Tag: "gray", Instance: "a-1"}
	seen, err := Open(t.Context(), id, nil)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := graylib.New(id, graylib.WithTelemetry(seen.Telemetry()...))
	if err != nil {
		t.Fatal(err)
	}
	ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": "gray"})
	ctx, done := rt.Telemetry().Arrived(ctx, graylib.Arriving{Hop: arrival.Hop(), Method: "GET", Route: "/dubbo"})
	done(graylib.Outcome{Status: 200})
	if err := seen.Close(); err != nil {
		t.Fatal(err)
	}
	spans := c.Spans(graylib.TraceIDFrom(ctx))
	if len(spans) != 1 || spans[0].Service != "a" || spans[0].Name != "GET /dubbo" || spans[0].Attributes["graychain.tag"] != "gray" {
		t.Errorf("exported %+v", spans)
	}
	w := httptest.NewRecorder()
	seen.Metrics().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`graychain_requests_total{own_tag="gray",protocol="http",reason="",result="ok",service="a",tag="other"} 1`, "go_goroutines", "process_open_fds",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the scrape has no %s", want)
		}
	}
}

// TestOff: without a variable nothing is set up, and the runtime tells metrics alone.
func TestOff(t *testing.T) {
	seen, err := Open(t.Context(), graylib.Identity{Service: "a"}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if n := len(seen.Telemetry()); n != 1 {
		t.Errorf("%d telemetries, want metrics alone", n)
	}
	if err := seen.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), graylib.Identity{Service: "a"}, func(string) string { return "nonsense" }); !errors.Is(err, config.ErrInvalid) {
		t.Errorf("error %v", err)
	}
}
