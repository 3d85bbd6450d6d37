package grayrocketmq

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// full is n, or with GRAYCHAIN_E2E_FULL=1 what the figures are made of.
func full(n, all int) int {
	if os.Getenv("GRAYCHAIN_E2E_FULL") == "1" {
		return all
	}
	return n
}

// seeded is a source of randomness whose seed is in the test's log.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestHandoffQueues hands a topic of one queue over, and one of 16, under load.
func TestHandoffQueues(t *testing.T) {
	for _, queues := range []int{1, 16} {
		t.Run(fmt.Sprint(queues), func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeAuto, "gray"))
			w.createTopic(queues)
			book := newLedger()
			w.consumer("", book.sink("standin-1", work))
			w.consumer("", book.sink("standin-2", work))
			l := w.load(w.producer(""), "gray", 1000)
			for i := range rounds() {
				who := fmt.Sprintf("lane-%d", i)
				lane := w.consumer("gray", book.sink(who, work))
				eventually(t, "the lane handles messages", func() bool { return book.by(who) > 50 })
				stop(t, lane)
				l.more(t, 50)
			}
			ids := l.stop(t)
			eventually(t, "all are handled", func() bool { return book.all(ids) })
			book.once(t, "planned handoffs", ids)
		})
	}
}

// TestHandoffTwoLanes: two lanes on one topic come and go at the same time, untagged messages beside: each message is
// handled once, and none by the other lane.
func TestHandoffTwoLanes(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray", "blue"))
	w.createTopic(4)
	book := newLedger()
	w.consumer("", book.sink("standin-1", work))
	w.consumer("", book.sink("standin-2", work))
	loads := make(map[graylib.Tag]*load)
	for _, tag := range []graylib.Tag{"", "gray", "blue"} {
		loads[tag] = w.load(w.producer(""), tag, 250)
	}
	var wg sync.WaitGroup
	for _, tag := range []graylib.Tag{"gray", "blue"} {
		var list []*Consumer
		for range rounds() {
			list = append(list, w.open(tag, book.sink(string(tag), work), nil, nil))
		}
		wg.Go(func() {
			for _, c := range list {
				if err := c.Start(); err != nil {
					t.Error(err)
					return
				}
				n := book.by(string(tag))
				if !reached(within, func() bool { return book.by(string(tag)) > n+50 }) {
					t.Errorf("lane %s handles nothing", tag)
				}
				if err := c.Shutdown(); err != nil {
					t.Error(err)
				}
				n = loads[tag].sent()
				reached(within, func() bool { return loads[tag].sent() > n+30 })
			}
		})
	}
	wg.Wait()
	for tag, l := range loads {
		ids := l.stop(t)
		eventually(t, "all are handled", func() bool { return book.all(ids) })
		book.once(t, "lane "+tag.String(), ids)
		want := w.group
		if tag != "" {
			want = graylib.LaneGroup(w.group, tag)
		}
		for _, id := range ids {
			for _, h := range book.deliveries(id) {
				if h.group != want || h.tag != tag || h.who == "gray" && tag != "gray" || h.who == "blue" && tag != "blue" {
					t.Errorf("broke G4 closed loop: a message of %s: %v with the tag %q", tag, h, h.tag)
				}
			}
		}
	}
}

// TestHandoffTwoTopics: one group consumes two topics, of which all members want both.
func TestHandoffTwoTopics(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	topics := []string{w.topic, w.topic + "-second"}
	for _, topic := range topics {
		w.topic = topic
		w.createTopic(3)
	}
	w.topic = topics[0]
	book := newLedger()
	member := func(tag graylib.Tag, who string) *Consumer {
		s := book.sink(who, work)
		c := w.open(tag, s, nil, nil)
		if err := c.Subscribe(topics[1], consumer.MessageSelector{}, s.handle); err != nil {
			t.Fatal(err)
		}
		start(t, c)
		return c
	}
	member("", "standin-1")
	member("", "standin-2")
	p := w.producer("")
	var loads []*load
	for _, topic := range topics {
		loads = append(loads, w.loadTo(topic, p, "gray", 300))
	}
	for i := range rounds() {
		who := fmt.Sprintf("lane-%d", i)
		one := member("gray", who)
		two := member("gray", who+"-second")
		eventually(t, "both handle messages", func() bool { return book.by(who) > 30 && book.by(who+"-second") > 30 })
		stop(t, one)
		stop(t, two)
		loads[1].more(t, 30)
	}
	for _, l := range loads {
		ids := l.stop(t)
		eventually(t, "all are handled", func() bool { return book.all(ids) })
		book.once(t, "planned handoffs", ids)
	}
}

