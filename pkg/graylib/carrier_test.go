package graylib_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

var allKeys = map[string]graylib.Keys{"http": graylib.HTTPKeys, "rpc": graylib.RPCKeys, "message": graylib.MessageKeys}

// allCarriers are made anew for each test.
var allCarriers = map[string]func() graylib.Carrier{
	"map":    func() graylib.Carrier { return graylib.MapCarrier{} },
	"header": func() graylib.Carrier { return graylib.HeaderCarrier{} },
}

type carried struct {
	Tag                graylib.Tag
	RequestID, Trace   string
	TraceID, WireState string
}

func carriedBy(ctx context.Context, keys graylib.Keys) carried {
	state := graylib.MapCarrier{}
	graylib.Inject(ctx, keys, state)
	return carried{
		graylib.TagFrom(ctx), graylib.RequestIDFrom(ctx), graylib.TraceParentFrom(ctx),
		graylib.TraceIDFrom(ctx), state.Get(keys.TraceState),
	}
}

func drawContext(t *rapid.T) context.Context {
	tag := rapid.SampledFrom([]string{"", "gray", "blue", "a-1"}).Draw(t, "tag")
	id := rapid.StringMatching(`[!-~]{0,128}`).Draw(t, "request id")
	c := graylib.MapCarrier{
		"x-gray-tag": tag, "x-request-id": id,
		"traceparent": rapid.SampledFrom([]string{"", goodTrace}).Draw(t, "trace"),
		"tracestate":  rapid.StringMatching(`[a-z]{1,5}=[a-z]{1,5}`).Draw(t, "state"),
	}
	ctx, err := graylib.Extract(context.Background(), graylib.HTTPKeys, c)
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

func TestInjectThenExtractIsIdentity(t *testing.T) {
	for keysName, keys := range allKeys {
		for carrierName, newCarrier := range allCarriers {
			t.Run(keysName+" "+carrierName, func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					ctx, used := drawContext(t), drawContext(t) // used: what an older request left in the context
					c := newCarrier()
					graylib.Inject(ctx, keys, c)
					back, err := graylib.Extract(used, keys, c)
					if err != nil {
						t.Fatalf("what we wrote is malformed: %v", err)
					}
					if diff := cmp.Diff(carriedBy(ctx, keys), carriedBy(back, keys)); diff != "" {
						t.Fatalf("carried (-sent +got):\n%s", diff)
					}
				})
			})
		}
	}
}

func TestInjectRemovesAnOlderTag(t *testing.T) {
	for name, newCarrier := range allCarriers {
		t.Run(name, func(t *testing.T) {
			c := newCarrier()
			c.Set(graylib.HTTPKeys.Tag, "blue")
			graylib.Inject(graylib.WithTag(t.Context(), "gray"), graylib.HTTPKeys, c)
			if got := c.Get(graylib.HTTPKeys.Tag); got != "gray" {
				t.Errorf("tag on the wire %q, want the context's", got)
			}
			graylib.Inject(t.Context(), graylib.HTTPKeys, c)
			if got := c.Get(graylib.HTTPKeys.Tag); got != "" {
				t.Errorf("an untagged context leaves %q on the wire", got)
			}
		})
	}
}

func TestInjectLeavesATracersTrace(t *testing.T) {
	const other = "00-11111111111111111111111111111111-2222222222222222-00"
	ctx, _ := graylib.Extract(t.Context(), graylib.HTTPKeys, graylib.MapCarrier{"traceparent": goodTrace, "tracestate": "a=b"})
	c := graylib.MapCarrier{"traceparent": other}
	graylib.Inject(ctx, graylib.HTTPKeys, c)
	if diff := cmp.Diff(graylib.MapCarrier{"traceparent": other}, c); diff != "" {
		t.Errorf("carrier (-want +got):\n%s", diff)
	}
}

