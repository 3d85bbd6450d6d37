package graykitex

import (
	"cmp"
	"context"
	"sync"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/graychain/graychain/pkg/graylib"
)

// A service hands the tag on through clients without graylib too: what came in stands in the context's metainfo, and Kitex
// sends that along. Making metainfo's values takes longer than all the rest of an arrival, and hardly anybody
// asks for them: graylib's own clients don't. So a context of ours answers for metainfo itself, and makes them when it is
// asked; the place for what a handler sends back by metainfo likewise.

// The keys under which package metainfo keeps its values in a context, learned by asking it; nil where that doesn't work out:
// then they are made with each arrival.
var (
	metainfoKey = learnKey(
		func(ctx context.Context) context.Context { return metainfo.WithPersistentValue(ctx, "GRAY_PROBE", "x") },
		func(ctx context.Context) bool {
			v, _ := metainfo.GetPersistentValue(ctx, "GRAY_PROBE")
			return v == "x"
		})
	backwardKey = learnKey(metainfo.WithBackwardValuesToSend,
		func(ctx context.Context) bool { return metainfo.SendBackwardValue(ctx, "GRAY_PROBE", "x") })
)

// rpcinfoKey is the key under which Kitex keeps a call's RPCInfo. It asks for it all along a call's way, and contexts of ours, which have it,
// answer at once. Where it can't be learned nobody asks for it, and they pass all questions on.
var rpcinfoKey = cmp.Or(learnKey(
	func(ctx context.Context) context.Context {
		return rpcinfo.NewCtxWithRPCInfo(ctx, rpcinfo.NewRPCInfo(nil, nil, nil, nil, nil))
	},
	func(ctx context.Context) bool { return rpcinfo.GetRPCInfo(ctx) != nil }), any(unlearned{}))

type unlearned struct{}

// learnKey returns the key that ask looks a context up by, once it has seen that another context than the one which with makes can
// answer for it.
func learnKey(with func(context.Context) context.Context, ask func(context.Context) bool) any {
	probe := &listening{Context: context.Background()}
	ask(probe)
	if probe.key == nil {
		return nil
	}
	made := with(context.Background()).Value(probe.key)
	if made == nil || !ask(answering{context.Background(), probe.key, made}) {
		return nil
	}
	return probe.key
}

// listening is a context that remembers what it was asked for.
type listening struct {
	context.Context
	key any
}

// Value implements [context.Context].
func (l *listening) Value(key any) any {
	l.key = key
	return nil
}

// answering is a context that knows one value.
type answering struct {
	context.Context
	key, value any
}

// Value implements [context.Context].
func (a answering) Value(key any) any {
	if key == a.key {
		return a.value
	}
	return a.Context.Value(key)
}

// taken returns ctx with what was taken out of the message in its metainfo.
func (a *arrival) taken(ctx context.Context) context.Context {
	k := &graylib.RPCKeys
	kvs := make([]string, 0, 8)
	add := func(key, value string) {
		if value != "" {
			kvs = append(kvs, key, value)
		}
	}
	if a.tagged { // else the own lane may have coloured it
		add(k.Tag, string(graylib.TagFrom(&a.Arrived)))
	}
	add(k.RequestID, graylib.RequestIDFrom(&a.Arrived))
	add(k.TraceParent, graylib.TraceParentFrom(&a.Arrived))
	add(k.TraceState, graylib.TraceStateFrom(&a.Arrived))
	return metainfo.WithPersistentValues(ctx, kvs...)
}

// metainfoValues are what was made of metainfo for one arrival.
type metainfoValues struct {
	mu       sync.Mutex
	asked    bool // for the values that came in; they may be none
	forward  any
	backward any // the place for what goes back; nil: nobody has asked for it
}

// made returns the place for what is made of metainfo.
func (a *arrival) made() *metainfoValues {
	if v := a.lazy.Load(); v != nil {
		return v
	}
	a.lazy.CompareAndSwap(nil, &metainfoValues{})
	return a.lazy.Load()
}

// metainfo returns metainfo's values: those that it had itself, and what was taken.
func (a *arrival) metainfo() any {
	v := a.made()
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.asked {
		v.asked, v.forward = true, a.taken(a.Context).Value(metainfoKey)
	}
	return v.forward
}

// toSend returns metainfo's place for what goes back.
func (a *arrival) toSend() any {
	v := a.made()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.backward == nil {
		v.backward = metainfo.WithBackwardValuesToSend(context.Background()).Value(backwardKey)
	}
	return v.backward
}

// sendsBack tells whether somebody has asked for that place.
func (a *arrival) sendsBack() bool {
	v := a.lazy.Load()
	if v == nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.backward != nil
}

// handedOut tells whether somebody has asked for the values that came in.
func (a *arrival) handedOut() bool {
	v := a.lazy.Load()
	if v == nil {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.asked
}

// metainfoBelow returns metainfo's values in ctx, without what an arrival of ours would add: a call of ours writes that
// itself.
func metainfoBelow(ctx context.Context) any {
	a, ok := ctx.Value(arrivalKey{}).(*arrival)
	switch {
	case !ok || !a.straight || a.Context == nil: // a middleware of the application's that stands before ours makes the call
		return ctx.Value(metainfoKey)
	case !a.handedOut(): // whoever adds to metainfo asks for it first: so nobody has, and nothing has to be made
		return a.Context.Value(metainfoKey)
	}
	values := ctx.Value(metainfoKey)
	if values == a.metainfo() {
		return a.Context.Value(metainfoKey)
	}
	return values
}
