package grayrocketmq

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// TestListedThenSentAtOnce lists a lane and sends its first message 10 ms later, when one of two baseline instances has not
// read the rules yet: it is handled once, by a stand-in, though no instance of the lane ever ran.
func TestListedThenSentAtOnce(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto))
	w.createTopic(4)
	first, late := w.source, newRuleSource(listed(graylib.ModeAuto))
	first.readAt(time.Now())
	late.readAt(time.Now())
	book, reporter := newLedger(), &graylibtest.Reporter{}
	start(t, w.open("", book.sink("baseline", nil), reporter, nil))
	w.source = late
	start(t, w.open("", book.sink("baseline", nil), reporter, nil))
	w.source = first
	p := w.producer("")
	w.send(p, "", 1) // the route is known
	rules := listed(graylib.ModeAuto)
	want := make(map[string]map[string]int)
	var slowest time.Duration
	for i := range rounds() {
		tag := graylib.Tag(fmt.Sprintf("lane-%d", i))
		next := listed(graylib.ModeAuto)
		next.List = append(slices.Clone(rules.List), graylib.Lane{Tag: tag, Listed: time.Now(), State: graylib.LaneActive, Propagate: true})
		rules = next
		first.put(rules)
		time.AfterFunc(300*time.Millisecond, func() { late.put(next) })
		time.Sleep(10 * time.Millisecond) // what the promise is about
		sent := time.Now()
		id := w.send(p, tag, 1)[0]
		want[id] = map[string]int{"baseline " + graylib.LaneGroup(w.group, tag): 1}
		eventually(t, "it is handled", func() bool { return book.total(id) > 0 })
		slowest = max(slowest, time.Since(sent))
	}
	passed := func() bool { // <group>__tagged has been through them all
		n := 0
		for _, e := range reporter.Events() {
			if _, ours := want[e.ID]; ours && e.Kind == graylib.EventFinished && e.Group == graylib.TaggedGroup(w.group) {
				n++
			}
		}
		return n >= len(want)
	}
	eventually(t, "the baseline's own group has skipped them", passed)
	for id, places := range want {
		if got := book.places(id); !maps.Equal(got, places) {
			t.Errorf("broke G5 or G6: the first message of a lane was handled %v, want %v: %v", got, places, book.deliveries(id))
		}
	}
	t.Logf("%d lanes, the slowest first message was handled %v after it was sent", rounds(), slowest)
}

// TestModesUnderLoad changes the mode at random under load while the lane comes and goes: nothing is lost, each group handles
// a message at most once, and what the baseline handles beside the lane it handles around a time of mode all.
func TestModesUnderLoad(t *testing.T) {
	const edge = 2 * time.Second // a copy may be handled so long after mode all has ended
	rng := seeded(t)
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(4)
	book := newLedger()
	w.consumer("", book.sink("baseline", work))
	w.consumer("", book.sink("baseline", work))
	l := w.load(w.producer(""), "gray", 300)
	var lane *Consumer
	var copies []span
	modes := []graylib.Mode{graylib.ModeAuto, graylib.ModeIgnore, graylib.ModeAll}
	mode := graylib.ModeAuto
	change := func(next graylib.Mode) {
		now := time.Now()
		if mode == graylib.ModeAll {
			copies[len(copies)-1].to = now
		}
		if next == graylib.ModeAll {
			copies = append(copies, span{from: now})
		}
		mode = next
		w.source.put(listed(mode, "gray"))
	}
	changes := full(8, 30)
	for i := range changes {
		others := slices.DeleteFunc(slices.Clone(modes), func(m graylib.Mode) bool { return m == mode })
		change(others[rng.IntN(len(others))])
		l.more(t, rng.IntN(100))
		switch {
		case lane == nil:
			lane = w.consumer("gray", book.sink(fmt.Sprintf("lane-%d", i), work))
		case rng.IntN(2) == 0:
			stop(t, lane)
			lane = nil
		}
		l.more(t, rng.IntN(100))
	}
	change(graylib.ModeAuto)
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return book.all(ids) })
	twice := 0
	for _, id := range ids {
		groups := make(map[string]int)
		for _, h := range book.deliveries(id) {
			groups[h.group]++
			if h.group == graylib.TaggedGroup(w.group) && !slices.ContainsFunc(copies, func(s span) bool {
				return h.at.After(s.from) && h.at.Before(s.to.Add(edge))
			}) {
				t.Errorf("broke G6 nothing twice: a copy outside of mode all: %v", book.deliveries(id))
			}
		}
		if groups[graylib.LaneGroup(w.group, "gray")] > 1 || groups[graylib.TaggedGroup(w.group)] > 1 || groups[w.group] > 0 {
			t.Errorf("broke G6 nothing twice: %v", book.deliveries(id))
		}
		if len(groups) > 1 {
			twice++
		}
	}
	t.Logf("%d changes of the mode, %d of them to all: %d messages, lost 0, %d of them copied", changes, len(copies), len(ids), twice)
}

// span is a time from one moment to another.
type span struct{ from, to time.Time }
