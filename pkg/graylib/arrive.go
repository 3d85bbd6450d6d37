package graylib

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
)

// Arrival is the server's side of one hop. Its methods are safe for concurrent use.
type Arrival struct {
	meta     meta       // as it arrived
	at       *entry     // of the runtime
	reason   reasonCode // the caller's
	asked    bool       // the caller wants the hops back
	collects bool       // somebody wants them

	caused atomic.Pointer[caused] // nil: nothing yet
}

// entry is where an arrival came in: one for all arrivals of a runtime by one protocol.
type entry struct {
	rt       *Runtime
	protocol Protocol
}

// entry returns the one of a protocol.
func (rt *Runtime) entry(protocol Protocol) *entry {
	switch protocol {
	case ProtocolHTTP:
		return &rt.entries[0]
	case ProtocolRPC:
		return &rt.entries[1]
	case ProtocolMQ:
		return &rt.entries[2]
	}
	return &entry{rt, protocol} // an adapter's own
}

// newEntries returns the entries of the protocols that are known.
func newEntries(rt *Runtime) [3]entry {
	return [...]entry{{rt, ProtocolHTTP}, {rt, ProtocolRPC}, {rt, ProtocolMQ}}
}

// caused is what a request led to below its arrival.
type caused struct {
	mu       sync.Mutex
	hops     []Hop
	messages []Message
}

// load returns it so far: what is added later doesn't change what these slices have. The nil one is empty.
func (c *caused) load() ([]Hop, []Message) {
	if c == nil {
		return nil, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hops, c.messages
}

// Arrived is an arrival with the context that it is served in. An adapter may embed it in a context of its own, so that one
// allocation does for both; see [Runtime.ArriveIn].
type Arrived struct {
	context.Context
	arrival Arrival
	client  net.Addr // nil: not known here
}

// Value implements [context.Context].
func (a *Arrived) Value(key any) any {
	if v, ok := a.Own(key); ok {
		return v
	}
	return a.Context.Value(key)
}

// Own returns the value of key where it is the arrival that has it, and not the context below it.
func (a *Arrived) Own(key any) (value any, ok bool) {
	switch key.(type) {
	case metaKey:
		return &a.arrival.meta, true
	case callKey:
		return nil, true // a call that led here within one process is the caller's matter
	case clientIPKey:
		return a.client, a.client != nil
	}
	return nil, false
}

// Arrival returns the arrival that the context belongs to.
func (a *Arrived) Arrival() *Arrival { return &a.arrival }

// SetClientAddr says where the request came from, as [WithClientIP] does for a context; the address isn't taken to pieces before
// somebody asks. It must come before the request is served, and addr must not change any more.
func (a *Arrived) SetClientAddr(addr net.Addr) { a.client = addr }

// Arrive takes in what a caller sent: it returns a context with the tag, request id and trace of c, and notes this
// instance's hop. A malformed tag counts as untagged; it is counted, and logged once. A context without a tag gets the own
// tag where the own lane has colourFromNode.
func (rt *Runtime) Arrive(ctx context.Context, protocol Protocol, keys Keys, c Carrier) (context.Context, *Arrival) {
	arrived := &Arrived{Context: ctx}
	rt.ArriveIn(arrived, protocol, &keys, c)
	return arrived, &arrived.arrival
}

// ArriveIn is [Runtime.Arrive] for an adapter that has the place for it: a, which is new, becomes the context of the
// arrival. Its Context is the adapter's to set, before the request is served.
func (rt *Runtime) ArriveIn(a *Arrived, protocol Protocol, keys *Keys, c Carrier) {
	v := carriedBy(keys, c)
	rt.ArriveWith(a, &v, protocol, keys, c)
}

// ArriveWith is [Runtime.ArriveIn] for an adapter that has read itself what the request bears: c is asked only for what may be
// switched on beside our own keys ([WithBaggage], [WithPresets]).
func (rt *Runtime) ArriveWith(a *Arrived, v *Carried, protocol Protocol, keys *Keys, c Carrier) {
	in := &a.arrival
	in.at = rt.entry(protocol)
	m := &in.meta
	m.arrival = in
	if err := rt.extract(m, v, keys, c); err != nil {
		rt.malformedTag(err)
	}
	if m.tag == Untagged {
		var propagate bool
		m.tag, propagate = rt.nodeColour()
		m.local = !propagate
	}
	if v.Reason != "" {
		in.reason = codeOf(Reason(v.Reason))
	}
	in.asked = v.Hops == HopsWanted
	in.collects = in.asked || rt.wantsHops
}

// nodeColour returns the own tag where the own lane colours from the node, and whether it goes on the wire from there.
func (rt *Runtime) nodeColour() (tag Tag, propagate bool) {
	if rt.id.Tag == Untagged || rt.config.Disabled {
		return Untagged, true
	}
	if lane, ok := rt.Rules().Lane(rt.id.Tag); ok && lane.ColourFromNode && lane.State != LaneRetired {
		return lane.Tag, lane.Propagate
	}
	return Untagged, true
}

// Hop returns this instance's hop. Unlike [Arrival.Chain] it takes no lock.
func (a *Arrival) Hop() Hop {
	rt := a.at.rt
	return Hop{
		Service: rt.id.Service, Tag: rt.id.Tag, Instance: rt.id.Instance, Addr: *rt.addr.Load(),
		RequestTag: a.meta.tag, Protocol: a.at.protocol, Reason: a.reason.reason(),
	}
}

// Chain returns the hops and messages of this arrival so far, own hop first. The hops below it are among them where
// somebody wants them, see [WithHops].
func (a *Arrival) Chain() ([]Hop, []Message) {
	if a == nil {
		return nil, nil
	}
	hops, messages := a.caused.Load().load()
	return slices.Concat([]Hop{a.Hop()}, hops), slices.Clone(messages)
}

// Tag returns the tag with which it is served.
func (a *Arrival) Tag() Tag { return a.meta.tag }

// Asked tells whether the caller wants the hops back. Where it doesn't, [Arrival.Return] writes nothing.
func (a *Arrival) Asked() bool { return a.asked }

// Return writes hops and messages for the way back to the caller, in place of what stands there, where the caller asked for
// them. A boundary without a way back (a message) gets none.
func (a *Arrival) Return(keys Keys, c Carrier) {
	if !a.asked || keys.Hops == "" {
		return
	}
	own := [1]Hop{a.Hop()}
	hops, messages := a.caused.Load().load()
	c.Set(keys.Hops, encodeLists(maxHops, appendHop, own[:], hops))
	c.Set(keys.Messages, EncodeMessages(messages))
}

// wantsBelow tells whether calls made in this arrival ask for their hops. The nil one doesn't.
func (a *Arrival) wantsBelow() bool { return a != nil && a.collects }

// add takes hops and messages over: the caller doesn't touch the slices again. Calls made at once append in the order in
// which they return.
func (a *Arrival) add(hops []Hop, messages []Message) {
	if a == nil {
		return
	}
	c := a.caused.Load()
	if c == nil {
		a.caused.CompareAndSwap(nil, &caused{})
		c = a.caused.Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hops = join(c.hops, hops, maxHops-1)
	c.messages = join(c.messages, messages, maxMessages)
}

// join appends of more what fits into limit.
func join[T any](list, more []T, limit int) []T {
	more = more[:min(len(more), limit-len(list))]
	if len(list) == 0 {
		return more
	}
	return append(list, more...)
}
