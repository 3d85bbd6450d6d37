package grayrocketmq

import (
	"slices"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// TestUnsubscribedLeaves: a consumer that has unsubscribed from its last topic leaves its groups, and joins none that comes later: a
// member that wants nothing.
func TestUnsubscribedLeaves(t *testing.T) {
	s := newSim(t)
	b := newSimBroker(t)
	s.at("b", map[int]string{0: b.Addr})
	for _, topic := range []string{"T", "%RETRY%g_gray"} {
		s.has("b", topic, 1)
	}
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	start(t, c)
	if groups := c.Groups(); len(groups) != 1 {
		t.Fatalf("groups %q, want one", groups)
	}
	if err := c.Unsubscribe("T"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leaves its group", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(c.Groups()) == 0 && len(b.members["g_gray"]) == 0
	})
}

// group returns who is in a group.
func (b *simBroker) group(t *testing.T, group string) (list []ownership.Member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range b.members[group] {
		m, err := ownership.ParseMember(id)
		if err != nil {
			t.Error(err)
		}
		list = append(list, m)
	}
	return list
}

// twoTopics is a lane's consumer of the topics T and U, which isn't started.
func twoTopics(t *testing.T) (*Consumer, *simBroker) {
	s, b := newSim(t), newSimBroker(t)
	s.at("b", map[int]string{0: b.Addr})
	for _, topic := range []string{"T", "U", retryTopic("g_gray")} {
		s.has("b", topic, 1)
	}
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	if err := c.Subscribe("U", consumer.MessageSelector{}, newSink().handle); err != nil {
		t.Fatal(err)
	}
	return c, b
}

// wantsT waits until the consumer is the group's one member, one that wants the topic T alone, and has its queues.
func wantsT(t *testing.T, c *Consumer, b *simBroker) {
	t.Helper()
	eventually(t, "the group's one member wants T alone, and has its queues", func() bool {
		readLists(c) // nobody tells the members of others
		list, owned := b.group(t, "g_gray"), ownedBy(c, "g_gray")
		return len(list) == 1 && list[0].Wants("T") && !list[0].Wants("U") && slices.Equal(owned, []string{retryTopic("g_gray") + " b/0", "T b/0"})
	})
	if list := c.Groups(); !slices.Equal(list, []string{"g_gray"}) {
		t.Errorf("groups %q", list)
	}
}

// TestUnsubscribedIsAnotherMember: the member's id, by which the others know what it wants, no longer names the topic.
func TestUnsubscribedIsAnotherMember(t *testing.T) {
	c, b := twoTopics(t)
	start(t, c)
	eventually(t, "both topics are pulled", func() bool { return b.consumed("g_gray", "T", 0) && b.consumed("g_gray", "U", 0) })
	was := b.group(t, "g_gray")
	if err := c.Unsubscribe("U"); err != nil {
		t.Fatal(err)
	}
	wantsT(t, c, b)
	if is := b.group(t, "g_gray"); len(was) != 1 || !was[0].Wants("U") || was[0].ID == is[0].ID {
		t.Errorf("the member before: %+v, and now: %+v", was, is)
	}
	stop(t, c)
}

// TestUnsubscribeWhileJoining: what the application unsubscribes from while its groups are being joined is not consumed.
func TestUnsubscribeWhileJoining(t *testing.T) {
	c, b := twoTopics(t)
	goOn := b.standStill()
	started := make(chan error, 1)
	go func() { started <- c.Start() }()
	eventually(t, "the broker is asked", func() bool { return len(b.Seen()) > 0 })
	if err := c.Unsubscribe("U"); err != nil {
		t.Fatal(err)
	}
	goOn()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	wantsT(t, c, b)
	if b.consumed("g_gray", "U", 0) {
		t.Error("the topic was consumed")
	}
}

// TestLaneUnsubscribes: of a topic that a lane has unsubscribed from the stand-ins take over, and of the others nothing is lost or repeated.
func TestLaneUnsubscribes(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	second := w.topic + "-second"
	base, gray := newSink(), newSink()
	all := map[string]string{w.topic: "*", second: "*"}
	w.subscribed("", base, all)
	w.subscribed("", base, all)
	lane := w.subscribed("gray", gray, all)
	w.laneOwns(lane, w.topic, second)
	p := w.producer("")
	before := slices.Concat(w.sendTo(p, second, "x", "gray", 8), w.sendTo(p, w.topic, "x", "gray", 8))
	eventually(t, "the lane handles both topics", func() bool { return gray.all(before) })
	was := lane.State().Groups[0].Member
	load := w.load(p, "gray", 200)
	eventually(t, "messages are sent", func() bool { return load.sent() > 20 })
	if err := lane.Unsubscribe(second); err != nil {
		t.Fatal(err)
	}
	ids := w.sendTo(p, second, "x", "gray", 16)
	eventually(t, "the stand-ins handle what the lane no longer wants", func() bool { return base.all(ids) })
	eventually(t, "the lane's instance has left as the member that it was", func() bool {
		groups := lane.State().Groups
		return len(groups) == 1 && groups[0].Member != was
	})
	sent := load.sent()
	eventually(t, "messages are sent beside the new member alone", func() bool { return load.sent() > sent+20 })
	first := load.stop(t)
	eventually(t, "the lane handles the other topic", func() bool { return gray.all(first) })
	base.exactly(t, "stand-ins", ids, 1)
	gray.exactly(t, "the lane, unsubscribed", ids, 0)
	gray.exactly(t, "the lane", slices.Concat(before, first), 1)
	base.exactly(t, "stand-ins, what the lane wants", slices.Concat(before, first), 0)
}
