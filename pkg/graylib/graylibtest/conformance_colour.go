package graylibtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// decidedByScene has the rules ask the scene.
func decidedByScene(s *scene, r *Rules) {
	ask := func(service string, req graylib.Request) (graylib.Decision, bool) {
		if f := s.decide.Load(); f != nil {
			return (*f)(service, req)
		}
		return graylib.Decision{}, false
	}
	r.ColourFunc = ask
	r.MarkFunc = func(producer, _ string, msg graylib.Request) (graylib.Tag, bool) {
		d, ok := ask(producer, msg)
		return d.Tag, ok
	}
}

// nodeColour has the lane colour from the node.
func nodeColour(propagate bool) func(*scene, *Rules) {
	return func(_ *scene, r *Rules) {
		for i := range r.List {
			if r.List[i].Tag == laneTag {
				r.List[i].ColourFromNode, r.List[i].Propagate = true, propagate
			}
		}
	}
}

// colours makes the rules colour every call of the service (with Marks: every message of the caller).
func (s *scene) colours(d graylib.Decision) {
	s.decides(func(graylib.Request) (graylib.Decision, bool) { return d, true })
}

func (s *scene) decides(f func(graylib.Request) (graylib.Decision, bool)) {
	of := s.setup.Service
	if s.Features.Marks {
		of = s.caller.Identity().Service
	}
	ask := func(service string, req graylib.Request) (graylib.Decision, bool) {
		if service != of || req == nil {
			s.problem("rules were asked about %q with a request %t, want %q and one", service, req != nil, of)
			return graylib.Decision{}, false
		}
		return f(req)
	}
	s.decide.Store(&ask)
}

func checkColoured(s *scene) {
	defer s.decide.Store(nil)
	want := laneTag
	if len(s.Features.Sources) == 0 {
		want = graylib.Untagged
	}
	s.colours(graylib.Decision{Tag: laneTag, Entry: "all", Propagate: true})
	for i := range 4 {
		ctx := context.Background()
		if i%2 == 1 {
			ctx, _ = s.arrive(ctx, request{})
		}
		if saw, ok := s.send(ctx, s.payload()); ok {
			s.expect("a call that a rule picks", saw, want)
		}
		if got := graylib.TagFrom(ctx); got != graylib.Untagged {
			s.problem("a rule picked one call, and its caller's context has the tag %q", got)
		}
	}
	s.decides(func(graylib.Request) (graylib.Decision, bool) { return graylib.Decision{}, false })
	if saw, ok := s.send(context.Background(), s.payload()); ok {
		s.expect("a call that no rule picks, after those that one did", saw, graylib.Untagged)
	}
}

func checkNeverChanged(s *scene) {
	defer s.decide.Store(nil)
	s.colours(graylib.Decision{Tag: laneTag, Entry: "all", Propagate: true})
	if saw, ok := s.send(graylib.WithTag(context.Background(), otherTag), s.payload()); ok {
		s.expect("a tagged call that a rule would pick", saw, otherTag)
	}
}

// checkSources compares what rules can see with what is declared.
func checkSources(s *scene) {
	defer s.decide.Store(nil)
	payload := s.payload()
	shown := make(map[graylib.From]bool)
	asked := false
	s.decides(func(req graylib.Request) (graylib.Decision, bool) {
		asked = true
		for _, from := range allSources {
			v, ok := req.Value(from, SourceKey, 0)
			switch {
			case from == graylib.FromBody:
				ok = bytes.Contains(req.Body(), []byte(payload))
			case keyed(from):
				ok = ok && strings.Contains(v, payload)
			case from == graylib.FromIP:
				ok = ok && net.ParseIP(v) != nil
			default:
				ok = ok && v != ""
			}
			shown[from] = ok
			if _, more := req.Value(from, SourceKey, 1000); more {
				s.problem("source %s has a 1001st value", from)
			}
		}
		return graylib.Decision{Tag: laneTag, Entry: "all", Propagate: true}, true
	})
	// As a server's adapter says of who sent the request that is being served.
	if saw, ok := s.send(graylib.WithClientIP(context.Background(), "192.0.2.7"), payload); ok {
		s.expect("a call that a rule has looked at", saw, laneTag)
	}
	if !asked {
		s.problem("no rule was asked")
		return
	}
	for _, from := range allSources {
		if declared := slices.Contains(s.Features.Sources, from); declared != shown[from] {
			s.problem("source %s: rules see the payload (or a value): %t, declared %t", from, shown[from], declared)
		}
	}
}

