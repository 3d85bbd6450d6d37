package graykitex

import (
	"context"
	"strings"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/transmeta"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/pkg/graylib"
)

// Calls over TTHeader don't take the way through the context's metainfo: what a call carries is written straight into the
// message, under the names that metainfo would have written, and so is what goes back. A service can't tell the difference;
// it spares most of what carrying costs.

// wireKeys are our keys as metainfo spells them in TTHeader, on the way out. It has its own spelling for the way back, see RPCKeys.
var wireKeys = graylib.Keys{
	Tag:         metainfo.PrefixPersistent + graylib.RPCKeys.Tag,
	RequestID:   metainfo.PrefixPersistent + graylib.RPCKeys.RequestID,
	TraceParent: metainfo.PrefixPersistent + graylib.RPCKeys.TraceParent,
	TraceState:  metainfo.PrefixPersistent + graylib.RPCKeys.TraceState,
	Reason:      metainfo.PrefixTransient + graylib.RPCKeys.Reason,
	Hops:        metainfo.PrefixTransient + graylib.RPCKeys.Hops,
	Baggage:     metainfo.PrefixPersistent + graylib.RPCKeys.Baggage,
}

// direct tells whether the messages of a call are written straight: TTHeader's are, of calls alone.
func direct(tp transport.Protocol) bool { return tp&transport.TTHeader != 0 && tp&transport.GRPC == 0 }

// empty is the strings of a message in which nothing stands yet: what is to be written is looked for in vain before.
type empty map[string]string

// Get implements [graylib.Carrier].
func (empty) Get(string) string { return "" }

// Set implements [graylib.Carrier].
func (m empty) Set(key, value string) { graylib.MapCarrier(m).Set(key, value) }

// carrierOf returns the carrier for what a call writes into a message, by wireKeys.
func carrierOf(msg remote.Message) graylib.Carrier {
	m := stringsOf(msg)
	if len(m) == 0 {
		return empty(m)
	}
	return graylib.MapCarrier(m)
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
// while a next try has begun: so the reason stands in it. Metainfo is left without what an arrival of ours adds: middlewares
// that come before, and calls that never get there, have all of it.
type tryKey struct{}

// firstTry is the first try in the context of the departure itself, which has the place for it.
type firstTry departure

// Value implements [context.Context].
func (t *firstTry) Value(key any) any {
	if key == rpcinfoKey {
		return t.ri
	}
	if _, ok := key.(tryKey); ok {
		return t
	}
	if key == metainfoKey {
		return metainfoBelow(t.Context)
	}
	return (*departure)(t).Value(key)
}

// anyTry is another one.
type anyTry struct {
	context.Context
	call   *graylib.Call
	reason graylib.Reason
}

// Value implements [context.Context].
func (t *anyTry) Value(key any) any {
	if _, ok := key.(tryKey); ok {
		return t
	}
	if key == metainfoKey {
		return metainfoBelow(t.Context)
	}
	return t.Context.Value(key)
}

// straight fixes what the call carries in this try.
func (d *departure) straight(ctx context.Context) context.Context {
	reason := d.Call().Reason()
	if ctx != context.Context(d) || d.tried {
		return &anyTry{ctx, d.Call(), reason}
	}
	d.tried, d.reason = true, reason
	return (*firstTry)(d)
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

var _ metainfoHandler = (*serverMeta)(nil)

// ReadMeta implements [remote.MetaHandler].
func (h *serverMeta) ReadMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	ri := msg.RPCInfo()
	if !direct(ri.Config().TransportProtocol()) {
		return h.metainfoHandler.ReadMeta(ctx, msg)
	}
	a := &arrival{ri: ri, straight: true, read: ctx}
	values := msg.TransInfo().TransStrInfo()
	var ours graylib.Carried
	left := read(values, &ours)
	h.rt.ArriveWith(&a.Arrived, &ours, graylib.ProtocolRPC, &wireKeys, graylib.MapCarrier(values))
	a.tagged = ours.Tag != "" && ours.Tag == string(a.Arrival().Tag())
	others := false
	if left > 0 {
		remove(values, &ours)
		others = hasMetainfo(values)
	}
	switch {
	case others:
		return h.metainfoHandler.ReadMeta((*before)(a), msg)
	case backwardKey == nil:
		return metainfo.WithBackwardValuesToSend((*before)(a)), nil
	}
	return (*before)(a), nil
}

// WriteMeta implements [remote.MetaHandler]. It writes hops and messages into a call's answer.
func (h *serverMeta) WriteMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
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

// read reads what a message bears of ours, and returns how many values it has beside that are not Kitex's own. A message has few values,
// and one that has none left isn't searched: looking a key up takes longer than all else here.
func read(values map[string]string, ours *graylib.Carried) (left int) {
	left = len(values)
	if left > 0 && values[transmeta.HeaderIDLServiceName] != "" {
		left--
	}
	k := &wireKeys
	ours.Tag = valueOf(values, k.Tag, &left)
	ours.RequestID = valueOf(values, k.RequestID, &left)
	ours.TraceParent = valueOf(values, k.TraceParent, &left)
	ours.TraceState = valueOf(values, k.TraceState, &left)
	ours.Reason = valueOf(values, k.Reason, &left)
	ours.Hops = valueOf(values, k.Hops, &left)
	return left
}

// valueOf returns one of the values of which so many are left.
func valueOf(values map[string]string, key string, left *int) (v string) {
	if *left > 0 {
		if v = values[key]; v != "" {
			*left--
		}
	}
	return v
}

// remove takes what was read out of the message, for others that read it: it is no business of metainfo's. Baggage is others' too, and
// stays.
func remove(values map[string]string, ours *graylib.Carried) {
	k := &wireKeys
	for _, of := range [...]struct{ key, value string }{
		{k.Tag, ours.Tag}, {k.RequestID, ours.RequestID}, {k.TraceParent, ours.TraceParent}, {k.TraceState, ours.TraceState},
		{k.Reason, ours.Reason}, {k.Hops, ours.Hops},
	} {
		if of.value != "" {
			delete(values, of.key)
		}
	}
}

// hasMetainfo tells whether there is metainfo among the strings of a message.
func hasMetainfo(values map[string]string) bool {
	for key := range values {
		if strings.HasPrefix(key, metainfo.PrefixPersistent) || strings.HasPrefix(key, metainfo.PrefixTransient) {
			return true
		}
	}
	return false
}
