package grayrocketmq

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// groupOf returns what a consumer says of one group; false where it isn't a member.
func groupOf(c *Consumer, group string) (graylib.GroupState, bool) {
	groups := c.State().Groups
	i := slices.IndexFunc(groups, func(g graylib.GroupState) bool { return g.Group == group })
	if i < 0 {
		return graylib.GroupState{}, false
	}
	return groups[i], true
}

// tallyOf returns what a consumer counted in one group.
func tallyOf(c *Consumer, group string) graylib.GroupTally {
	for _, g := range c.State().Tallies {
		if g.Group == group {
			return g
		}
	}
	return graylib.GroupTally{}
}

// owned counts the topic's queues that a member owns, and whether it is done with all of them.
func owned(g graylib.GroupState, topic string) (n int, done bool) {
	done = true
	for _, q := range g.Queues {
		if q.Topic != topic {
			continue
		}
		if q.State == graylib.QueueOwned {
			n++
		}
		done = done && q.Lag == 0 && q.Max >= 0 && q.Span == 0
	}
	return n, done
}

// TestState: what consumers say of themselves is what they do: roles, queues, lag, handoffs, and bytes.
func TestState(t *testing.T) {
	const queues = 4
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(queues)
	lane := graylib.LaneGroup(w.group, "gray")
	base, gray := newSink(), newSink()
	b := w.consumer("", base)
	p := w.producer("")
	left := w.send(p, "gray", 20)
	eventually(t, "a stand-in owns the lane's queues and is done", func() bool {
		g, ok := groupOf(b, lane)
		n, done := owned(g, w.topic)
		return ok && n == queues && done && g.Lag == 0 && base.all(left)
	})
	g, _ := groupOf(b, lane)
	g.Member, g.Queues = "", nil
	want := graylib.GroupState{
		Group: lane, Kind: graylib.GroupLane, Lane: "gray", Role: graylib.RoleStandIn, Modes: map[string]graylib.Mode{w.topic: graylib.ModeAuto},
	}
	if diff := cmp.Diff(want, g); diff != "" {
		t.Errorf("the stand-in's membership (-want +got):\n%s", diff)
	}

	c := w.consumer("gray", gray)
	w.laneOwns(c)
	eventually(t, "the lane owns its queues", func() bool {
		own, _ := groupOf(c, lane)
		standIn, _ := groupOf(b, lane)
		n, _ := owned(own, w.topic)
		rest, _ := owned(standIn, w.topic)
		return n == queues && rest == 0 && own.Role == graylib.RoleOwn
	})
	eventually(t, "the stand-in has counted as many queues given as taken", func() bool { // the lane may have one before the stand-in hears that it is given
		y := tallyOf(b, lane)
		return y.Given >= queues && y.Given == y.Taken
	})
	if y := tallyOf(b, lane); y.Forced != 0 || y.Lost != 0 {
		t.Errorf("the stand-in's tally is %+v: want none forced, none lost", y)
	}
	tagged, plain := w.send(p, "gray", 40), w.send(p, "", 40)
	eventually(t, "all is handled and committed", func() bool {
		own, _ := groupOf(c, lane)
		_, done := owned(own, w.topic)
		mine, _ := groupOf(b, w.group)
		n, baseDone := owned(mine, w.topic)
		return gray.all(tagged) && base.all(plain) && done && baseDone && n == queues && mine.Lag == 0
	})
	y := tallyOf(c, lane)
	if y.HandledBytes == 0 || y.PulledBytes != y.HandledBytes {
		t.Errorf("the lane pulled %d bytes and handled %d: want the same, the broker filters", y.PulledBytes, y.HandledBytes)
	}

	status := c.rt.Status()
	if len(status.Consumers) != 1 || status.Consumers[0].Group != w.group {
		t.Errorf("the status page has %+v, want the consumer %s", status.Consumers, w.group)
	}
	if diff := cmp.Diff(map[string]string{w.topic: "*"}, status.Consumers[0].Subscriptions); diff != "" {
		t.Errorf("subscriptions (-want +got):\n%s", diff)
	}
	if err := c.Shutdown(); err != nil {
		t.Fatal(err)
	}
	if n := len(c.rt.Status().Consumers); n != 0 {
		t.Errorf("%d consumers after Shutdown, want none", n)
	}
	if y := tallyOf(c, lane); y.Taken != y.Given || y.Lost != 0 || y.Forced != 0 {
		t.Errorf("after a clean stop the lane's tally is %+v: want as many given as taken", y)
	}
}

// TestStateWaiting: a queue whose next message is held back says why.
func TestStateWaiting(t *testing.T) {
	w := newWorld(t, &graylibtest.Rules{Consume: graylib.Consumption{Baseline: graylib.ModeAuto, Filter: graylib.FilterServer}})
	w.createTopic(1)
	w.source.readAt(time.Now().Add(-time.Hour))
	s := newSink()
	c := w.consumer("", s)
	ids := w.send(w.producer(""), "blue", 1)
	waiting := func() string {
		g, _ := groupOf(c, graylib.TaggedGroup(w.group))
		for _, q := range g.Queues {
			if q.Waiting != "" {
				return q.Waiting
			}
		}
		return ""
	}
	eventually(t, "the stray is held back", func() bool { return waiting() == reasonUnlisted })
	if s.size() != 0 {
		t.Error("the stray was handled already")
	}
	w.source.readAt(time.Now().Add(2 * strayWait))
	eventually(t, "the stray is handled and nothing waits", func() bool { return s.all(ids) && waiting() == "" })
}