var allSources = []graylib.From{
	graylib.FromHeader, graylib.FromQuery, graylib.FromCookie, graylib.FromPath, graylib.FromMethod, graylib.FromIP,
	graylib.FromBody, graylib.FromMetainfo, graylib.FromProperty, graylib.FromKeys,
}

// keyed tells whether a source shows the payload.
func keyed(from graylib.From) bool {
	switch from {
	case graylib.FromHeader, graylib.FromQuery, graylib.FromCookie, graylib.FromMetainfo, graylib.FromProperty, graylib.FromKeys:
		return true
	}
	return false
}

// checkLocal has a rule colour one call and not what comes after it.
func checkLocal(s *scene) {
	defer s.decide.Store(nil)
	s.colours(graylib.Decision{Tag: laneTag, Entry: "all", Propagate: false})
	for range 4 {
		saw, ok := s.send(context.Background(), s.payload())
		if !ok {
			return
		}
		if saw.tag != graylib.Untagged {
			s.problem("a rule with propagate: false: the callee sees the tag %q, want none on the wire", saw.tag)
		}
		if s.Features.Chooses && len(s.Features.Sources) > 0 && saw.own != laneTag {
			s.problem("a rule with propagate: false: handled by an instance of %q, want %q for this one call", saw.own, laneTag)
		}
	}
}

func checkNodeColour(s *scene) {
	want := graylib.Untagged
	if s.Features.NodeColour {
		want = laneTag
	}
	if saw, ok := s.send(context.Background(), s.payload()); ok {
		s.expect("a call that starts on a lane with colourFromNode", saw, want)
	}
	if saw, ok := s.send(graylib.WithTag(context.Background(), otherTag), s.payload()); ok {
		s.expect("a tagged call from a lane with colourFromNode", saw, otherTag)
	}
}

func checkNodeArrival(s *scene) {
	if s.link.Endpoint == "" {
		return // the values choose who handles it
	}
	for i, want := range []graylib.Tag{graylib.Untagged, laneTag} {
		if saw, _, ok := s.raw(i, nil); ok && (saw.tag != want || saw.own != want) {
			s.problem("an untagged request to an instance of %q: its tag is %q, want %q", saw.own, saw.tag, want)
		}
	}
}

func checkNodeLocal(s *scene) {
	if saw, ok := s.send(context.Background(), s.payload()); ok && saw.tag != graylib.Untagged {
		s.problem("a call that starts on a lane with colourFromNode and propagate: false bears the tag %q, want none", saw.tag)
	}
}

