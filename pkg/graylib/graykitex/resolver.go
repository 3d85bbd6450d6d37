package graykitex

import (
	"context"
	"fmt"
	"math"
	"net"
	"strings"

	"github.com/cloudwego/kitex/pkg/discovery"
	"github.com/cloudwego/kitex/pkg/loadbalance"
	"github.com/cloudwego/kitex/pkg/loadbalance/lbcache"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/graychain/graychain/pkg/graylib"
)

// newResolver returns what a client of one endpoint needs for choosing. The names are the runtime's and the endpoint's own:
// Kitex keeps one cache, with a goroutine that lives as long as the process, for each pair of names, and shares it among
// the clients whose names are equal.
func newResolver(rt *graylib.Runtime, endpoint string) (discovery.Resolver, loadbalance.Loadbalancer, *lbcache.Options) {
	name := fmt.Sprintf("graychain-%s-%p-%s", rt.Identity().Instance, rt, endpoint)
	r := &resolver{rt: rt, endpoint: endpoint, name: name}
	return r, &balancer{name: name, prefix: name + ":"}, &lbcache.Options{Cacheable: true}
}

// resolver tells Kitex of the instances that the runtime's table has. What is chosen doesn't depend on it; it is by its
// changes that Kitex closes pooled connections to instances that are gone.
type resolver struct {
	rt       *graylib.Runtime
	endpoint string
	name     string
}

// Target implements [discovery.Resolver]: one entry for a service, whatever the tag.
func (r *resolver) Target(context.Context, rpcinfo.EndpointInfo) string { return r.endpoint }

// Resolve implements [discovery.Resolver].
func (r *resolver) Resolve(ctx context.Context, endpoint string) (discovery.Result, error) {
	t, err := r.rt.Table(ctx, endpoint)
	known := t.Load().Instances()
	if err != nil && len(known) == 0 {
		return discovery.Result{}, err
	}
	result := discovery.Result{Cacheable: true, CacheKey: endpoint, Instances: make([]discovery.Instance, len(known))}
	for i := range known {
		result.Instances[i] = instance{&known[i]}
	}
	return result, nil
}

// Diff implements [discovery.Resolver].
func (r *resolver) Diff(cacheKey string, prev, next discovery.Result) (discovery.Change, bool) {
	return discovery.DefaultDiff(cacheKey, prev, next)
}

// Name implements [discovery.Resolver].
func (r *resolver) Name() string { return r.name }

// balancer picks by the call's tag from the runtime's table, which a push of the registry swaps, and not from
// what Kitex polled.
type balancer struct {
	name   string
	prefix string
}

var (
	_ loadbalance.Loadbalancer = (*balancer)(nil)
	_ loadbalance.Rebalancer   = (*balancer)(nil)
)

// weighted serves results that aren't of our resolver.
var weighted = loadbalance.NewWeightedBalancer()

// GetPicker implements [loadbalance.Loadbalancer].
func (b *balancer) GetPicker(result discovery.Result) loadbalance.Picker {
	if !b.ours(result) {
		return weighted.GetPicker(result)
	}
	return picker{}
}

// ours tells whether a result is of our resolver: by its instances, because each call asks, and comparing names takes longer.
func (b *balancer) ours(result discovery.Result) bool {
	if len(result.Instances) == 0 {
		return strings.HasPrefix(result.CacheKey, b.prefix)
	}
	_, ours := result.Instances[0].(instance)
	return ours
}

// Name implements [loadbalance.Loadbalancer].
func (b *balancer) Name() string { return b.name }

// Rebalance implements [loadbalance.Rebalancer]. There is nothing to do here; but without the method Kitex doesn't close
// pooled connections.
func (*balancer) Rebalance(discovery.Change) {}

// Delete implements [loadbalance.Rebalancer].
func (*balancer) Delete(discovery.Change) {}

// picker has no state: who is next stands in the call.
type picker struct{}

// Next implements [loadbalance.Picker]. Kitex calls it again when the instance couldn't be connected to.
func (picker) Next(ctx context.Context, _ interface{}) discovery.Instance {
	d := departureFrom(ctx)
	if d == nil || d.table == nil {
		return nil
	}
	in, _, err := d.Call().Next(d.table)
	if err != nil {
		d.further().noInstance = err
		return nil
	}
	return instance{in}
}

// instance shows Kitex an instance of a snapshot. It is one pointer, so that making an interface of it allocates nothing.
type instance struct{ in *graylib.Instance }

// Address implements [discovery.Instance].
func (i instance) Address() net.Addr { return instanceAddr(i) }

// Weight implements [discovery.Instance], in Kitex's scale.
func (i instance) Weight() int {
	return int(math.Round(min(max(i.in.Weight*discovery.DefaultWeight, 1), 1<<20)))
}

// Tag implements [discovery.Instance].
func (i instance) Tag(key string) (string, bool) {
	if key == graylib.MetadataTag && i.in.Tag != graylib.Untagged {
		return string(i.in.Tag), true
	}
	return "", false
}

type instanceAddr struct{ in *graylib.Instance }

// Network implements [net.Addr].
func (instanceAddr) Network() string { return "tcp" }

// String implements [net.Addr].
func (a instanceAddr) String() string { return a.in.Addr }
