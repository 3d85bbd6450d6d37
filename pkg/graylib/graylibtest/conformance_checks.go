package graylibtest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/graychain/graychain/pkg/graylib"
)

// The promises that failures quote, in the words of DESIGN.md.
const (
	g1Routing     = "G1 routing"
	g2Isolation   = "G2 isolation"
	g3Propagation = "G3 propagation"
	g9Trust       = "G9 trust"
	gBadInput     = "G3 propagation (a bad value never fails a request)"
	gHops         = "the chain of hops"
	gCancellation = "the declared reach of a cancellation"
	gOnce         = "a call that may have been sent is not made again"
)

// stages returns all that the suite does.
func stages() []stage {
	wired := func(f Features) bool { return !f.inProcess() }
	both := []graylib.Tag{graylib.Untagged, laneTag}
	return []stage{
		{name: "hop", callees: both, checks: []check{
			{"tag", g3Propagation, nil, checkTag},
			{"tagless", g2Isolation, nil, checkTagless},
			{"request id and trace", g3Propagation, nil, checkIDs},
			{"reason", gHops, wired, checkReason},
			{"hops back", gHops, nil, checkHops},
			{"hops on the wire", gHops, func(f Features) bool { return wired(f) && f.Hops }, checkHopsOnWire},
			{"malformed tag", gBadInput, wired, checkMalformed},
			{"odd values", gBadInput, wired, checkOddValues},
			{"duplicates", gBadInput, func(f Features) bool { return f.Duplicates }, checkDuplicates},
			{"reuse", g2Isolation, nil, checkReuse},
			{"concurrency", g3Propagation, nil, checkConcurrency},
			{"fan-out", g3Propagation, nil, checkFanOut},
			{"cancellation", gCancellation, nil, checkCancellation},
		}},
		{name: "rules", callees: both, rules: decidedByScene, checks: []check{
			{"coloured by a rule", g1Routing, nil, checkColoured},
			{"a tag is never changed", g3Propagation, nil, checkNeverChanged},
			{"sources", g9Trust, func(f Features) bool { return len(f.Sources) > 0 }, checkSources},
			{"propagate false", g3Propagation, func(f Features) bool { return !f.Marks }, checkLocal},
		}},
		{name: "node", caller: laneTag, callees: both, rules: nodeColour(true), checks: []check{
			{"coloured from the node", g3Propagation, nil, checkNodeColour},
			{"arrival at the lane", g3Propagation, func(f Features) bool { return f.NodeColour && f.Chooses }, checkNodeArrival},
		}},
		{name: "node, propagate false", caller: laneTag, callees: both[:1], rules: nodeColour(false), checks: []check{
			{"nothing on the wire", g3Propagation, nil, checkNodeLocal},
		}},
		{name: "connection refused", applies: func(f Features) bool { return f.FailsOver }, callees: both[:1], checks: []check{
			{"next instance", g1Routing, nil, checkRefused},
		}},
		{name: "instance crashes", applies: func(f Features) bool { return f.FailsOver }, callees: both, checks: []check{
			{"what was sent is not repeated", gOnce, nil, checkCrash},
		}},
		{name: "edge", applies: func(f Features) bool { return f.Edge }, callees: both[:1], edge: true, checks: []check{
			{"forged names are stripped", g9Trust, nil, checkEdge},
		}},
	}
}

const (
	traceA = "0af7651916cd43dd8448eb211c80319c"
	traceB = "4bf92f3577b34da6a3ce929d0e0e4736"
)

func traceparent(trace string) string { return "00-" + trace + "-b7ad6b7169203331-01" }

// wantOwn tells who handles what bears a tag, where both callees are there: the lane's instance has no own tag but its own.
func wantOwn(tag graylib.Tag) graylib.Tag {
	if tag == laneTag {
		return laneTag
	}
	return graylib.Untagged
}

// expect compares what a handler saw with the tag that it should have.
func (s *scene) expect(what string, saw sight, tag graylib.Tag) {
	if saw.tag != tag {
		s.problem("%s: the handler's tag is %q, want %q", what, saw.tag, tag)
	}
	if got := saw.wire.Get(graylib.HTTPKeys.Tag); got != string(tag) {
		s.problem("%s: the handler would hand on the tag %q, want %q", what, got, tag)
	}
	if s.Features.Chooses && saw.own != wantOwn(tag) && len(s.setup.Callees) > 1 {
		s.problem("%s: tag %q was handled by an instance of %q, want %q", what, tag, saw.own, wantOwn(tag))
	}
}

