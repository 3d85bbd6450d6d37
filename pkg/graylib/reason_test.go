package graylib_test

import (
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestReasonGoesWhereSomebodyWantsIt is the rule: where hops are wanted, and where the runtime has telemetry.
func TestReasonGoesWhereSomebodyWantsIt(t *testing.T) {
	table := graylib.NewTable("b")
	table.Store(graylib.NewSnapshot([]graylib.Instance{{Addr: "b:1", Weight: 1}}))
	for _, tt := range []struct {
		name  string
		asked string
		opts  []graylib.Option
		want  string
	}{
		{name: "nobody wants it"},
		{name: "the caller asks for hops", asked: graylib.HopsWanted, want: "baseline"},
		{name: "hops are collected here", opts: []graylib.Option{graylib.WithHops()}, want: "baseline"},
		{name: "telemetry", opts: []graylib.Option{graylib.WithTelemetry(graylib.NoTelemetry{})}, want: "baseline"},
		{name: "no telemetry", opts: []graylib.Option{graylib.WithTelemetry(nil)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := newRuntime(t, baselineSelf, tt.opts...)
			in := graylib.MapCarrier{}
			in.Set("GRAY_HOPS", tt.asked)
			ctx, _ := rt.Arrive(t.Context(), graylib.ProtocolRPC, graylib.RPCKeys, in)
			_, call := rt.Depart(ctx, "b", nil)
			if _, reason, err := call.Next(table); err != nil || reason != graylib.ReasonBaseline {
				t.Fatal(reason, err)
			}
			out := graylib.MapCarrier{"GRAY_REASON": "lane"} // of an older hop, handed on by a proxy
			call.Inject(graylib.RPCKeys, out)
			if got := out["GRAY_REASON"]; got != tt.want {
				t.Errorf("sends the reason %q, want %q", got, tt.want)
			}
		})
	}
}
