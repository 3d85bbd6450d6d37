package graylib_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

// laneTable is a table of n instances: the baseline and the given number of lanes, in equal parts.
func laneTable(n, lanes int) *graylib.Table {
	instances := make([]graylib.Instance, n)
	for i := range instances {
		instances[i] = graylib.Instance{ID: fmt.Sprint(i), Service: "b", Addr: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Weight: 1}
		if l := i % (lanes + 1); l > 0 {
			instances[i].Tag = laneTag(l)
		}
	}
	t := graylib.NewTable("b")
	t.Store(graylib.NewSnapshot(instances))
	return t
}

func laneTag(l int) graylib.Tag { return graylib.Tag(fmt.Sprintf("lane-%d", l)) }

// BenchmarkChoose is choosing an instance of a lane from the newest snapshot: flat over instances and lanes, no allocation.
func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10_000} {
		for _, lanes := range []int{1, 10, 100} {
			if lanes >= n {
				continue
			}
			b.Run(fmt.Sprintf("instances=%d/lanes=%d", n, lanes), func(b *testing.B) {
				table, tag := laneTable(n, lanes), laneTag(lanes)
				b.ReportAllocs()
				for b.Loop() {
					set, reason := table.Load().Choose(tag)
					if in, ok := set.Pick(); !ok || in.Tag != tag || reason != graylib.ReasonLane {
						b.Fatal(in, reason)
					}
				}
			})
		}
	}
}

func BenchmarkChooseWeighted(b *testing.B) {
	var instances []graylib.Instance
	for i := range 1000 {
		instances = append(instances, graylib.Instance{Addr: fmt.Sprint("h:", i), Weight: float64(1 + i%7)})
	}
	s := graylib.NewSnapshot(instances)
	b.ReportAllocs()
	for b.Loop() {
		set, _ := s.Choose("")
		if _, ok := set.Pick(); !ok {
			b.Fatal("nothing picked")
		}
	}
}

func BenchmarkChooseParallel(b *testing.B) {
	table := laneTable(100, 1)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			set, _ := table.Load().Choose("lane-1")
			set.Pick()
		}
	})
}

func tagged() context.Context {
	ctx, err := graylib.Extract(context.Background(), graylib.HTTPKeys, graylib.MapCarrier{
		"x-gray-tag": "gray", "x-request-id": graylib.NewRequestID(), "traceparent": goodTrace,
	})
	if err != nil {
		panic(err)
	}
	return ctx
}

// BenchmarkInjectExtract is one carrier's share of a hop: write and read tag, request id and trace.
func BenchmarkInjectExtract(b *testing.B) {
	for name, c := range map[string]graylib.Carrier{"map": graylib.MapCarrier{}, "header": graylib.HeaderCarrier(http.Header{})} {
		b.Run(name, func(b *testing.B) {
			ctx := tagged()
			b.ReportAllocs()
			for b.Loop() {
				graylib.Inject(ctx, graylib.HTTPKeys, c)
				if _, err := graylib.Extract(context.Background(), graylib.HTTPKeys, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHop is all that the core does for one hop: arrive, depart, choose, inject; with the way back in the second part.
func BenchmarkHop(b *testing.B) {
	rt := newRuntime(b, baselineSelf)
	table := laneTable(10, 1)
	in := graylib.MapCarrier{"GRAY_TAG": "lane-1", "GRAY_REQUEST_ID": graylib.NewRequestID(), "TRACEPARENT": goodTrace, "GRAY_REASON": "lane"}
	out := graylib.MapCarrier{}
	there := func(b *testing.B) (*graylib.Arrival, *graylib.Call) {
		ctx, arrival := rt.Arrive(context.Background(), graylib.ProtocolRPC, graylib.RPCKeys, in)
		_, call := rt.Depart(ctx, "b.rpc", noRequest{})
		if _, _, err := call.Next(table); err != nil {
			b.Fatal(err)
		}
		call.Inject(graylib.RPCKeys, out)
		return arrival, call
	}
	b.Run("there", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			there(b)
		}
	})
	b.Run("there and back", func(b *testing.B) {
		callee := hop("b", "lane-1")
		callee.Addr, callee.Instance = "10.0.0.17:12080", "b-lane-1-host-0123456789abcdef"
		back := graylib.MapCarrier{"GRAY_HOPS": graylib.EncodeHops([]graylib.Hop{callee})}
		answer := graylib.MapCarrier{}
		b.ReportAllocs()
		for b.Loop() {
			arrival, call := there(b)
			call.Return(graylib.RPCKeys, back)
			arrival.Return(graylib.RPCKeys, answer)
		}
	})
}

func BenchmarkEncodeHops(b *testing.B) {
	hops := []graylib.Hop{hop("a", "gray"), hop("b", ""), hop("c", "gray")}
	b.ReportAllocs()
	for b.Loop() {
		graylib.EncodeHops(hops)
	}
}

func BenchmarkDecodeHops(b *testing.B) {
	s := graylib.EncodeHops([]graylib.Hop{hop("a", "gray"), hop("b", ""), hop("c", "gray")})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := graylib.DecodeHops(s); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocations holds what issue 4 asks of carrying and choosing: the contexts are all that is allocated.
func TestAllocations(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	table := laneTable(100, 10)
	in := graylib.MapCarrier{"GRAY_TAG": "lane-1", "GRAY_REQUEST_ID": "r", "TRACEPARENT": goodTrace, "GRAY_REASON": "lane"}
	out := graylib.MapCarrier{}
	ctx, _ := rt.Arrive(t.Context(), graylib.ProtocolRPC, graylib.RPCKeys, in)
	for _, tt := range []struct {
		name string
		most float64
		do   func()
	}{
		{"choosing", 0, func() { set, _ := table.Load().Choose("lane-1"); set.Pick() }},
		{"reading the tag", 0, func() { graylib.TagFrom(ctx) }},
		{"injecting", 0, func() { graylib.Inject(ctx, graylib.RPCKeys, out) }},
		{"arriving", 1, func() { rt.Arrive(ctx, graylib.ProtocolRPC, graylib.RPCKeys, in) }},
		{"departing and choosing", 1, func() {
			_, call := rt.Depart(ctx, "b.rpc", noRequest{})
			_, _, _ = call.Next(table)
			call.Inject(graylib.RPCKeys, out)
		}},
	} {
		if got := testing.AllocsPerRun(200, tt.do); got > tt.most {
			t.Errorf("%s: %v allocations, want at most %v", tt.name, got, tt.most)
		}
	}
}