func checkTag(s *scene) {
	for _, tag := range []graylib.Tag{laneTag, otherTag} {
		for range 5 {
			if saw, ok := s.send(graylib.WithTag(context.Background(), tag), s.payload()); ok {
				s.expect("a call in a context with a tag", saw, tag)
			}
			ctx, _ := s.arrive(context.Background(), request{tag: string(tag)})
			if saw, ok := s.send(ctx, s.payload()); ok {
				s.expect("a call while serving a tagged request", saw, tag)
			}
		}
	}
}

func checkTagless(s *scene) {
	for range 5 {
		if saw, ok := s.send(context.Background(), s.payload()); ok {
			s.expect("a call without a tag", saw, graylib.Untagged)
		}
		ctx, _ := s.arrive(context.Background(), request{})
		if saw, ok := s.send(ctx, s.payload()); ok {
			s.expect("a call while serving an untagged request", saw, graylib.Untagged)
		}
	}
}

func checkIDs(s *scene) {
	for _, r := range []request{
		{id: "request-1", parent: traceparent(traceA), state: "vendor=value,other=1"},
		{tag: string(laneTag), id: strings.Repeat("r", 128), parent: traceparent(traceB), state: "k=" + strings.Repeat("v", 510)},
		{id: "with space and \"punctuation\"; a=b, c", parent: traceparent(traceA)},
		{},
	} {
		ctx, _ := s.arrive(context.Background(), r)
		saw, ok := s.send(ctx, s.payload())
		if !ok {
			continue
		}
		if got := saw.wire.Get(graylib.HTTPKeys.RequestID); got != r.id {
			s.problem("request id %q became %q", r.id, got)
		}
		if want := strings.TrimPrefix(r.parent, "00-"); !strings.HasPrefix(want, saw.traceID) || (saw.traceID == "") != (want == "") {
			s.problem("the trace of %q became %q", r.parent, saw.traceID)
		}
		if got := saw.wire.Get(graylib.HTTPKeys.TraceState); got != r.state {
			s.problem("tracestate %q became %q", r.state, got)
		}
	}
}

func checkReason(s *scene) {
	for tag, want := range map[graylib.Tag]graylib.Reason{
		graylib.Untagged: graylib.ReasonBaseline, laneTag: graylib.ReasonLane, otherTag: graylib.ReasonNoInstance,
	} {
		ctx, _ := s.arrive(context.Background(), request{tag: string(tag)})
		saw, ok := s.send(ctx, s.payload())
		if !ok {
			continue
		}
		if !s.Features.Reason {
			want = ""
		}
		s.expectHop(saw, tag, want)
	}
}

// expectHop compares the hop that the callee's adapter has written.
func (s *scene) expectHop(saw sight, tag graylib.Tag, reason graylib.Reason) {
	if len(saw.hops) != 1 {
		s.problem("the callee's chain has %d hops when its handler begins, want its own alone: %+v", len(saw.hops), saw.hops)
		return
	}
	want := graylib.Hop{
		Service: s.setup.Service, Tag: saw.own, Instance: s.setup.Service + "-" + saw.own.String(), Addr: saw.hops[0].Addr,
		RequestTag: tag, Protocol: s.Features.Protocol, Reason: reason,
	}
	if saw.hops[0] != want {
		s.problem("the callee's hop is %+v, want %+v", saw.hops[0], want)
	}
}

func checkHops(s *scene) {
	for _, tag := range []graylib.Tag{laneTag, graylib.Untagged, otherTag} {
		ctx, arrival := s.arrive(context.Background(), request{tag: string(tag)})
		payload := s.payload()
		saw, ok := s.send(ctx, payload)
		if !ok {
			continue
		}
		s.expectBack(arrival, []string{payload}, func(string) (graylib.Tag, graylib.Tag) { return tag, saw.own })
	}
}

