package graykitex

import (
	"context"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/pkg/graylib"
)

// Calls over TTHeader don't take the way through the context's metainfo: what a call carries is written straight into the
// message, under the names that metainfo would have written, and so is what goes back. A service can't tell the difference;
// it spares most of what carrying costs.

// wireKey is a key as metainfo spells it in TTHeader.
func wireKey(key string) string {
	k := &graylib.RPCKeys
	switch key { // in full, because putting the two together allocates
	case k.Tag:
		return wireKeys.Tag
	case k.RequestID:
		return wireKeys.RequestID
	case k.TraceParent:
		return wireKeys.TraceParent
	case k.TraceState:
		return wireKeys.TraceState
	case k.Reason:
		return wireKeys.Reason
	}
	return metainfo.PrefixPersistent + key
}

var wireKeys = graylib.Keys{
	Tag:         metainfo.PrefixPersistent + graylib.RPCKeys.Tag,
	RequestID:   metainfo.PrefixPersistent + graylib.RPCKeys.RequestID,
	TraceParent: metainfo.PrefixPersistent + graylib.RPCKeys.TraceParent,
	TraceState:  metainfo.PrefixPersistent + graylib.RPCKeys.TraceState,
	Reason:      metainfo.PrefixTransient + graylib.RPCKeys.Reason,
}

// direct tells whether the messages of a call are written straight: TTHeader's are, of calls alone.
func direct(ri rpcinfo.RPCInfo) bool {
	tp := ri.Config().TransportProtocol()
	return tp&transport.TTHeader != 0 && tp&transport.GRPC == 0
}

// outgoing is the context of one try of a call over TTHeader, with what the message is to carry. What was set last counts,
// and an empty value takes what the context's metainfo has away.
type outgoing struct {
	context.Context
	values []keyValue
	room   [6]keyValue
}

type keyValue struct{ key, value string }

type outgoingKey struct{}

// outgoing fixes what the call carries in this try. The first one's has its place in the departure.
func (d *departure) outgoing(ctx context.Context) context.Context {
	o := &d.first
	if o.Context != nil {
		o = new(outgoing)
	}
	o.Context, o.values = ctx, o.room[:0]
	d.call.Inject(graylib.RPCKeys, o)
	return o
}

// Value implements [context.Context].
func (o *outgoing) Value(key any) any {
	if _, ok := key.(outgoingKey); ok {
		return o
	}
	return o.Context.Value(key)
}

// Get implements [graylib.Carrier].
func (o *outgoing) Get(key string) string {
	for i := len(o.values) - 1; i >= 0; i-- {
		if o.values[i].key == key {
			return o.values[i].value
		}
	}
	return arrivedCarrier{o.Context}.Get(key)
}

// Set implements [graylib.Carrier].
func (o *outgoing) Set(key, value string) { o.values = append(o.values, keyValue{key, value}) }

// write puts the values into a message.
func (o *outgoing) write(msg remote.Message) {
	carrier := carrierOf(msg)
	for _, kv := range o.values {
		carrier.Set(wireKey(kv.key), kv.value)
	}
}

// carrierOf returns a message's own strings, by the names on the wire.
func carrierOf(msg remote.Message) graylib.MapCarrier {
	m := msg.TransInfo().TransStrInfo()
	if m == nil {
		m = make(map[string]string)
		msg.TransInfo().PutTransStrInfo(m)
	}
	return m
}

// comingBack is what a callee sent back with an answer.
type comingBack struct{ hops, messages string }

// Get implements [graylib.Carrier].
func (c *comingBack) Get(key string) string {
	switch key {
	case graylib.RPCKeys.Hops:
		return c.hops
	case graylib.RPCKeys.Messages:
		return c.messages
	}
	return ""
}

// Set implements [graylib.Carrier]; nothing is ever set.
func (*comingBack) Set(string, string) {}

// arrivalExtra is where the arrival stands in the call's own notes, for the handler that writes the answer's header: that
// has not the handler's context.
const arrivalExtra = "graychain.arrival"

// noteArrival keeps the arrival for the answer, and tells whether there is a place for it.
func noteArrival(ri rpcinfo.RPCInfo, a *arrival) bool {
	setter, ok := ri.Invocation().(rpcinfo.InvocationSetter)
	if ok {
		setter.SetExtra(arrivalExtra, a)
	}
	return ok
}

// answerHandler writes hops and messages into a call's answer.
type answerHandler struct{}

var _ remote.MetaHandler = answerHandler{}

// ReadMeta implements [remote.MetaHandler].
func (answerHandler) ReadMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	return ctx, nil
}

// WriteMeta implements [remote.MetaHandler].
func (answerHandler) WriteMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	if ri := msg.RPCInfo(); ri != nil && ri.Invocation() != nil {
		if a, ok := ri.Invocation().Extra(arrivalExtra).(*arrival); ok {
			a.Return(graylib.RPCKeys, carrierOf(msg))
		}
	}
	return ctx, nil
}
