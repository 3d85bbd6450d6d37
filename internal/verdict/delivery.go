package verdict

import (
	"cmp"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
)

// baseGroup is the application's group of a delivery.
func baseGroup(e graylib.Event) string {
	if base, ok := strings.CutSuffix(e.Group, graylib.GroupTaggedSuffix); ok {
		return base
	}
	if e.MessageTag != graylib.Untagged {
		return strings.TrimSuffix(e.Group, graylib.GroupLaneInfix+string(e.MessageTag))
	}
	return e.Group
}

// place is where a message is handled once: a group or, where the group broadcasts, an instance of it.
type place struct{ group, instance string }

func placeOf(e graylib.Event) place {
	if e.Broadcast {
		return place{e.Group, e.Instance}
	}
	return place{group: e.Group}
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.group, o.group), cmp.Compare(p.instance, o.instance))
}

// tally is what happened to a message in one place.
type tally struct {
	begun   []graylib.Event // oldest first
	failed  int
	handled int // a handler acknowledged it, as its member reported
	// marked: a handler acknowledged it by the word of the idempotency hook's store. Where nobody reported that, a process was
	// killed between the mark and its report.
	marked    bool
	broadcast bool
}

// count takes the place's events, oldest first.
func (t *tally) count(e graylib.Event) {
	t.broadcast = t.broadcast || e.Broadcast
	switch {
	case e.Kind == graylib.EventBegun:
		t.begun = append(t.begun, e)
	case e.Result == graylib.ResultSuccess:
		t.handled++
	case e.Result == graylib.ResultRetry, e.Result == graylib.ResultPanic:
		t.failed++
	case e.Result == graylib.ResultSkipped && e.Reason == graylib.MessageReasonDuplicate:
		t.marked = t.marked || len(t.begun) > t.failed
	}
}

// done tells whether a handler acknowledged the message.
func (t *tally) done() bool { return t.handled > 0 || t.marked }

// tallies counts a message's deliveries, oldest first, by place.
type tallies map[place]*tally

func (ts tallies) count(e graylib.Event) {
	p := placeOf(e)
	if ts[p] == nil {
		ts[p] = &tally{}
	}
	ts[p].count(e)
}

// tallied counts those of the events, oldest first, that are of; nil = all.
func tallied(events []graylib.Event, of func(graylib.Event) bool) tallies {
	ts := make(tallies)
	for _, e := range events {
		if of == nil || of(e) {
			ts.count(e)
		}
	}
	return ts
}

// done tells whether a handler acknowledged the message anywhere.
func (ts tallies) done() bool {
	for _, t := range ts {
		if t.done() {
			return true
		}
	}
	return false
}

// sum adds up how often the message was begun, and how often that failed; broadcast tells whether it was where nothing is retried.
func (ts tallies) sum() (begun, failed int, broadcast bool) {
	for _, t := range ts {
		begun += len(t.begun)
		failed += t.failed
		broadcast = broadcast || t.broadcast && len(t.begun)+t.failed > 0
	}
	return begun, failed, broadcast
}

// moved is how many of a message's retries in a place are of failures elsewhere: what fails in the group of the message's lane may be
// retried in <group>__tagged. A failure that was retried where it was moved nothing; what begun there by instances that crashed was begun
// again for that, and not for a failure.
func (ts tallies) moved(p place, tag graylib.Tag, sent int, deliveries []graylib.Event, crashed map[string]bool) int {
	base, ok := strings.CutSuffix(p.group, graylib.GroupTaggedSuffix)
	group := base + graylib.GroupLaneInfix + string(tag)
	lane := ts[place{group: group}]
	if !ok || lane == nil || ts[p] == nil {
		return 0
	}
	left := copies(sent, deliveries, group) + lane.failed - len(lane.begun)
	for _, e := range lane.begun {
		if crashed[e.Instance] {
			left++
		}
	}
	retries := 0
	for _, e := range ts[p].begun {
		if e.Deliveries > 1 {
			retries++
		}
	}
	return max(min(left, lane.failed, retries), 0)
}

// copies is how many messages bear the id: as their producers reported (sent), or as they were first delivered in a group (any,
// where group is empty).
func copies(sent int, deliveries []graylib.Event, group string) int {
	type position struct {
		queue  string
		offset int64
	}
	delivered := make(map[string]map[position]struct{})
	for _, e := range deliveries {
		if e.Deliveries > 1 || group != "" && e.Group != group {
			continue
		}
		if delivered[e.Group] == nil {
			delivered[e.Group] = make(map[position]struct{})
		}
		delivered[e.Group][position{e.Queue, e.Offset}] = struct{}{}
	}
	n := max(sent, 1)
	for _, positions := range delivered {
		n = max(n, len(positions))
	}
	return n
}

// misplaced returns the promise that a delivery breaks whatever the world: who may handle a message shows in its tag and in the
// groups' names. Empty = none.
func misplaced(e graylib.Event, tag graylib.Tag) (promise string) {
	base := baseGroup(e)
	switch {
	case tag == graylib.Untagged && e.Tag != graylib.Untagged:
		return g2
	case tag == graylib.Untagged:
	case e.Group == base && !e.Broadcast: // the group of untagged messages
		return g4
	case e.Tag != graylib.Untagged && (e.Tag != tag || e.Group != base+graylib.GroupLaneInfix+string(tag)):
		return g4
	}
	return ""
}