// TestCrashOfBoth kills a lane's process and a stand-in's at once.
func TestCrashOfBoth(t *testing.T) {
	const queues = 4
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(queues)
	y := newTally()
	survivor := w.consumer("", y.handler("survivor"))
	l := w.load(w.producer(""), "gray", 1000)
	var times []time.Duration
	for i := range rounds() {
		// The other stand-in first, so that it has queues of its own before the lane takes all.
		standIn, lane := fmt.Sprintf("standin-%d", i), fmt.Sprintf("lane-%d", i)
		killStandIn := w.child("", y, standIn)
		eventually(t, "the other stand-in handles messages", func() bool { return y.count(standIn) > 20 })
		killLane := w.child("gray", y, lane)
		eventually(t, "the lane handles messages", func() bool { return y.count(lane) > 100 })
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(killLane)
		wg.Go(killStandIn)
		wg.Wait()
		y.arm()
		eventually(t, "the survivor handles messages", func() bool { _, ok := y.took("survivor"); return ok })
		at, _ := y.took("survivor")
		times = append(times, at.Sub(began))
		w.laneOwns(survivor)
	}
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return y.has(ids) })
	lost, repeated := y.judge(ids)
	if most := rounds() * 2 * queues * ownership.DefaultSpan; lost != 0 || repeated > most {
		t.Errorf("broke G5 or G6: lost %d, repeated %d of %d; want 0 and at most %d", lost, repeated, len(ids), most)
	}
	t.Logf("lost %d, repeated %d in %d crashes of both", lost, repeated, rounds())
	figures(t, "kill -9 of the lane and a stand-in at once", times)
}

// TestHandoffOfRetriesAndDelayed: a lane goes, and comes, while messages of it are in retry and others are delayed: each
// succeeds once, where it fell due.
func TestHandoffOfRetriesAndDelayed(t *testing.T) {
	const fails = "fails-at" // the message's property: who fails on it
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(4)
	book, done := newLedger(), newLedger()
	sinkOf := func(who string) *sink {
		ok := done.sink(who, nil)
		return book.sink(who, func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
			if m.GetProperty(fails) == who {
				return consumer.ConsumeRetryLater
			}
			return ok.act(ctx, m)
		})
	}
	w.consumer("", sinkOf("standin"))
	p := w.producer("")
	ctx := graylib.WithTag(t.Context(), "gray")
	// round sends messages that who fails on, and delayed ones, and returns when who has failed on each.
	round := func(who string) (retried, delayed []string) {
		for range 12 {
			m := primitive.NewMessage(w.topic, []byte("x"))
			m.WithProperty(fails, who)
			r, err := p.SendSync(ctx, m)
			if err != nil {
				t.Fatal(err)
			}
			retried = append(retried, r.MsgID)
			if r, err = p.SendSync(ctx, primitive.NewMessage(w.topic, []byte("x")).WithDelayTimeLevel(6)); err != nil { // 2 s
				t.Fatal(err)
			}
			delayed = append(delayed, r.MsgID)
		}
		eventually(t, who+" fails on them", func() bool { return book.all(retried) })
		return retried, delayed
	}
	var all []string
	judge := func(who string, since time.Time, retried, delayed []string) { // what fell due before since may be the other's, still
		t.Helper()
		eventually(t, who+" handles what was in retry and what was delayed", func() bool { return done.all(retried) && done.all(delayed) })
		for _, id := range append(slices.Clone(retried), delayed...) {
			for _, h := range done.deliveries(id) {
				if h.who != who && h.at.After(since) || h.group != graylib.LaneGroup(w.group, "gray") {
					t.Errorf("broke G4 closed loop: %s: %v, want by %s in the lane's group", id, h, who)
				}
			}
		}
		all = append(append(all, retried...), delayed...)
	}
	for range rounds() {
		lane := w.consumer("gray", sinkOf("lane"))
		w.laneOwns(lane)
		retried, delayed := round("lane")
		stop(t, lane)
		judge("standin", time.Now(), retried, delayed)

		retried, delayed = round("standin")
		lane = w.consumer("gray", sinkOf("lane"))
		w.laneOwns(lane)
		judge("lane", time.Now(), retried, delayed)
		stop(t, lane)
	}
	done.once(t, "retried and delayed", all)
}

// TestMembersAtRandom lets members of both sorts come and go at random under load.
func TestMembersAtRandom(t *testing.T) {
	rng := seeded(t)
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(4)
	book := newLedger()
	// What was sent before the first member ever came is nobody's.
	live := map[graylib.Tag][]*Consumer{"": {w.consumer("", book.sink("first", work))}}
	l := w.load(w.producer(""), "gray", 300)
	events := full(12, 150)
	for i := range events {
		tag := graylib.Tag("")
		if rng.IntN(2) == 0 {
			tag = "gray"
		}
		list := live[tag]
		if n := len(list); n > 0 && (n == 3 || rng.IntN(2) == 0) {
			at := rng.IntN(n)
			c := list[at]
			live[tag] = slices.Delete(list, at, at+1)
			if tag == "" {
				w.shutdown(c)
			} else {
				stop(t, c)
			}
		} else {
			live[tag] = append(list, w.consumer(tag, book.sink(fmt.Sprintf("%s-%d", tag, i), work)))
		}
		l.more(t, rng.IntN(60))
	}
	if len(live[""])+len(live["gray"]) == 0 {
		w.consumer("", book.sink("last", work))
	}
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return book.all(ids) })
	book.once(t, fmt.Sprintf("%d members coming and going", events), ids)
}