// expectBack compares what came back to a caller that has made one call for each payload.
func (s *scene) expectBack(arrival *graylib.Arrival, payloads []string, of func(payload string) (tag, own graylib.Tag)) {
	wantHops, wantMessages := 1, 0
	if s.Features.Hops {
		wantMessages = len(payloads)
		if !s.Features.inProcess() {
			wantHops += len(payloads)
		}
	}
	var hops []graylib.Hop
	var messages []graylib.Message
	// What a task within the process adds is there when the task has ended, which may be a moment after its handler.
	s.eventually(func() bool {
		hops, messages = arrival.Chain()
		return len(hops) >= wantHops && len(messages) >= wantMessages || s.Features.Answers
	})
	// A producer's own note of the message that it sent is the caller's and not what came back.
	sent := 0
	for _, m := range messages {
		if m.Topic != "conformance" {
			sent++
		}
	}
	if len(hops) != wantHops || len(messages)-sent != wantMessages {
		s.problem("after %d calls the caller's chain has %d hops and %d messages from below, want %d and %d",
			len(payloads), len(hops), len(messages)-sent, wantHops, wantMessages)
		return
	}
	left := make(map[string]bool)
	for _, p := range payloads {
		left[p] = true
	}
	for _, m := range messages {
		if m.Topic != "conformance" {
			continue
		}
		if tag, _ := of(m.ID); !left[m.ID] || m.Tag != tag {
			s.problem("message %+v came back, which none of the calls had sent, or twice", m)
		}
		delete(left, m.ID)
	}
	if len(payloads) == 1 && wantHops == 2 {
		tag, own := of(payloads[0])
		if hops[1].Tag != own || hops[1].RequestTag != tag || hops[1].Service != s.setup.Service {
			s.problem("the hop that came back is %+v; the callee's tag is %q, the request's %q", hops[1], own, tag)
		}
	}
}

func checkHopsOnWire(s *scene) {
	k := s.Features.Keys
	if _, back, ok := s.raw(0, wire(k.Tag, string(laneTag))); ok && (back[k.Hops] != "" || back[k.Messages] != "") {
		s.problem("%s and %s came back as %q and %q to a caller that hadn't asked", k.Hops, k.Messages, back[k.Hops], back[k.Messages])
	}
	saw, back, ok := s.raw(0, wire(k.Tag, string(laneTag), k.Hops, graylib.HopsWanted))
	if !ok {
		return
	}
	hops, err := graylib.DecodeHops(back[k.Hops])
	if err != nil || len(hops) != 1 || hops[0].Service != s.setup.Service || hops[0].Tag != saw.own || hops[0].RequestTag != laneTag {
		s.problem("%s came back as %q (%v), want the callee's hop", k.Hops, back[k.Hops], err)
	}
	messages, err := graylib.DecodeMessages(back[k.Messages])
	if err != nil || len(messages) != 1 {
		s.problem("%s came back as %q (%v), want one message", k.Messages, back[k.Messages], err)
	}
}

func checkMalformed(s *scene) {
	counted := func() (n int64) {
		for _, c := range s.setup.Callees {
			n += c.Runtime.Status().MalformedTags
		}
		return n
	}
	before := counted()
	bad := []string{
		"Gray", "GRAY", "gr ay", "gray_1", "-gray", "gray-", "gray,blue", "gray;v=1", "\"gray\"", "gr%61y", "baseline", "none", "other",
		string(otherTag) + "x", strings.Repeat("a", 4096), "../gray", "gray=1",
	}
	for _, v := range bad {
		if saw, _, ok := s.raw(0, wire(s.Features.Keys.Tag, v)); ok {
			if saw.tag != graylib.Untagged || saw.wire.Get(graylib.HTTPKeys.Tag) != "" {
				s.problem("the malformed tag %.60q counts as %q, want untagged", v, saw.tag)
			}
			if saw.own != graylib.Untagged {
				s.problem("the malformed tag %.60q was handled by an instance of %q, want the baseline", v, saw.own)
			}
		}
	}
	if got := counted() - before; got != int64(len(bad)) {
		s.problem("%d malformed tags were counted as %d", len(bad), got)
	}
	if n := s.warnings.count("malformed tag"); n != 1 {
		s.problem("malformed tags were logged %d times, want once", n)
	}
}

