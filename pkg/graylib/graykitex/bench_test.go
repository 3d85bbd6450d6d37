package graykitex

import (
	"context"
	"fmt"
	"testing"

	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/loadbalance"

	"github.com/graychain/graychain/pkg/graylib"
)

// benchCase is one table, calls to it, and Kitex's own picker over the same instances.
func benchCase(b testing.TB, n, lanes int) (depart func() context.Context, ours, theirs loadbalance.Loadbalancer, result discovery.Result) {
	b.Helper()
	var instances []graylib.Instance
	for i := range n {
		in := graylib.Instance{ID: fmt.Sprint(i), Service: "b.rpc", Addr: fmt.Sprintf("10.0.%d.%d:80", i/256, i%256), Weight: 1}
		if l := i % (lanes + 1); l > 0 {
			in.Tag = graylib.Tag(fmt.Sprint("lane-", l))
		}
		instances = append(instances, in)
	}
	table := graylib.NewTable("b.rpc")
	table.Store(graylib.NewSnapshot(instances))
	result = discovery.Result{Cacheable: true}
	for i := range instances {
		result.Instances = append(result.Instances, instance{&instances[i]})
	}
	rt, err := graylib.New(graylib.Identity{Service: "a"})
	if err != nil {
		b.Fatal(err)
	}
	tagged := graylib.WithTag(context.Background(), "lane-1")
	_, ours, _ = newResolver(rt, "b.rpc")
	result.CacheKey = ours.Name() + ":b.rpc"
	theirs = loadbalance.NewWeightedRoundRobinBalancer()
	return func() context.Context {
		d := &departure{table: table}
		rt.DepartIn(tagged, &d.Departed, "b.rpc", nil)
		return d
	}, ours, theirs, result
}

// BenchmarkPick is choosing one instance: ours by the tag, with what it notes of the call, against Kitex's round
// robin, which knows no tag. Both as Kitex asks for it with each request.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{10, 100, 10_000} {
		for _, lanes := range []int{1, 100} {
			if lanes >= n {
				continue
			}
			depart, ours, theirs, result := benchCase(b, n, lanes)
			b.Run(fmt.Sprintf("instances=%d/lanes=%d/of=graychain", n, lanes), func(b *testing.B) {
				b.ReportAllocs()
				contexts := make([]context.Context, 128)
				for i := range b.N {
					if i%len(contexts) == 0 {
						b.StopTimer()
						for k := range contexts {
							contexts[k] = depart() //nolint:fatcontext // a set of contexts, not a chain
						}
						b.StartTimer()
					}
					if ours.GetPicker(result).Next(contexts[i%len(contexts)], nil) == nil {
						b.Fatal("nobody")
					}
				}
			})
			b.Run(fmt.Sprintf("instances=%d/lanes=%d/of=kitex", n, lanes), func(b *testing.B) {
				b.ReportAllocs()
				ctx := depart()
				for b.Loop() {
					if theirs.GetPicker(result).Next(ctx, nil) == nil {
						b.Fatal("nobody")
					}
				}
			})
		}
	}
}