func TestExtract(t *testing.T) {
	tests := []struct {
		name string
		in   graylib.MapCarrier
		want carried
		bad  bool
	}{
		{"nothing", nil, carried{}, false},
		{"tag", graylib.MapCarrier{"x-gray-tag": "gray"}, carried{Tag: "gray"}, false},
		{"malformed tag", graylib.MapCarrier{"x-gray-tag": "Gray", "x-request-id": "r"}, carried{RequestID: "r"}, true},
		{"reserved tag", graylib.MapCarrier{"x-gray-tag": "baseline"}, carried{}, true},
		{"long tag", graylib.MapCarrier{"x-gray-tag": strings.Repeat("a", 1<<16)}, carried{}, true},
		{"request id with a line break", graylib.MapCarrier{"x-request-id": "a\r\nb"}, carried{}, false},
		{"request id beyond ASCII", graylib.MapCarrier{"x-request-id": "ä"}, carried{}, false},
		{"request id with DEL", graylib.MapCarrier{"x-request-id": "a\x7f"}, carried{}, false},
		{"long request id", graylib.MapCarrier{"x-request-id": strings.Repeat("r", 129)}, carried{}, false},
		{"state without a trace", graylib.MapCarrier{"tracestate": "a=b"}, carried{}, false},
		{
			"long state", graylib.MapCarrier{"traceparent": goodTrace, "tracestate": strings.Repeat("s", 513)},
			carried{Trace: goodTrace, TraceID: goodTrace[3:35]}, false,
		},
		{
			"trace", graylib.MapCarrier{"traceparent": goodTrace, "tracestate": "a=b"},
			carried{Trace: goodTrace, TraceID: goodTrace[3:35], WireState: "a=b"}, false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			used := graylib.WithRequestID(graylib.WithTag(t.Context(), "old"), "old")
			ctx, err := graylib.Extract(used, graylib.HTTPKeys, tt.in)
			if errors.Is(err, graylib.ErrMalformedTag) != tt.bad || (err != nil) != tt.bad {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, carriedBy(ctx, graylib.HTTPKeys)); diff != "" {
				t.Errorf("carried (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzExtract: whatever stands on the wire, what goes on from there is well formed and fits every carrier.
func FuzzExtract(f *testing.F) {
	f.Fuzz(func(t *testing.T, tag, id, parent, state, reason string) {
		for _, keys := range allKeys {
			in := graylib.MapCarrier{}
			in[keys.Tag], in[keys.RequestID], in[keys.TraceParent], in[keys.TraceState] = tag, id, parent, state
			if keys.Reason != "" {
				in[keys.Reason] = reason
			}
			ctx, err := graylib.Extract(context.Background(), keys, in)
			got := graylib.TagFrom(ctx)
			if !got.Valid() || (err == nil) != (string(got) == tag) {
				t.Fatalf("tag %q became %q, error %v", tag, got, err)
			}
			rt := newRuntime(t, graylib.Identity{Service: "a"}, graylib.WithLogger(slog.New(slog.DiscardHandler)))
			arrived, arrival := rt.Arrive(context.Background(), graylib.ProtocolHTTP, keys, in)
			if diff := cmp.Diff(carriedBy(ctx, keys), carriedBy(arrived, keys)); diff != "" {
				t.Fatalf("Arrive and Extract differ (-extract +arrive):\n%s", diff)
			}
			out := graylib.MapCarrier{}
			graylib.Inject(arrived, keys, out)
			arrival.Return(keys, out)
			for k, v := range out {
				if k == "" || v == "" || len(v) > 16<<10 {
					t.Fatalf("%q=%q goes on", k, v)
				}
				for i := range len(v) {
					if v[i] < 0x20 || v[i] > 0x7e {
						t.Fatalf("%q=%q goes on", k, v)
					}
				}
			}
		}
	})
}

func TestHeaderCarrier(t *testing.T) {
	h := http.Header{}
	h.Add("X-Gray-Tag", "gray")
	h.Add("x-gray-tag", "blue")
	c := graylib.HeaderCarrier(h)
	if got := c.Get("x-gray-tag"); got != "gray" {
		t.Errorf("of two values %q counts, want the first", got)
	}
	c.Set("x-gray-tag", "red")
	c.Set("x-own", "1")
	c.Set("x-own", "2")
	if diff := cmp.Diff(http.Header{"X-Gray-Tag": {"red"}, "X-Own": {"2"}}, h); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	c.Set("x-gray-tag", "")
	c.Set("x-own", "")
	if len(h) != 0 {
		t.Errorf("headers left: %v", h)
	}
	for _, key := range []string{
		graylib.HTTPKeys.Tag, graylib.HTTPKeys.Reason, graylib.HTTPKeys.RequestID, graylib.HTTPKeys.TraceParent,
		graylib.HTTPKeys.TraceState, graylib.HTTPKeys.Hops, graylib.HTTPKeys.Messages,
	} {
		h.Set(key, "v")
		if got := c.Get(key); got != "v" {
			t.Errorf("net/http sets %s, the carrier reads %q", key, got)
		}
		if n := testing.AllocsPerRun(100, func() { c.Get(key) }); n != 0 {
			t.Errorf("reading %s allocates %v times", key, n)
		}
	}
}
