package grayotel_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/graychain/graychain/pkg/graylib/grayotel"
)

// drawn renders spans as a tree, and fails the test where they aren't one: another trace, a parent that isn't there.
func drawn(t *testing.T, spans tracetest.SpanStubs) string {
	t.Helper()
	ids := make(map[trace.SpanID]bool)
	for _, s := range spans {
		ids[s.SpanContext.SpanID()] = true
	}
	children := make(map[trace.SpanID][]tracetest.SpanStub)
	for _, s := range spans {
		if s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
			t.Errorf("span %s %q is of trace %s, %q of %s", s.SpanKind, s.Name, s.SpanContext.TraceID(), spans[0].Name, spans[0].SpanContext.TraceID())
		}
		if p := s.Parent.SpanID(); p.IsValid() && !ids[p] {
			t.Errorf("span %s %q has a parent that nobody exported: %s", s.SpanKind, s.Name, p)
		}
		children[s.Parent.SpanID()] = append(children[s.Parent.SpanID()], s)
	}
	var b strings.Builder
	var draw func(parent trace.SpanID, depth int)
	draw = func(parent trace.SpanID, depth int) {
		list := children[parent]
		slices.SortFunc(list, func(x, y tracetest.SpanStub) int { return x.StartTime.Compare(y.StartTime) })
		for _, s := range list {
			b.WriteString(strings.Repeat("  ", depth) + line(s) + "\n")
			draw(s.SpanContext.SpanID(), depth+1)
		}
	}
	draw(trace.SpanID{}, 0)
	return b.String()
}

func line(s tracetest.SpanStub) string {
	service, _ := s.Resource.Set().Value(semconv.ServiceNameKey)
	text := fmt.Sprint(s.SpanKind, " ", service.AsString(), " ", s.Name)
	for _, k := range []struct {
		name string
		key  attribute.Key
	}{{"own", grayotel.OwnTagKey}, {"tag", grayotel.TagKey}, {"reason", grayotel.ReasonKey}} {
		if v := value(s, k.key); v != "" {
			text += " " + k.name + "=" + v
		}
	}
	for _, l := range s.Links {
		if l.SpanContext.Equal(s.Parent) {
			text += " linked to its producer"
		}
	}
	return text
}

func value(s tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}
