package grayrocketmq

import (
	"testing"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestKillSwitch throws the switch on a service with a lane: its baseline consumes everything, what is left of the lane included,
// its tagged instances consume nothing, and nothing more is marked.
func TestKillSwitch(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	base, lane := newSink(), newSink()
	baseOn, laneOn := w.consumer("", base), w.consumer("gray", lane)
	w.laneOwns(laneOn)
	on := w.producer("")
	before := append(w.send(on, "", 4), w.send(on, "gray", 4)...)
	eventually(t, "both are consumed", func() bool { return base.size() == 4 && lane.size() == 4 })
	w.shutdown(laneOn)
	w.shutdown(baseOn)
	left := w.send(on, "gray", 4)

	w.off = true
	idle := newSink()
	w.consumer("", base)
	laneOff := w.consumer("gray", idle)
	plain := w.send(w.producer(""), "gray", 4) // the context's tag, which is not the message's
	untagged := w.send(on, "", 20)
	all := append(append(append([]string(nil), left...), plain...), untagged...)
	eventually(t, "the baseline consumes all", func() bool { return base.all(all) })
	base.exactly(t, "broke G6 nothing twice: after the switch", all, 1)
	base.exactly(t, "broke G6 nothing twice: before the switch", before[:4], 1)
	base.exactly(t, "broke G4 closed loop: before the switch", before[4:], 0)
	for _, id := range all {
		if tag := base.tag(id); tag != graylib.Untagged {
			t.Errorf("message %s was handled with tag %q", id, tag)
		}
	}
	if idle.size() > 0 || len(laneOff.Groups()) > 0 {
		t.Errorf("broke G2 isolation: a switched-off instance with a tag is in %v and handled %d messages", laneOff.Groups(), idle.size())
	}
	if s := laneOff.rt.Status(); !s.Ready {
		t.Errorf("it isn't ready: %v", s.NotReady)
	}
}

// TestKillSwitchIsAskedBeforeTheClient: without message grayscale too a switched-off instance with a tag keeps out of the baseline's group.
func TestKillSwitchIsAskedBeforeTheClient(t *testing.T) {
	for _, tag := range []graylib.Tag{graylib.Untagged, "gray"} {
		rt, err := graylib.New(graylib.Identity{Service: "a", Tag: tag}, graylib.WithConfig(graylib.Config{Disabled: true, MessagesOff: true, NamesrvAddr: "127.0.0.1:1"}))
		if err != nil {
			t.Fatal(err)
		}
		graylib.SetDefault(rt)
		t.Cleanup(func() { graylib.SetDefault(nil) })
		var c rocketmq.PushConsumer
		c, err = NewPushConsumer(consumer.WithGroupName("g"), consumer.WithNameServer([]string{"127.0.0.1:1"}))
		if err != nil {
			t.Fatal(err)
		}
		ours, is := c.(*Consumer)
		if is != (tag != graylib.Untagged) {
			t.Errorf("tag %q: the consumer is %T", tag, c)
		}
		if is {
			if err := ours.Subscribe("T", consumer.MessageSelector{}, newSink().handle); err != nil {
				t.Fatal(err)
			}
			if err := ours.Start(); err != nil || len(ours.Groups()) > 0 || !rt.Status().Ready {
				t.Errorf("started idle: %v, in %v, not ready %v", err, ours.Groups(), rt.Status().NotReady)
			}
			if err := ours.Shutdown(); err != nil {
				t.Error(err)
			}
		}
	}
}
