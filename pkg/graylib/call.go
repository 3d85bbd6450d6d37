package graylib

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
)

// ErrNoInstance is wrapped where a call has nobody to go to: neither its lane nor the baseline has an instance left that
// wasn't tried.
var ErrNoInstance = errors.New("no instance")

// Arrival is the server's side of one hop. Its methods are safe for concurrent use.
type Arrival struct {
	recorder recorder
}

// arrivedContext holds all that an arrival adds to a context, in one allocation.
type arrivedContext struct {
	context.Context
	meta    meta
	arrival Arrival
}

// Value implements [context.Context].
func (c *arrivedContext) Value(key any) any {
	switch key.(type) {
	case metaKey:
		return &c.meta
	case callKey:
		return nil // a call that led here within one process is the caller's matter
	}
	return c.Context.Value(key)
}

// Arrive takes in what a caller sent: it returns a context with the tag, request id and trace of c, and notes this
// instance's hop. A malformed tag counts as untagged; it is counted, and logged once. A context without a tag gets the own
// tag where the own lane has colourFromNode.
func (rt *Runtime) Arrive(ctx context.Context, protocol Protocol, keys Keys, c Carrier) (context.Context, *Arrival) {
	arrived := &arrivedContext{Context: ctx}
	m := &arrived.meta
	m.recorder = &arrived.arrival.recorder
	if err := rt.extract(m, keys, c); err != nil {
		rt.malformedTag(err)
	}
	if m.tag == Untagged {
		var propagate bool
		m.tag, propagate = rt.nodeColour()
		m.local = !propagate
	}
	reason := Reason("")
	if keys.Reason != "" {
		if r := Reason(c.Get(keys.Reason)); r.known() {
			reason = r
		}
	}
	m.recorder.own[0] = Hop{
		Service: rt.id.Service, Tag: rt.id.Tag, Instance: rt.id.Instance, Addr: *rt.addr.Load(),
		RequestTag: m.tag, Protocol: protocol, Reason: reason,
	}
	return arrived, &arrived.arrival
}

// nodeColour returns the own tag where the own lane colours from the node, and whether it goes on the wire from there.
func (rt *Runtime) nodeColour() (tag Tag, propagate bool) {
	if rt.id.Tag == Untagged {
		return Untagged, true
	}
	if lane, ok := rt.Rules().Lane(rt.id.Tag); ok && lane.ColourFromNode && lane.State != LaneRetired {
		return lane.Tag, lane.Propagate
	}
	return Untagged, true
}

// Chain returns the hops and messages of this arrival so far, own hop first.
func (a *Arrival) Chain() ([]Hop, []Message) { return a.recorder.copy() }

// Return writes hops and messages for the way back to the caller, in place of what stands there. A boundary without a way
// back (a message) gets none.
func (a *Arrival) Return(keys Keys, c Carrier) {
	if keys.Hops == "" {
		return
	}
	hops, messages := a.recorder.encode()
	c.Set(keys.Hops, hops)
	c.Set(keys.Messages, messages)
}

// Call is the client's side of one hop. It is used by one goroutine at a time.
type Call struct {
	rt        *Runtime
	meta      *meta
	tag       Tag // by which the callee is chosen
	propagate bool
	tried     []string
	triedRoom [2]string // room for tried: a call that doesn't fail allocates nothing for it
	reason    Reason

	table   *Table                   // of the try under way
	last    atomic.Pointer[Instance] // the try under way; nil when it is known how it ended
	failure Reason                   // of the last try that failed
}

type callKey struct{}

// ruleService is the name by which rules know an endpoint in the registry: b for b.rpc.
func ruleService(endpoint string) string { return strings.TrimSuffix(endpoint, RPCServiceSuffix) }

// callContext is a context with a call, in one allocation.
type callContext struct {
	context.Context
	call Call
}

// Value implements [context.Context].
func (c *callContext) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return &c.call
	}
	return c.Context.Value(key)
}