func checkOddValues(s *scene) {
	k := s.Features.Keys
	for _, odd := range []struct{ key, value string }{
		{k.RequestID, strings.Repeat("r", 129)},
		{k.TraceParent, "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01"},
		{k.TraceParent, "garbage"},
		{k.TraceParent, traceparent(traceA) + "-more"},
		{k.Reason, "because"},
		{k.Hops, `[{"service":"forged"}]`},
		{k.Messages, "x"},
	} {
		if odd.key == "" {
			continue
		}
		saw, _, ok := s.raw(0, wire(odd.key, odd.value, k.Tag, string(laneTag)))
		if !ok {
			continue
		}
		what := fmt.Sprintf("with %s=%.40q", odd.key, odd.value)
		if saw.tag != laneTag {
			s.problem("%s the tag %q became %q", what, laneTag, saw.tag)
		}
		if id := saw.wire.Get(graylib.HTTPKeys.RequestID); id != "" || saw.traceID != "" {
			s.problem("%s the request id is %q and the trace %q, want none", what, id, saw.traceID)
		}
		if len(saw.hops) != 1 || saw.hops[0].Reason != "" && k.Reason != "" {
			s.problem("%s the callee's chain is %+v, want its own hop, without a reason where none came", what, saw.hops)
		}
	}
}

func checkDuplicates(s *scene) {
	k := s.Features.Keys.Tag
	for _, tc := range []struct {
		values []string
		want   graylib.Tag
	}{
		{[]string{string(laneTag), string(otherTag)}, laneTag},
		{[]string{string(otherTag), string(laneTag)}, otherTag},
		{[]string{string(laneTag), string(laneTag)}, laneTag},
		{[]string{string(laneTag), "Bad!"}, laneTag},
	} {
		if saw, _, ok := s.raw(0, map[string][]string{k: tc.values}); ok && saw.tag != tc.want {
			s.problem("%s twice, %q: the tag is %q, want the first", k, tc.values, saw.tag)
		}
	}
}

// checkReuse makes calls one after the other, which frameworks serve with the same workers, connections and objects.
func checkReuse(s *scene) {
	for i := range 24 {
		r := request{}
		switch i % 4 {
		case 0:
			r = request{tag: string(laneTag), id: "id-of-the-lane", parent: traceparent(traceA), state: "a=b"}
		case 2:
			r = request{tag: string(otherTag), id: "id-of-the-other", parent: traceparent(traceB)}
		}
		ctx, _ := s.arrive(context.Background(), r)
		saw, ok := s.send(ctx, s.payload())
		if !ok {
			return
		}
		s.expect(fmt.Sprintf("call %d of alternating ones", i), saw, graylib.Tag(r.tag))
		if id := saw.wire.Get(graylib.HTTPKeys.RequestID); id != r.id {
			s.problem("call %d of alternating ones: the request id is %q, want %q", i, id, r.id)
		}
		if (saw.traceID == "") != (r.parent == "") {
			s.problem("call %d of alternating ones: the trace is %q, want that of %q", i, saw.traceID, r.parent)
		}
	}
}

func checkConcurrency(s *scene) {
	const workers, each = 16, 15
	tags := []graylib.Tag{laneTag, graylib.Untagged, otherTag}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				tag := tags[(w+i)%len(tags)]
				payload := s.payload()
				ctx, arrival := s.arrive(context.Background(), request{tag: string(tag), id: "id-" + payload})
				saw, ok := s.send(ctx, payload)
				if !ok {
					return
				}
				s.expect("one of many calls at once", saw, tag)
				if id := saw.wire.Get(graylib.HTTPKeys.RequestID); id != "id-"+payload {
					s.problem("one of many calls at once: the request id is %q, want %q", id, "id-"+payload)
				}
				s.expectBack(arrival, []string{payload}, func(string) (graylib.Tag, graylib.Tag) { return tag, saw.own })
			}
		})
	}
	wg.Wait()
}

// checkFanOut makes several calls at once in one context.
func checkFanOut(s *scene) {
	const calls = 8
	ctx, arrival := s.arrive(context.Background(), request{tag: string(otherTag), id: "fan-out"})
	payloads := make([]string, calls)
	var wg sync.WaitGroup
	for i := range payloads {
		payloads[i] = s.payload()
		wg.Go(func() {
			if saw, ok := s.send(ctx, payloads[i]); ok {
				s.expect("one of several calls of one context", saw, otherTag)
			}
		})
	}
	wg.Wait()
	s.expectBack(arrival, payloads, func(string) (graylib.Tag, graylib.Tag) { return otherTag, graylib.Untagged })
	if got := graylib.TagFrom(ctx); got != otherTag {
		s.problem("the caller's own context has the tag %q afterwards, want %q", got, otherTag)
	}
}
