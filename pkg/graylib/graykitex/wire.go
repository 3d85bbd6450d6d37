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

// stringsOf returns a message's own strings.
func stringsOf(msg remote.Message) map[string]string {
	m := msg.TransInfo().TransStrInfo()
	if m == nil {
		m = make(map[string]string)
		msg.TransInfo().PutTransStrInfo(m)
	}
	return m
}

// try is one try of a call over TTHeader. What it carries is written when the message is, maybe by another goroutine, and
// while a next try has begun: so the reason stands here.
type try struct {
	call   *graylib.Call
	reason graylib.Reason
}

type tryKey struct{}

// furtherTry is the context of a try after the first one, which has its place in the departure.
type furtherTry struct {
	context.Context
	try try
}

// Value implements [context.Context].
func (t *furtherTry) Value(key any) any {
	if _, ok := key.(tryKey); ok {
		return &t.try
	}
	return t.Context.Value(key)
}

// straight fixes what the call carries in this try.
func (d *departure) straight(ctx context.Context) context.Context {
	t := try{d.Call(), d.Call().Reason()}
	if !d.sent.Load() {
		d.first = t
		d.sent.Store(true)
		return ctx
	}
	return &furtherTry{ctx, t}
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
	a := &arrival{ri: ri, straight: true, values: msg.TransInfo().TransStrInfo()}
	if a.left = int32(len(a.values)); a.left > 0 && a.values[transmeta.HeaderIDLServiceName] != "" {
		a.left--
	}
	t := (*taking)(a)
	h.rt.ArriveIn(&a.Arrived, graylib.ProtocolRPC, graylib.RPCKeys, t)
	if sent := a.values[wireKeys.Tag]; a.left > 0 && sent != "" {
		a.tagged = graylib.TagFrom(&a.Arrived) == graylib.Tag(sent) // else it is malformed
		t.take(wireKeys.Tag)
	}
	others := a.left > 0 && hasMetainfo(a.values)
	a.values = nil
	a.before = before{ctx, a}
	switch {
	case others:
		return h.metainfoHandler.ReadMeta(&a.before, msg)
	case backwardKey == nil:
		return metainfo.WithBackwardValuesToSend(&a.before), nil
	}
	return &a.before, nil
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
// others' too, and stays; the tag may be read again, and is taken last.
type taking arrival

// Get implements [graylib.Carrier].
func (t *taking) Get(key string) string {
	if t.left == 0 {
		return ""
	}
	name := wireKey(key)
	v := t.values[name]
	if v == "" || name == wireKeys.Tag || key == graylib.RPCKeys.Baggage {
		return v
	}
	t.take(name)
	return v
}

func (t *taking) take(name string) {
	delete(t.values, name)
	t.left--
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