// Depart prepares one call to an endpoint (its name in the registry). A context without a tag is coloured now: by the
// callee's entries, or by the own lane's colourFromNode where the context never arrived from anywhere. req may be nil,
// where a protocol shows nothing that rules could see. The returned context holds the call, see [CallFrom]. The colour is
// the call's alone: [TagFrom] of the returned context is that of ctx.
func (rt *Runtime) Depart(ctx context.Context, endpoint string, req Request) (context.Context, *Call) {
	m := metaFrom(ctx)
	departed := &callContext{Context: ctx, call: Call{rt: rt, meta: m, tag: m.tag, propagate: !m.local}}
	call := &departed.call
	call.tried = call.triedRoom[:0]
	if m.tag == Untagged {
		call.colour(rt, endpoint, req)
	}
	return departed, call
}

func (c *Call) colour(rt *Runtime, endpoint string, req Request) {
	if req != nil {
		if d, ok := rt.Rules().Colour(ruleService(endpoint), req); ok {
			c.tag, c.propagate = d.Tag, d.Propagate
			return
		}
	}
	if !c.meta.arrived() {
		c.tag, c.propagate = rt.nodeColour()
	}
}

// CallFrom returns the call that ctx belongs to, or nil.
func CallFrom(ctx context.Context) *Call {
	c, _ := ctx.Value(callKey{}).(*Call)
	return c
}

// Tag returns the tag by which the callee is chosen.
func (c *Call) Tag() Tag { return c.tag }

// Next returns the instance to try now, and why: an instance of the lane first; when those that were returned before
// all failed, the baseline's. Ejected instances are left out, see [Ejection]. No instance is returned twice. Calling it again
// says that the last one could not be connected to, unless another end was told ([Call.TimedOut]). When nobody is left
// the error wraps [ErrNoInstance]. The instance must not be changed.
func (c *Call) Next(t *Table) (*Instance, Reason, error) {
	if c.last.Load() != nil {
		c.NotConnected()
	}
	v := t.view.Load()
	steps := v.route(c.tag)
	for i := range steps {
		s := &steps[i]
		in := c.untried(s.set)
		if in == nil {
			continue
		}
		c.table, c.reason = t, s.reason
		c.last.Store(in)
		if s.fallback && c.failure != "" {
			c.reason = c.failure
		}
		return in, c.reason, nil
	}
	return nil, "", fmt.Errorf("%w of %s for tag %s: %d known, %d tried and failed",
		ErrNoInstance, t.Service(), c.tag, len(v.snapshot.Instances()), len(c.tried))
}

// untried picks from the set, and notes the pick.
func (c *Call) untried(set *Set) *Instance {
	in, ok := set.Pick()
	if !ok {
		return nil
	}
	if len(c.tried) > 0 && c.wasTried(in.Addr) {
		in = nil
		n := set.Len()
		start := rand.IntN(n) // anywhere, so that the load of those that failed is spread over all the others
		for i := range n {
			if other := &set.instances[(start+i)%n]; !c.wasTried(other.Addr) {
				in = other
				break
			}
		}
		if in == nil {
			return nil
		}
	}
	c.tried = append(c.tried, in.Addr)
	return in
}

func (c *Call) wasTried(addr string) bool { return slices.Contains(c.tried, addr) }

// Reason returns the reason of the instance that Next returned last, or "".
func (c *Call) Reason() Reason { return c.reason }

// Inject writes the tag (unless the lane says propagate: false), the request id, the trace and the reason into the
// request.
func (c *Call) Inject(keys Keys, carrier Carrier) {
	tag := c.tag
	if !c.propagate {
		tag = Untagged
	}
	c.rt.inject(c.meta, tag, keys, carrier)
	if keys.Reason != "" {
		carrier.Set(keys.Reason, string(c.reason))
	}
}

// Return takes in what came back from the callee: its hops and messages join those of the arrival that the call was
// made in. What isn't well formed is left out: hops are diagnosis and fail nothing.
func (c *Call) Return(keys Keys, carrier Carrier) {
	if c.meta.recorder == nil || keys.Hops == "" {
		return
	}
	hops, err := DecodeHops(carrier.Get(keys.Hops))
	if err != nil {
		hops = nil
	}
	messages, err := DecodeMessages(carrier.Get(keys.Messages))
	if err != nil {
		messages = nil
	}
	c.meta.recorder.add(hops, messages)
}
