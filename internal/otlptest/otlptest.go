// Package otlptest is the collector of a test: it takes OpenTelemetry traces as services export them, by OTLP over HTTP.
package otlptest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is what a test wants to know of one.
type Span struct {
	Trace, ID, Parent string // hexadecimal; Parent is empty for a root
	Service           string // service.name of its resource
	Kind              string // server, client, producer, consumer or internal
	Name              string
	Start             time.Time
	Attributes        map[string]string // those that are strings
	Links             []string          // ids of linked spans
}

// keep is how many spans are kept at most, the newest: some 50 MB.
const keep = 40_000

// Collector takes spans. Its methods are safe for concurrent use.
type Collector struct {
	URL string // for OTEL_EXPORTER_OTLP_ENDPOINT

	server *httptest.Server
	mu     sync.Mutex
	spans  []Span
}

// Start starts a collector on a port of 127.0.0.1.
func Start() *Collector {
	c := &Collector{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.traces)
	c.server = httptest.NewServer(mux)
	c.URL = c.server.URL
	return c
}

// Close stops it.
func (c *Collector) Close() { c.server.Close() }

// Spans returns the spans of one trace so far, or all for an empty id, in the order of their start.
func (c *Collector) Spans(traceID string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []Span
	for _, s := range c.spans {
		if traceID == "" || s.Trace == traceID {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return found
}

func (c *Collector) traces(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var spans []Span
	for _, rs := range req.GetResourceSpans() {
		service := attributes(rs.GetResource().GetAttributes())["service.name"]
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				spans = append(spans, spanOf(service, s))
			}
		}
	}
	c.mu.Lock()
	if c.spans = append(c.spans, spans...); len(c.spans) > keep {
		c.spans = slices.Clone(c.spans[len(c.spans)-keep/2:])
	}
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty response is an empty body
}

var kinds = map[trace.Span_SpanKind]string{
	trace.Span_SPAN_KIND_SERVER: "server", trace.Span_SPAN_KIND_CLIENT: "client", trace.Span_SPAN_KIND_PRODUCER: "producer",
	trace.Span_SPAN_KIND_CONSUMER: "consumer", trace.Span_SPAN_KIND_INTERNAL: "internal",
}

func spanOf(service string, s *trace.Span) Span {
	out := Span{
		Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Service: service, Kind: kinds[s.GetKind()], Name: s.GetName(),
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), Attributes: attributes(s.GetAttributes()),
	}
	for _, l := range s.GetLinks() {
		out.Links = append(out.Links, hex.EncodeToString(l.GetSpanId()))
	}
	return out
}

func attributes(list []*common.KeyValue) map[string]string {
	m := make(map[string]string, len(list))
	for _, kv := range list {
		if v, ok := kv.GetValue().GetValue().(*common.AnyValue_StringValue); ok {
			m[kv.GetKey()] = v.StringValue
		}
	}
	return m
}
