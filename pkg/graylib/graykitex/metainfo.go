package graykitex

import (
	"context"

	"github.com/bytedance/gopkg/cloud/metainfo"

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

// metainfo returns metainfo's values: those that it had itself, and what was taken.
func (a *arrival) metainfo() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.forward == nil {
		a.forward = a.taken(a.Context).Value(metainfoKey)
	}
	return a.forward
}

// toSend returns metainfo's place for what goes back.
func (a *arrival) toSend() any {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.backward == nil {
		a.backward = metainfo.WithBackwardValuesToSend(context.Background()).Value(backwardKey)
	}
	return a.backward
}

// sendsBack tells whether somebody has asked for that place.
func (a *arrival) sendsBack() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.backward != nil
}

// metainfoBelow returns metainfo's values in ctx, without what an arrival of ours would add: a call of ours writes that
// itself.
func metainfoBelow(ctx context.Context) any {
	a, ok := ctx.(*arrival)
	if ok && a.straight { // most of the time, and nothing has to be made
		return a.Context.Value(metainfoKey)
	}
	values := ctx.Value(metainfoKey)
	if a, ok = ctx.Value(arrivalKey{}).(*arrival); ok && a.straight && values == a.metainfo() {
		return a.Context.Value(metainfoKey)
	}
	return values
}
