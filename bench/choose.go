package main

import (
	"context"
	"fmt"

	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/loadbalance"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// chooseShapes are how many instances and lanes there are to choose among.
var chooseShapes = []struct{ instances, lanes int }{{10, 1}, {100, 1}, {1000, 1}, {10_000, 1}, {1000, 10}, {1000, 100}, {10_000, 100}}

// chooseContestants choose one of n instances: Kitex's balancer in turn, and graylib by a tag. The first one is Kitex's, among
// as many instances as one lane has here. graylib chooses once for a call, so each is made for it; the second contestant makes
// it and doesn't choose: choosing is what the further ones take beyond it.
func chooseContestants(instances, lanes int) ([]contestant, error) {
	registry := graylibtest.NewRegistry()
	endpoint := "b" + graylib.RPCServiceSuffix
	share := 0
	for i := range instances {
		in := graylib.Instance{ID: fmt.Sprint(i), Service: endpoint, Addr: fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255), Weight: 1}
		if l := i % (lanes + 1); l > 0 {
			in.Tag = laneTag(l)
		} else {
			share++
		}
		registry.Put(in)
	}
	id := graylib.Identity{Service: "a", Instance: "a-1"}
	rt, err := newRuntime("a", graylib.Untagged, graylib.WithRegistry(registry.As(id)))
	if err != nil {
		return nil, err
	}
	table, err := rt.Table(context.Background(), endpoint)
	if err != nil {
		return nil, err
	}

	result := discovery.Result{Cacheable: true, CacheKey: endpoint}
	for i := range share {
		result.Instances = append(result.Instances, discovery.NewInstance("tcp", fmt.Sprintf("10.0.%d.%d:80", i>>8, i&255), discovery.DefaultWeight, nil))
	}
	kitex := loadbalance.NewWeightedRoundRobinBalancer()

	ctx := graylib.WithTag(context.Background(), laneTag(lanes))
	depart := func(n int, next func(*graylib.Call)) {
		for range n {
			_, call := rt.Depart(ctx, endpoint, nil)
			next(call)
		}
	}
	choose := func(call *graylib.Call, t *graylib.Table) {
		if in, _, err := call.Next(t); err != nil || in.Tag != laneTag(lanes) {
			panic(fmt.Sprintf("chose %+v, %v", in, err))
		}
	}
	return []contestant{
		{"Kitex's round robin", func(n int) {
			for range n {
				if kitex.GetPicker(result).Next(ctx, nil) == nil {
					panic("nothing chosen")
				}
			}
		}},
		{"a call that doesn't choose", func(n int) { depart(n, func(*graylib.Call) {}) }},
		{"graylib, from the service's table", func(n int) { depart(n, func(c *graylib.Call) { choose(c, table) }) }},
		{"graylib, the look-up of the table in the registry included", func(n int) {
			depart(n, func(c *graylib.Call) {
				t, err := rt.Table(ctx, endpoint)
				if err != nil {
					panic(err)
				}
				choose(c, t)
			})
		}},
	}, nil
}

var laneTags = func() (tags [101]graylib.Tag) {
	for i := range tags {
		tags[i] = graylib.Tag(fmt.Sprintf("lane-%d", i))
	}
	return tags
}()

func laneTag(l int) graylib.Tag { return laneTags[l] }
