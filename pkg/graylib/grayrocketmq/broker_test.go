package grayrocketmq

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestLoop(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	base, gray := newSink(), newSink()
	w.consumer("", base)
	w.consumer("gray", gray)
	p := w.producer("")
	plain := w.send(p, "", 20)
	tagged := w.send(p, "gray", 20)
	eventually(t, "all are handled", func() bool { return base.all(plain) && gray.all(tagged) })
	base.exactly(t, "baseline, untagged", plain, 1)
	base.exactly(t, "baseline, gray", tagged, 0)
	gray.exactly(t, "lane, gray", tagged, 1)
	gray.exactly(t, "lane, untagged", plain, 0)
	if got := gray.tag(tagged[0]); got != "gray" {
		t.Errorf("the handler's context has tag %q, want gray", got)
	}
}

func TestPanicIsRetriedInItsGroup(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	base, gray := newSink(), newSink()
	first := make(chan struct{}, 1)
	first <- struct{}{}
	gray.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult {
		select {
		case <-first:
			panic("first delivery")
		default:
			return consumer.ConsumeSuccess
		}
	}
	w.consumer("", base)
	w.consumer("gray", gray)
	ids := w.send(w.producer(""), "gray", 1)
	eventually(t, "the message is delivered again", func() bool { return gray.times(ids[0]) == 2 })
	if got := gray.tag(ids[0]); got != "gray" {
		t.Errorf("retried with tag %q, want gray", got)
	}
	base.exactly(t, "baseline", ids, 0)
}

// TestSendKinds checks every way of sending, by what a consumer of the lane sees.
// TestTransaction checks that half messages keep their marks.
// TestFirstOffsets checks where groups begin when messages are there already.
// TestMembersStartAtOnce starts several instances of each kind together on messages that wait: each is handled once.
// TestQueuesAdded checks that queues which come later are consumed from their beginning.
// TestModes switches between the modes while everything runs.
func TestModes(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAll, "gray"))
	base, gray := newSink(), newSink()
	reporter := &graylibtest.Reporter{}
	c := w.open("", base, reporter, nil)
	start(t, c)
	w.laneOwns(w.consumer("gray", gray))
	w.knowsLane(c)
	p := w.producer("")
	for round := range 4 {
		mode, copies := graylib.ModeAll, 1
		if round%2 == 1 {
			mode, copies = graylib.ModeIgnore, 0
		}
		w.source.put(listed(mode, "gray"))
		ids := w.send(p, "gray", 10)
		skipped := func() bool {
			n := 0
			for _, e := range reporter.Events() {
				if e.Kind == graylib.EventFinished && e.Result == graylib.ResultSkipped && e.Reason == "mode ignore" && slices.Contains(ids, e.ID) {
					n++
				}
			}
			return n == len(ids)
		}
		eventually(t, fmt.Sprintf("round %d, mode %s: all are through", round, mode), func() bool {
			return gray.all(ids) && (base.all(ids) || copies == 0 && skipped())
		})
		base.exactly(t, "baseline, mode "+string(mode), ids, copies)
		gray.exactly(t, "lane, mode "+string(mode), ids, 1)
	}
	for _, e := range reporter.Events() {
		if e.Kind != graylib.EventFinished || e.Result == graylib.ResultSkipped {
			continue
		}
		if len(e.Hops) != 1 || e.Hops[0].Reason != graylib.ReasonBaseline || e.Hops[0].RequestTag != "gray" || e.Reason != "copy" {
			t.Errorf("a copy beside a live lane is reported as %+v", e)
		}
	}
}

// TestStraysAndDeadLanes checks what the baseline does with tags that no live lane answers to.
func TestStraysAndDeadLanes(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAll, "gray"))
	base := newSink()
	reporter := &graylibtest.Reporter{}
	start(t, w.open("", base, reporter, nil))
	p := w.producer("")
	dead, unlisted := w.send(p, "gray", 3), w.send(p, "unlisted", 3)

	raw, err := rocketmq.NewProducer(producer.WithNameServer([]string{w.namesrv}), producer.WithGroupName("P-raw"), producer.WithInstanceName(newUUID()))
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Shutdown() }()
	bad := primitive.NewMessage(w.topic, []byte("x"))
	bad.WithProperty("gray_tag", "NOT A TAG'")
	r, err := raw.SendSync(t.Context(), bad)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the baseline has them all", func() bool { return base.all(dead) && base.all(unlisted) && base.times(r.MsgID) == 1 })
	if got := base.tag(unlisted[0]); got != "unlisted" {
		t.Errorf("falling back dropped the tag: %q", got)
	}
	if got := base.tag(r.MsgID); got != "" {
		t.Errorf("a malformed tag got into the context: %q", got)
	}
	for _, e := range reporter.Events() {
		if e.Kind != graylib.EventFinished || e.Result == graylib.ResultSkipped {
			continue
		}
		want := graylib.ReasonNoInstance
		if e.ID == r.MsgID {
			want = graylib.ReasonBaseline
		}
		if len(e.Hops) != 1 || e.Hops[0].Reason != want {
			t.Errorf("reason of the hop in %+v, want %s", e, want)
		}
	}
}

