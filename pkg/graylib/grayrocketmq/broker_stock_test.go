package grayrocketmq

import (
	"fmt"
	"testing"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestStockMembersBeside: while a service is being taken over to graylib, members of <group> that run without it share its queues with
// those that run with it, by the same strategy. They take no locks, so that what moves between the two may come again; nothing is
// lost, whoever comes and goes.
func TestStockMembersBeside(t *testing.T) {
	if full(0, 1) == 0 {
		t.Skip("the client races with itself when it shuts down while it pulls, which the race detector would report: make check-full-messages")
	}
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(4)
	y := newTally()
	p := w.producer("") // before any client: the process's logger is set with it
	first := w.stock(y, "stock")
	l := w.load(p, graylib.Untagged, 300)
	takesPart := func(who string) {
		t.Helper()
		y.arm()
		eventually(t, who+" takes part", func() bool { _, ok := y.took(who); return ok })
	}
	takesPart("stock")
	for i := range rounds() {
		who := fmt.Sprintf("graylib-%d", i)
		c := w.consumer("", y.handler(who))
		takesPart(who)
		takesPart("stock")
		w.shutdown(c)
	}
	last := w.consumer("", y.handler("last"))
	takesPart("last")
	if err := first.Shutdown(); err != nil {
		t.Error(err)
	}
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return y.has(ids) })
	lost, repeated := y.judge(ids)
	if lost != 0 {
		t.Errorf("broke G5: lost %d of %d", lost, len(ids))
	}
	t.Logf("lost %d, repeated %d of %d", lost, repeated, len(ids))
	w.shutdown(last)
}

// stock is a started consumer of the client's own in <group>.
func (w *world) stock(y *tally, who string) rocketmq.PushConsumer {
	w.t.Helper()
	c, err := rocketmq.NewPushConsumer(consumer.WithGroupName(w.group), consumer.WithInstance(newUUID()),
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{w.namesrv})), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Subscribe(w.topic, consumer.MessageSelector{}, y.handler(who).handle); err != nil {
		w.t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	var o consumerOptions
	settled(w.t)(&o)
	o.settle(c)
	return c
}
