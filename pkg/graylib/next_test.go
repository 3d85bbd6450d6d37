package graylib_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestNextTriesTheLaneThenTheBaseline on random tables: every instance of the lane once, then every one of the baseline
// once, with the right reasons, then an error; an untagged call never sees a lane.
func TestNextTriesTheLaneThenTheBaseline(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	rapid.Check(t, func(t *rapid.T) {
		var instances []graylib.Instance
		count := map[graylib.Tag]int{}
		for i, tag := range rapid.SliceOfN(rapid.SampledFrom([]graylib.Tag{"", "gray", "blue"}), 0, 12).Draw(t, "tags") {
			instances = append(instances, graylib.Instance{
				Addr: fmt.Sprint("h:", i), Tag: tag, Weight: rapid.SampledFrom([]float64{1, 2}).Draw(t, "weight"),
			})
			count[tag]++
		}
		table := graylib.NewTable("b")
		table.Store(graylib.NewSnapshot(instances))
		tag := rapid.SampledFrom([]graylib.Tag{"", "gray", "red"}).Draw(t, "tag")
		_, call := rt.Depart(graylib.WithTag(context.Background(), tag), "b", nil)

		tried := map[string]bool{}
		try := func(n int, of graylib.Tag, reason graylib.Reason) {
			for range n {
				in, got, err := call.Next(table)
				if err != nil || in.Tag != of || got != reason || call.Reason() != reason || tried[in.Addr] {
					t.Fatalf("instance %+v, reason %q (call says %q), error %v; want a new one of %q, %q", in, got, call.Reason(), err, of, reason)
				}
				tried[in.Addr] = true
			}
		}
		switch {
		case tag == "":
			try(count[""], "", graylib.ReasonBaseline)
		case count[tag] == 0:
			try(count[""], "", graylib.ReasonNoInstance)
		default:
			try(count[tag], tag, graylib.ReasonLane)
			try(count[""], "", graylib.ReasonConnectFailed)
		}
		if _, _, err := call.Next(table); !errors.Is(err, graylib.ErrNoInstance) {
			t.Fatalf("everybody was tried, error %v", err)
		}
	})
}

func TestNextSpreadsWhatFailed(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	var instances []graylib.Instance
	for i := range 5 {
		instances = append(instances, graylib.Instance{Addr: fmt.Sprint("h:", i), Weight: 1})
	}
	instances[0].Weight = 1000 // nearly every pick
	table := graylib.NewTable("b")
	table.Store(graylib.NewSnapshot(instances))
	second := map[string]int{}
	for range 2000 {
		_, call := rt.Depart(t.Context(), "b", nil)
		_, _, _ = call.Next(table)
		in, _, err := call.Next(table)
		if err != nil {
			t.Fatal(err)
		}
		second[in.Addr]++
	}
	for _, in := range instances[1:] {
		if second[in.Addr] < 200 { // of about 500
			t.Errorf("%s took over %d of 2000 times: %v", in.Addr, second[in.Addr], second)
		}
	}
}

func TestNextErrorSaysWhatIsKnown(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	_, call := rt.Depart(graylib.WithTag(t.Context(), "gray"), "b", nil)
	_, _, err := call.Next(graylib.NewTable("b"))
	if !errors.Is(err, graylib.ErrNoInstance) || !strings.Contains(err.Error(), "b for tag gray") {
		t.Errorf("error %v", err)
	}
}

func TestReasonOnTheWire(t *testing.T) {
	rt := newRuntime(t, baselineSelf, graylib.WithHops())
	table := graylib.NewTable("b")
	table.Store(graylib.NewSnapshot([]graylib.Instance{{Addr: "h:1", Weight: 1}}))
	_, call := rt.Depart(t.Context(), "b", nil)
	wire := graylib.MapCarrier{"x-gray-reason": "lane"}
	call.Inject(graylib.HTTPKeys, wire)
	if got, there := wire["x-gray-reason"]; there {
		t.Errorf("nothing was chosen, but the reason on the wire is %q", got)
	}
	if _, _, err := call.Next(table); err != nil {
		t.Fatal(err)
	}
	call.Inject(graylib.HTTPKeys, wire)
	for sent, want := range map[string]graylib.Reason{wire["x-gray-reason"]: "baseline", "because": "", "lane\r\n": "", "fallback: ejected": "fallback: ejected"} {
		ctx, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-reason": sent})
		if hops, _ := graylib.Chain(ctx); hops[0].Reason != want {
			t.Errorf("reason %q on the wire became %q, want %q", sent, hops[0].Reason, want)
		}
	}
}
