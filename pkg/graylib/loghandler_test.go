package graylib_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/slogtest"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestLogHandlerIsAHandler runs the standard library's conformance test.
func TestLogHandlerIsAHandler(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return graylib.NewLogHandler(slog.NewJSONHandler(&out, nil))
	}, func(t *testing.T) map[string]any {
		var m map[string]any
		if err := json.Unmarshal(out.Bytes(), &m); err != nil {
			t.Fatalf("%q: %v", out.String(), err)
		}
		return m
	})
}

func TestLogHandler(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	arrived, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{
		"x-gray-tag": "gray", "x-request-id": "r1", "traceparent": goodTrace,
	})
	var out bytes.Buffer
	log := slog.New(graylib.NewLogHandler(slog.NewJSONHandler(&out, nil)))
	of := map[string]any{"tag": "gray", "requestId": "r1", "traceId": goodTrace[3:35]}
	with := func(m map[string]any) map[string]any {
		for k, v := range of {
			m[k] = v
		}
		return m
	}
	for _, tt := range []struct {
		name string
		do   func()
		want map[string]any
	}{
		{"no context", func() { log.Info("m", "k", 1) }, map[string]any{"msg": "m", "k": 1.0}},
		{"a context of no request", func() { log.InfoContext(context.Background(), "m") }, map[string]any{"msg": "m"}},
		{"a request", func() { log.InfoContext(arrived, "m", "k", 1) }, with(map[string]any{"msg": "m", "k": 1.0})},
		{"only a tag", func() { log.InfoContext(graylib.WithTag(t.Context(), "blue"), "m") }, map[string]any{"msg": "m", "tag": "blue"}},
		{"attributes", func() { log.With("k", 1).InfoContext(arrived, "m") }, with(map[string]any{"msg": "m", "k": 1.0})},
		{
			"groups", func() { log.With("k", 1).WithGroup("g").With("a", 2).WithGroup("h").InfoContext(arrived, "m", "b", 3) },
			with(map[string]any{"msg": "m", "k": 1.0, "g": map[string]any{"a": 2.0, "h": map[string]any{"b": 3.0}}}),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out.Reset()
			tt.do()
			var got map[string]any
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatalf("%q: %v", out.String(), err)
			}
			delete(got, "time")
			delete(got, "level")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
