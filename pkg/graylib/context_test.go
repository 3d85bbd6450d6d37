package graylib_test

import (
	"context"
	"strings"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestWithTag(t *testing.T) {
	ctx := graylib.WithTag(t.Context(), "gray")
	if got := graylib.TagFrom(ctx); got != "gray" {
		t.Fatalf("tag %q", got)
	}
	if again := graylib.WithTag(ctx, "gray"); again != ctx {
		t.Error("the same tag makes a new context")
	}
	if got := graylib.TagFrom(graylib.WithTag(ctx, graylib.Untagged)); got != graylib.Untagged {
		t.Errorf("untagged leaves %q", got)
	}
	if got := graylib.TagFrom(graylib.WithTag(ctx, "Bad Tag")); got != graylib.Untagged {
		t.Errorf("a malformed tag leaves %q", got)
	}
	if got := graylib.TagFrom(ctx); got != "gray" {
		t.Errorf("a child changed its parent to %q", got)
	}
	if got := graylib.TagFrom(context.WithoutCancel(ctx)); got != "gray" {
		t.Errorf("detached work has %q", got)
	}
}

func TestWithRequestID(t *testing.T) {
	ctx := graylib.WithTag(graylib.WithRequestID(t.Context(), "r1"), "gray")
	if got := graylib.RequestIDFrom(ctx); got != "r1" {
		t.Errorf("request id %q", got)
	}
	for _, bad := range []string{"a\r\nx-gray-tag: gray", "a\x00", "ä", strings.Repeat("a", 129)} {
		if got := graylib.RequestIDFrom(graylib.WithRequestID(ctx, bad)); got != "" {
			t.Errorf("request id %q was taken", got)
		}
	}
}

const goodTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// The cases of https://www.w3.org/TR/trace-context/#traceparent-header.
func TestTraceIDFrom(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	tests := []struct{ name, parent, want string }{
		{"version 00", goodTrace, id},
		{"version 01 that goes on", "01" + goodTrace[2:] + "-what", id},
		{"version 01 with a line break", "01" + goodTrace[2:] + "-a\r\nb", ""},
		{"version 01 that is long", "01" + goodTrace[2:] + "-" + strings.Repeat("x", 100), ""},
		{"version 01", "01" + goodTrace[2:], id},
		{"none", "", ""},
		{"short", goodTrace[:54], ""},
		{"version 00 that goes on", goodTrace + "-what", ""},
		{"version 01 with more than a field", "01" + goodTrace[2:] + "what", ""},
		{"version ff", "ff" + goodTrace[2:], ""},
		{"upper case", strings.ToUpper(goodTrace), ""},
		{"trace id of zeros", "00-" + strings.Repeat("0", 32) + goodTrace[35:], ""},
		{"parent id of zeros", goodTrace[:36] + strings.Repeat("0", 16) + "-01", ""},
		{"no hexadecimal", strings.Replace(goodTrace, "0af7", "0xf7", 1), ""},
		{"no hexadecimal parent", goodTrace[:36] + "x" + goodTrace[37:], ""},
		{"no hexadecimal version", "0g" + goodTrace[2:], ""},
		{"no hexadecimal flags", goodTrace[:53] + "0-", ""},
		{"other separators", strings.ReplaceAll(goodTrace, "-", "_"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, err := graylib.Extract(t.Context(), graylib.HTTPKeys, graylib.MapCarrier{"traceparent": tt.parent, "tracestate": "a=b"})
			if err != nil {
				t.Fatal(err)
			}
			if got := graylib.TraceIDFrom(ctx); got != tt.want {
				t.Errorf("trace id of %q = %q, want %q", tt.parent, got, tt.want)
			}
			if got := graylib.TraceParentFrom(ctx) != ""; got != (tt.want != "") {
				t.Errorf("traceparent %q is kept: %v", tt.parent, got)
			}
		})
	}
}
