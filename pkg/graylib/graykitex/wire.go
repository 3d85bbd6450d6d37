package graykitex

import (
	"context"
	"strings"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/transmeta"
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
	case k.Hops:
		return wireKeys.Hops
	}
	return metainfo.PrefixPersistent + key
}

var wireKeys = graylib.Keys{
	Tag:         metainfo.PrefixPersistent + graylib.RPCKeys.Tag,
	RequestID:   metainfo.PrefixPersistent + graylib.RPCKeys.RequestID,
	TraceParent: metainfo.PrefixPersistent + graylib.RPCKeys.TraceParent,
	TraceState:  metainfo.PrefixPersistent + graylib.RPCKeys.TraceState,
	Reason:      metainfo.PrefixTransient + graylib.RPCKeys.Reason,
	Hops:        metainfo.PrefixTransient + graylib.RPCKeys.Hops, // on the way out
}

// direct tells whether the messages of a call are written straight: TTHeader's are, of calls alone.
func direct(ri rpcinfo.RPCInfo) bool {
	tp := ri.Config().TransportProtocol()
	return tp&transport.TTHeader != 0 && tp&transport.GRPC == 0
}

// onWire carries values in a message's own strings, by the names that metainfo gives them there.
type onWire map[string]string

// Get implements [graylib.Carrier].
func (m onWire) Get(key string) string { return m[wireKey(key)] }

// Set implements [graylib.Carrier].
func (m onWire) Set(key, value string) {
	if value == "" {
		delete(m, wireKey(key))
		return
	}
	m[wireKey(key)] = value
}

// freshOnWire is onWire for a message in which nothing stands yet: what is to be written is written once, and looked for in vain before.
type freshOnWire map[string]string

// Get implements [graylib.Carrier].
func (freshOnWire) Get(string) string { return "" }

// Set implements [graylib.Carrier].
func (m freshOnWire) Set(key, value string) { onWire(m).Set(key, value) }

// carrierOf returns the carrier for what a call writes into a message.
func carrierOf(msg remote.Message) graylib.Carrier {
	m := stringsOf(msg)
	if len(m) == 0 {
		return freshOnWire(m)
	}
	return onWire(m)
}

// stringsOf returns a message's own strings.
func stringsOf(msg remote.Message) map[string]string {
	m := msg.TransInfo().TransStrInfo()
	if m == nil {
		m = make(map[string]string)
		msg.TransInfo().PutTransStrInfo(m)
	}
	return m
}

// A try of a call over TTHeader is a context. What it carries is written when the message is, maybe by another goroutine, and
// while a next try has begun: so the reason stands in it. The first one has its place in the departure.
type tryKey struct{}

// furtherTry is a try after the first one.
type furtherTry struct {
	context.Context
	call   *graylib.Call
	reason graylib.Reason
}

// Value implements [context.Context].
func (t *furtherTry) Value(key any) any {
	if _, ok := key.(tryKey); ok {
		return t
	}
	return t.Context.Value(key)
}

// straight fixes what the call carries in this try.
func (d *departure) straight(ctx context.Context) context.Context {
	reason := d.Call().Reason()
	if !d.sent.Load() {
		d.reason = reason
		d.sent.Store(true)
		return ctx
	}
	return &furtherTry{ctx, d.Call(), reason}
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

// serverMeta is metainfo's handler of a server, for whose calls over TTHeader it takes our own values out of the message first:
// they make the arrival. Where there is no metainfo beside them there is nothing else to do: metainfo, which makes room for as many
// values as the message has strings of any kind, is spared the look.
type serverMeta struct {
	rt *graylib.Runtime
	metainfoHandler
}

// metainfoHandler is what Kitex's handler of metainfo is.
type metainfoHandler interface {
	remote.MetaHandler
	remote.StreamingMetaHandler
}

var _ metainfoHandler = serverMeta{}

// ReadMeta implements [remote.MetaHandler].
func (h serverMeta) ReadMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	ri := msg.RPCInfo()
	if !direct(ri) {
		return h.metainfoHandler.ReadMeta(ctx, msg)
	}
	a := &arrival{ri: ri, straight: true, read: ctx, values: msg.TransInfo().TransStrInfo()}
	if a.left = int32(len(a.values)); a.left > 0 && a.values[transmeta.HeaderIDLServiceName] != "" {
		a.left--
	}
	t := (*taking)(a)
	h.rt.ArriveIn(&a.Arrived, graylib.ProtocolRPC, graylib.RPCKeys, t)
	others := false
	if a.left > 0 {
		t.remove()
		others = hasMetainfo(a.values)
	}
	a.values = nil
	switch {
	case others:
		return h.metainfoHandler.ReadMeta((*before)(a), msg)
	case backwardKey == nil:
		return metainfo.WithBackwardValuesToSend((*before)(a)), nil
	}
	return (*before)(a), nil
}

// WriteMeta implements [remote.MetaHandler]. It writes hops and messages into a call's answer.
func (h serverMeta) WriteMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	a, ok := ctx.Value(arrivalKey{}).(*arrival)
	if !ok || !a.straight || a.ri != msg.RPCInfo() {
		return h.metainfoHandler.WriteMeta(ctx, msg)
	}
	var err error
	if backwardKey == nil || a.sendsBack() {
		ctx, err = h.metainfoHandler.WriteMeta(ctx, msg)
	}
	if a.Arrival().Asked() {
		a.Arrival().Return(graylib.RPCKeys, graylib.MapCarrier(stringsOf(msg)))
	}
	return ctx, err
}

// taking is an arrival as the Carrier that it takes its values from, out of the message: they are no business of metainfo's. Baggage is
// others' too, and stays. A message has few values, and one that has none left isn't searched: looking a key up
// takes longer than all else here.
type taking arrival

// taken is a set of keys that were found in a message.
type taken uint8

// Get implements [graylib.Carrier].
func (t *taking) Get(key string) string {
	k := &graylib.RPCKeys
	if t.left == 0 && (t.took == 0 || key != k.Tag) { // the tag alone is read again
		return ""
	}
	switch key {
	case k.Tag:
		v := t.take(0)
		if v != "" {
			t.tagged = graylib.Tag(v).Valid()
		}
		return v
	case k.RequestID:
		return t.take(1)
	case k.TraceParent:
		return t.take(2)
	case k.TraceState:
		return t.take(3)
	case k.Reason:
		return t.take(4)
	case k.Hops:
		return t.take(5)
	}
	return t.values[wireKey(key)]
}

// takenKeys are the keys as they stand in a message, by their places in a set.
var takenKeys = [...]string{wireKeys.Tag, wireKeys.RequestID, wireKeys.TraceParent, wireKeys.TraceState, wireKeys.Reason, wireKeys.Hops}

// take returns the value of a key; the same one again where it was taken before.
func (t *taking) take(place int) string {
	bit := taken(1) << place
	v := t.values[takenKeys[place]]
	if v != "" && t.took&bit == 0 {
		t.took |= bit
		t.left--
	}
	return v
}

// remove takes what was found out of the message itself, for others that read it.
func (t *taking) remove() {
	for place, key := range takenKeys {
		if t.took&(1<<place) != 0 {
			delete(t.values, key)
		}
	}
}

// Set implements [graylib.Carrier]; nothing is ever set.
func (*taking) Set(string, string) {}

// hasMetainfo tells whether there is metainfo among the strings of a message.
func hasMetainfo(values map[string]string) bool {
	for key := range values {
		if strings.HasPrefix(key, metainfo.PrefixPersistent) || strings.HasPrefix(key, metainfo.PrefixTransient) {
			return true
		}
	}
	return false
}
