package graylib

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrNoInstance is wrapped where a call has nobody to go to: neither its lane nor the baseline has an instance left that
// wasn't tried.
var ErrNoInstance = errors.New("no instance")

// Arrival is the server's side of one hop.
type Arrival struct {
	recorder *recorder
}

// Arrive takes in what a caller sent: it returns a context with the tag, request id and trace of c, and notes this
// instance's hop. A malformed tag counts as untagged; it is counted, and logged once. A context without a tag gets the own
// tag where the own lane has colourFromNode.
func (rt *Runtime) Arrive(ctx context.Context, protocol Protocol, keys Keys, c Carrier) (context.Context, *Arrival) {
	m := &meta{recorder: &recorder{}}
	m.tag, m.requestID, m.traceParent, m.traceState = rt.read(keys, c)
	if m.tag == Untagged {
		m.tag = rt.nodeTag()
	}
	reason := Reason("")
	if keys.Reason != "" {
		if r := Reason(c.Get(keys.Reason)); r.known() {
			reason = r
		}
	}
	id := rt.Identity()
	m.recorder.hops = append(make([]Hop, 0, 4), Hop{
		Service: id.Service, Tag: id.Tag, Instance: id.Instance, Addr: id.Addr,
		RequestTag: m.tag, Protocol: protocol, Reason: reason,
	})
	return withMeta(ctx, m), &Arrival{recorder: m.recorder}
}

// read is Extract with the runtime's counting.
func (rt *Runtime) read(keys Keys, c Carrier) (tag Tag, requestID, traceParent, traceState string) {
	raw := c.Get(keys.Tag)
	tag, err := ParseTag(raw)
	if err != nil {
		rt.malformedTag(err)
	}
	requestID = printable(c.Get(keys.RequestID), maxRequestID)
	if tp := printable(c.Get(keys.TraceParent), maxTraceParent); traceID(tp) != "" {
		traceParent = tp
		traceState = printable(c.Get(keys.TraceState), maxTraceState)
	}
	return tag, requestID, traceParent, traceState
}

// nodeTag returns the own tag where the own lane colours from the node.
func (rt *Runtime) nodeTag() Tag {
	if rt.id.Tag == Untagged {
		return Untagged
	}
	if lane, ok := rt.Rules().Lane(rt.id.Tag); ok && lane.ColourFromNode && lane.State != LaneRetired {
		return lane.Tag
	}
	return Untagged
}

// Chain returns the hops and messages of this arrival so far, own hop first.
func (a *Arrival) Chain() ([]Hop, []Message) { return a.recorder.copy() }

// Return writes hops and messages for the way back to the caller.
func (a *Arrival) Return(keys Keys, c Carrier) {
	hops, messages := a.recorder.copy()
	c.Set(keys.Hops, EncodeHops(hops))
	if len(messages) > 0 {
		c.Set(keys.Messages, EncodeMessages(messages))
	}
}

// Call is the client's side of one hop. It is used by one goroutine at a time.
type Call struct {
	meta      *meta
	tag       Tag // by which the callee is chosen
	propagate bool
	tried     []string
	triedRoom [2]string // room for tried: a call that doesn't fail allocates nothing for it
	reason    Reason
}

type callKey struct{}

// ruleService is the name by which rules know an endpoint in the registry: b for b.rpc.
func ruleService(endpoint string) string { return strings.TrimSuffix(endpoint, RPCServiceSuffix) }

// Depart prepares one call to an endpoint (its name in the registry). A context without a tag is coloured now: by the
// callee's entries, or by the own lane's colourFromNode where the context never arrived from anywhere. req may be nil,
// where a protocol shows nothing that rules could see. The returned context holds the call, see [CallFrom]; its
// tag is the one that goes on the wire.
func (rt *Runtime) Depart(ctx context.Context, endpoint string, req Request) (context.Context, *Call) {
	m := metaFrom(ctx)
	call := &Call{meta: m, tag: m.tag, propagate: true}
	call.tried = call.triedRoom[:0]
	if m.tag == Untagged {
		call.colour(rt, endpoint, req)
	}
	return context.WithValue(ctx, callKey{}, call), call
}

func (c *Call) colour(rt *Runtime, endpoint string, req Request) {
	if req != nil {
		if d, ok := rt.Rules().Colour(ruleService(endpoint), req); ok {
			c.tag, c.propagate = d.Tag, d.Propagate
			return
		}
	}
	if c.meta.recorder == nil {
		c.tag = rt.nodeTag()
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
// all failed, the baseline's. Calling it again says that the last one could not be connected to. When nobody is left the
// error wraps [ErrNoInstance].
func (c *Call) Next(t *Table) (*Instance, Reason, error) {
	s := t.Load()
	set, reason := s.Choose(c.tag)
	if in := c.untried(set); in != nil {
		c.reason = reason
		return in, reason, nil
	}
	if reason == ReasonLane {
		if in := c.untried(s.Baseline()); in != nil {
			c.reason = ReasonConnectFailed
			return in, ReasonConnectFailed, nil
		}
	}
	return nil, "", fmt.Errorf("%w of %s for tag %s: %d known, %d tried and failed",
		ErrNoInstance, t.Service(), c.tag, len(s.Instances()), len(c.tried))
}

// untried picks from the set, and notes the pick.
func (c *Call) untried(set *Set) *Instance {
	in, ok := set.Pick()
	if !ok {
		return nil
	}
	if c.wasTried(in.Addr) {
		in = nil
		for i := range set.instances {
			if !c.wasTried(set.instances[i].Addr) {
				in = &set.instances[i]
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

func (c *Call) wasTried(addr string) bool {
	for _, a := range c.tried {
		if a == addr {
			return true
		}
	}
	return false
}

// Reason returns the reason of the instance that Next returned last, or "".
func (c *Call) Reason() Reason { return c.reason }

// Inject writes the tag (unless the lane says propagate: false), the request id, the trace and the reason into the
// request.
func (c *Call) Inject(keys Keys, carrier Carrier) {
	tag := c.tag
	if !c.propagate {
		tag = Untagged
	}
	inject(c.meta, tag, keys, carrier)
	if keys.Reason != "" {
		carrier.Set(keys.Reason, string(c.reason))
	}
}

// Return takes in what came back from the callee: its hops and messages join those of the arrival that the call was
// made in. What isn't well formed is left out: hops are diagnosis and fail nothing.
func (c *Call) Return(keys Keys, carrier Carrier) {
	if c.meta.recorder == nil {
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