// TestLaneListedLater starts an instance whose lane is not listed, lists it, and drops it.
func TestLaneListedLater(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore))
	base, gray := newSink(), newSink()
	w.consumer("", base)
	c := w.consumer("gray", gray)
	if got := c.Groups(); len(got) != 0 {
		t.Fatalf("joined %v though its lane is not listed", got)
	}
	if !c.rt.Status().Ready {
		t.Errorf("not ready: %v", c.rt.Status().NotReady)
	}
	w.source.put(listed(graylib.ModeIgnore, "gray"))
	eventually(t, "it joins", func() bool { return len(c.Groups()) == 1 })
	ids := w.send(w.producer(""), "gray", 10)
	eventually(t, "the lane handles them", func() bool { return gray.all(ids) })
	base.exactly(t, "baseline", ids, 0)
	w.source.put(listed(graylib.ModeIgnore))
	eventually(t, "it leaves", func() bool { return len(c.Groups()) == 0 })
	ids = w.send(w.producer(""), "gray", 10)
	eventually(t, "the baseline handles the strays", func() bool { return base.all(ids) })
	gray.exactly(t, "lane", ids, 0)
}

// TestClientFilterAndTags checks filter: client, with tag lists of the application's own in both filters.
func TestClientFilterAndTags(t *testing.T) {
	for _, filter := range []graylib.Filter{graylib.FilterServer, graylib.FilterClient} {
		t.Run(string(filter), func(t *testing.T) {
			r := listed(graylib.ModeIgnore, "gray")
			r.Consume.Filter = filter
			w := newWorld(t, r)
			base, gray := newSink(), newSink()
			cb, cg := w.open("", base, nil, nil), w.open("gray", gray, nil, nil)
			want := consumer.MessageSelector{Type: consumer.TAG, Expression: "buy || it's"}
			for _, c := range []*Consumer{cb, cg} {
				s := base
				if c == cg {
					s = gray
				}
				if err := c.Subscribe(w.topic, want, s.handle); err != nil {
					t.Fatal(err)
				}
				start(t, c)
			}
			p := w.producer("")
			send := func(tag graylib.Tag, topicTag string) string {
				m := primitive.NewMessage(w.topic, []byte("x"))
				if topicTag != "" {
					m.WithTag(topicTag)
				}
				r, err := p.SendSync(graylib.WithTag(t.Context(), tag), m)
				if err != nil {
					t.Fatal(err)
				}
				return r.MsgID
			}
			var no, plain, tagged []string
			for range 4 {
				no = append(no, send("", "sell"), send("gray", "sell"), send("", ""), send("gray", ""))
				plain = append(plain, send("", "buy"), send("", "it's"))
				tagged = append(tagged, send("gray", "buy"), send("gray", "it's"))
			}
			eventually(t, "the wanted ones are handled", func() bool { return base.all(plain) && gray.all(tagged) })
			base.exactly(t, "baseline, unwanted", no, 0)
			gray.exactly(t, "lane, unwanted", no, 0)
			base.exactly(t, "baseline, gray", tagged, 0)
			gray.exactly(t, "lane, untagged", plain, 0)
		})
	}
}

// TestSuspend checks that nothing is taken while suspended, and nothing lost.
// TestShutdownRepeatsNothing stops and starts consumers under load: what was begun is finished and committed.
// TestShutdownPastDrain checks the error, and that what was cut off comes again.
// TestBackgroundStart starts before there is a name server.
// TestWithoutCreation names what is missing.
// TestRulesUnknown: before any rules document tagged messages wait, and a lane's instance is not ready.
func TestRulesUnknown(t *testing.T) {
	w := newWorld(t, &graylibtest.Rules{Consume: graylib.NoRules.Consumption("", "", "")})
	w.source.origin.Store("none")
	base, gray := newSink(), newSink()
	c := w.consumer("", base)
	lane := w.consumer("gray", gray)
	if st := lane.rt.Status(); st.Ready || len(lane.Groups()) != 0 || !strings.Contains(strings.Join(st.NotReady, " "), "no rules document") {
		t.Errorf("the lane's instance is ready %t, %q, and joined %v: want not ready, for want of rules", st.Ready, st.NotReady, lane.Groups())
	}
	if st := c.rt.Status(); !st.Ready {
		t.Errorf("the baseline is not ready: %q", st.NotReady)
	}
	p := w.producer("")
	tagged, plain := w.send(p, "gray", 5), w.send(p, "", 5)
	eventually(t, "untagged messages are handled", func() bool { return base.all(plain) })
	base.exactly(t, "rules unknown", tagged, 0)
	w.source.origin.Store("nacos")
	w.source.put(listed(graylib.ModeAll, "gray"))
	eventually(t, "the lane's instance is ready", func() bool { return lane.rt.Status().Ready && len(lane.Groups()) == 1 })
	eventually(t, "tagged ones are handled when rules are known", func() bool {
		return !slices.ContainsFunc(tagged, func(id string) bool { return gray.times(id)+base.times(id) == 0 })
	})
	eventually(t, "the baseline is a member of three groups", func() bool { return len(c.Groups()) == 3 })
	w.laneOwns(lane)
	more := w.send(p, "gray", 5)
	eventually(t, "the lane handles the next", func() bool { return gray.all(more) })
}

func start(t *testing.T, c *Consumer) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
}