// checkCrash has the lane's instance crash with a call in its hands, on a connection that served one before: many a client
// library repeats such a call on a new connection, by itself, and only tells that the new one was refused. Where the registry's
// addresses are not TCP's nothing can be put before them, and nothing is judged.
func checkCrash(s *scene) {
	var door *Door
	for _, in := range s.setup.Registry.Instances(s.link.Endpoint) {
		if in.Tag != laneTag {
			continue
		}
		conn, err := net.DialTimeout("tcp", in.Addr, s.Within)
		if err != nil {
			return
		}
		_ = conn.Close()
		door = NewDoor(s.t, in.Addr)
		s.setup.Registry.Remove(s.link.Endpoint, in.Addr)
		in.Addr = door.Addr()
		s.setup.Registry.Put(in)
	}
	if door == nil {
		s.problem("the lane's instance is not registered as %q", s.link.Endpoint)
		return
	}
	ctx := graylib.WithTag(context.Background(), laneTag)
	saw, ok := s.send(ctx, s.payload())
	if !ok {
		return
	}
	s.expect("a call before the crash", saw, laneTag)
	payload := s.payload()
	ended := make(chan struct{})
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	s.hook(payload, func(context.Context) {
		door.Shut()
		time.AfterFunc(time.Second, giveUp) // some libraries don't notice, and wait as long as the caller does
		select {
		case <-ended:
		case <-time.After(s.Within):
		}
	})
	_, err := s.link.Call(ctx, payload)
	close(ended)
	if err == nil {
		s.problem("the lane's instance crashed with the call in its hands, and the call ended well")
	}
	s.saw(payload) // once
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, saw := range s.sights[payload] {
		if saw.own != laneTag {
			s.problems = append(s.problems, fmt.Sprintf("the call was made again: an instance of %q handled it, too", saw.own))
		}
	}
}

// checkRefused puts an instance of the lane into the registry that nobody is behind.
func checkRefused(s *scene) {
	s.setup.Registry.Put(graylib.Instance{Service: s.link.Endpoint, Addr: ReserveAddr(s.t), Tag: laneTag})
	ctx, arrival := s.arrive(context.Background(), request{tag: string(laneTag), id: "kept"})
	payload := s.payload()
	saw, ok := s.send(ctx, payload)
	if !ok {
		return
	}
	s.expect("a call whose lane refuses connections", saw, laneTag)
	reason := graylib.ReasonConnectFailed
	if !s.Features.Reason {
		reason = ""
	}
	s.expectHop(saw, laneTag, reason)
	s.expectBack(arrival, []string{payload}, func(string) (graylib.Tag, graylib.Tag) { return laneTag, saw.own })
}

func checkEdge(s *scene) {
	k := s.Features.Keys
	forged := traceparent(traceA)
	saw, back, ok := s.raw(0, wire(
		k.Tag, string(laneTag), k.Reason, string(graylib.ReasonLane), k.RequestID, "forged", k.TraceParent, forged, k.TraceState, "a=b",
		k.Hops, `[{"service":"forged"}]`, k.Messages, `[{"id":"forged"}]`,
		"rpc-persist-gray-tag", string(laneTag), "X_GRAY_TAG", string(laneTag), "RPC-Transit-Gray-Reason", string(graylib.ReasonLane),
	))
	if !ok {
		return
	}
	s.expect("a request from outside with forged names", saw, graylib.Untagged)
	id := saw.wire.Get(graylib.HTTPKeys.RequestID)
	if id == "" || id == "forged" || saw.traceID == "" || saw.traceID == traceA || saw.wire.Get(graylib.HTTPKeys.TraceState) != "" {
		s.problem("a request from outside kept its id or trace, or got none: %v", saw.wire)
	}
	s.expectHop(saw, graylib.Untagged, "")
	if back[k.Hops] != "" || back[k.Messages] != "" {
		s.problem("hops go outside: %q %q", back[k.Hops], back[k.Messages])
	}
	if back[k.RequestID] != id {
		s.problem("the answer's request id is %q, want %q", back[k.RequestID], id)
	}
	if n := s.setup.Callees[0].Runtime.Status().StrippedHeaders; n != 10 {
		s.problem("%d names were counted as stripped, want 10", n)
	}
	if !s.eventually(func() bool { return len(s.events.Events()) > 0 }) {
		s.problem("no event tells of the chain")
		return
	}
	if e := s.events.Events()[0]; e.Kind != graylib.EventChain || e.RequestID != id || len(e.Hops) != 1 || len(e.Messages) != 1 {
		s.problem("the chain's event is %+v", e)
	}
}
