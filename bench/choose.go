package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/loadbalance"
	"github.com/cloudwego/kitex/pkg/loadbalance/lbcache"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/utils"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// chooseShapes are how many instances and lanes there are to choose among.
var chooseShapes = []struct{ instances, lanes int }{{10, 1}, {100, 1}, {1000, 1}, {10_000, 1}, {1000, 10}, {1000, 100}, {10_000, 100}}

// What a client does inside of graylib's middleware in place of sending, one for each contestant. Choosing by Kitex's
// round robin and by graylib both go through Kitex's own cache of balancers, as they do in a call. It is done many times within one
// call, each time with a departure of its own: what a call costs beside would hide the difference.
const (
	chooseNothing = "a departure that chooses nothing and isn't sent"
	chooseKitex   = "Kitex's round robin"
	chooseGray    = "graylib's choice by the tag"
)

var errNothingChosen = errors.New("nothing chosen")

// chooseContestants choose one of n instances. What each costs is what it takes beyond the first one.
func chooseContestants(instances, lanes int) ([]contestant, error) {
	const endpointName = "b" + graylib.RPCServiceSuffix
	registry := graylibtest.NewRegistry()
	var list []discovery.Instance
	for i := range instances {
		addr := fmt.Sprintf("10.%d.%d.%d:80", i>>16, i>>8&255, i&255)
		in := graylib.Instance{ID: fmt.Sprint(i), Service: endpointName, Addr: addr, Weight: 1}
		if l := i % (lanes + 1); l > 0 {
			in.Tag = laneTag(l)
		}
		registry.Put(in)
		list = append(list, discovery.NewInstance("tcp", addr, discovery.DefaultWeight, nil))
	}
	rt, err := newRuntime("a", graylib.Untagged, graylib.WithRegistry(registry.As(graylib.Identity{Service: "a", Instance: "a-1"})))
	if err != nil {
		return nil, err
	}
	ctx := graylib.WithTag(context.Background(), laneTag(lanes))
	request := &chain.Request{}

	kitexName := fmt.Sprintf("bench-%d-%d", instances, lanes)
	kitex := lbcache.NewBalancerFactory(&discovery.SynthesizedResolver{
		TargetFunc: func(context.Context, rpcinfo.EndpointInfo) string { return endpointName },
		ResolveFunc: func(context.Context, string) (discovery.Result, error) {
			return discovery.Result{Cacheable: true, CacheKey: endpointName, Instances: list}, nil
		},
		NameFunc: func() string { return kitexName },
	}, loadbalance.NewWeightedRoundRobinBalancer(), lbcache.Options{Cacheable: true})

	var gray *lbcache.BalancerFactory // of the client below: what graykitex gave it
	pick := func(ctx context.Context, f *lbcache.BalancerFactory) error {
		lb, err := f.Get(ctx, rpcinfo.GetRPCInfo(ctx).To())
		if err != nil {
			return err
		}
		if lb.GetPicker().Next(ctx, nil) == nil {
			return errNothingChosen
		}
		return nil
	}
	inside := map[string]func(ctx context.Context) error{
		chooseNothing: func(context.Context) error { return nil },
		chooseKitex:   func(ctx context.Context) error { return pick(ctx, kitex) },
		chooseGray:    func(ctx context.Context) error { return pick(ctx, gray) },
	}
	var do func(ctx context.Context) error
	var times int
	var middlewares []endpoint.Middleware // graylib's
	c, err := b.NewClient("b",
		client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(rt))),
		client.TailOption(client.Option{F: func(o *client.Options, _ *utils.Slice) {
			gray = lbcache.NewBalancerFactory(o.Resolver, o.Balancer, *o.BalancerCacheOpt)
			for _, build := range o.MWBs {
				middlewares = append(middlewares, build(ctx))
			}
			o.MWBs = []endpoint.MiddlewareBuilder{func(context.Context) endpoint.Middleware {
				return func(endpoint.Endpoint) endpoint.Endpoint {
					once := endpoint.Chain(middlewares...)(func(ctx context.Context, _, _ any) error { return do(ctx) })
					return func(ctx context.Context, req, resp any) error {
						for range times {
							if err := once(ctx, req, resp); err != nil {
								return err
							}
						}
						return nil
					}
				}
			}}
		}}),
	)
	if err != nil {
		return nil, err
	}
	var out []contestant
	for _, name := range []string{chooseNothing, chooseKitex, chooseGray} {
		out = append(out, contestant{name, func(n int) {
			do, times = inside[name], n
			if _, err := c.Invoke(ctx, request); err != nil {
				panic(fmt.Errorf("%s: %w", name, err))
			}
		}})
	}
	return out, nil
}

var laneTags = func() (tags [101]graylib.Tag) {
	for i := range tags {
		tags[i] = graylib.Tag(fmt.Sprintf("lane-%d", i))
	}
	return tags
}()

func laneTag(l int) graylib.Tag { return laneTags[l] }
