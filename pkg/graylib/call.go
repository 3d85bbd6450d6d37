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

// Call is the client's side of one hop. It is used by one goroutine at a time.
type Call struct {
	rt        *Runtime
	meta      *meta
	tag       Tag // by which the callee is chosen
	propagate bool
	reason    reasonCode
	failure   reasonCode // of the last try that failed
	now       *Instance  // that Next returned last
	tried     *[]string  // those before it, by address; nil: none

	table *Table                   // of the try under way
	last  atomic.Pointer[Instance] // the try under way; nil when it is known how it ended
}

type callKey struct{}

// ruleService is the name by which rules know an endpoint in the registry: b for b.rpc.
func ruleService(endpoint string) string { return strings.TrimSuffix(endpoint, RPCServiceSuffix) }

// Departed is a call with the context that it is made in. An adapter may embed it in a context of its own, so that one
// allocation does for both; see [Runtime.DepartIn].
type Departed struct {
	context.Context
	call Call
}

// Value implements [context.Context].
func (d *Departed) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return &d.call
	}
	return d.Context.Value(key)
}

// Call returns the call that is made in the context.
func (d *Departed) Call() *Call { return &d.call }

// Depart prepares one call to an endpoint (its name in the registry). A context without a tag is coloured now: by the
// callee's entries, or by the own lane's colourFromNode where the context never arrived from anywhere. req may be nil,
// where a protocol shows nothing that rules could see. The returned context holds the call, see [CallFrom]. The colour is
// the call's alone: [TagFrom] of the returned context is that of ctx.
func (rt *Runtime) Depart(ctx context.Context, endpoint string, req Request) (context.Context, *Call) {
	departed := &Departed{}
	rt.DepartIn(ctx, departed, endpoint, req)
	return departed, &departed.call
}

// DepartIn is [Runtime.Depart] for an adapter that has the place for it: d, which is new, becomes the context of the call.
func (rt *Runtime) DepartIn(ctx context.Context, d *Departed, endpoint string, req Request) {
	m := metaFrom(ctx)
	d.Context = ctx
	call := &d.call
	call.rt, call.meta, call.tag, call.propagate = rt, m, m.tag, !m.local
	switch {
	case rt.config.Disabled:
		call.tag = Untagged
	case m.tag == Untagged:
		call.colour(rt, endpoint, req)
	}
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
// the error wraps [ErrNoInstance]. The instance must not be changed. A call has one table: t is the same each time.
func (c *Call) Next(t *Table) (*Instance, Reason, error) {
	if c.last.Load() != nil {
		c.NotConnected()
	}
	if c.now != nil {
		if c.tried == nil {
			c.tried = new([]string)
		}
		*c.tried, c.now = append(*c.tried, c.now.Addr), nil
	}
	v := t.view.Load()
	steps := v.route(c.tag)
	for i := range steps {
		s := &steps[i]
		in := c.untried(s.set)
		if in == nil {
			continue
		}
		if c.table != t { // it isn't written again while another goroutine may say how the try before ended, see [Call.Overdue]
			c.table = t
		}
		c.reason, c.now = s.reason, in
		c.last.Store(in)
		if s.fallback && c.failure != codeNone {
			c.reason = c.failure
		}
		return in, c.reason.reason(), nil
	}
	tried := 0
	if c.tried != nil {
		tried = len(*c.tried)
	}
	return nil, "", fmt.Errorf("%w of %s for tag %s: %d known, %d tried and failed",
		ErrNoInstance, t.Service(), c.tag, len(v.snapshot.Instances()), tried)
}

// untried picks from the set.
func (c *Call) untried(set *Set) *Instance {
	in, ok := set.Pick()
	if !ok {
		return nil
	}
	if c.tried != nil && c.wasTried(in.Addr) {
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
	return in
}

func (c *Call) wasTried(addr string) bool { return slices.Contains(*c.tried, addr) }

// Reason returns the reason of the instance that Next returned last, or "".
func (c *Call) Reason() Reason { return c.reason.reason() }

// Inject writes the tag (unless the lane says propagate: false), the request id and the trace into the request. Where the
// arrival that the call was made in collects hops, it asks the callee for its own. The reason goes along there too, and where the
// runtime has telemetry: the callee's metrics and spans bear it.
func (c *Call) Inject(keys Keys, carrier Carrier) { c.InjectFor(c.reason.reason(), &keys, carrier) }

// InjectFor is [Call.Inject] with the reason of one try, as [Call.Reason] returned it then. Where Inject is used by the goroutine
// that calls Next, this one may be called by any, as long as the try that it is for may still be sent.
func (c *Call) InjectFor(reason Reason, keys *Keys, carrier Carrier) {
	tag := c.tag
	if !c.propagate {
		tag = Untagged
	}
	c.rt.inject(c.meta, tag, keys, carrier)
	wantsHops := c.meta.arrival.wantsBelow()
	if keys.Reason != "" {
		if !wantsHops && !c.rt.tellsReason {
			reason = ""
		}
		if reason != "" || carrier.Get(keys.Reason) != "" {
			carrier.Set(keys.Reason, string(reason))
		}
	}
	if keys.Hops != "" && wantsHops {
		carrier.Set(keys.Hops, HopsWanted)
	}
}

// Return takes in what came back from the callee: its hops and messages join those of the arrival that the call was
// made in, where that collects them, and are taken off the answer: a proxy that hands the answer on hands them to nobody who
// didn't ask. What isn't well formed is left out: hops are diagnosis and fail nothing.
func (c *Call) Return(keys Keys, carrier Carrier) {
	if keys.Hops == "" || !c.meta.arrival.wantsBelow() {
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
	c.meta.arrival.add(hops, messages)
	carrier.Set(keys.Hops, "")
	carrier.Set(keys.Messages, "")
}
