package grayrocketmq

import (
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// lanesListed is a document in mode auto that lists lanes at these times.
func lanesListed(lanes ...graylib.Lane) *graylibtest.Rules {
	r := listed(graylib.ModeAuto)
	for _, l := range lanes {
		l.State, l.Propagate = graylib.LaneActive, true
		r.List = append(r.List, l)
	}
	return r
}

// apart waits until what is sent from now on is stored at a later time than what was sent before.
func apart(t *testing.T) {
	t.Helper()
	now := time.Now()
	eventually(t, "the clock has gone on", func() bool { return time.Since(now) > 20*time.Millisecond })
}

// TestListedWhileMessagesWait lists a tag whose messages wait already: those from its boundary on are the lane's, handled by
// stand-ins, earlier ones are the baseline's; the baseline runs, or is away for the whole time. In full it is away for
// minutes; else the listing is put later by as much.
func TestListedWhileMessagesWait(t *testing.T) {
	for _, lagging := range []bool{false, true} {
		name := map[bool]string{false: "baseline runs", true: "baseline lags"}[lagging]
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeAuto))
			w.createTopic(2)
			w.source.readAt(time.Now())
			book := newLedger()
			base := w.consumer("", book.sink("baseline", nil))
			p := w.producer("")
			plain := w.send(p, "", 4)
			eventually(t, "the baseline runs", func() bool { return book.all(plain) })
			if lagging {
				w.shutdown(base)
			}
			early := w.send(p, "blue", 6)
			apart(t)
			listedAt := time.Now().Add(boundaryMargin)
			if lagging && full(0, 1) == 1 {
				const away = 2 * time.Minute
				t.Logf("the baseline is away for %v", away)
				began := time.Now()
				for time.Since(began) < away { // the lag itself
					time.Sleep(time.Second)
				}
				listedAt = time.Now()
			}
			apart(t)
			inLane := w.send(p, "blue", 6)
			plain = w.send(p, "", 4)
			if !lagging {
				eventually(t, "the rest goes on", func() bool { return book.all(plain) })
				for _, id := range append(early, inLane...) {
					if n := book.total(id); n != 0 {
						t.Errorf("a message of a tag that isn't listed was handled %d times before the rules were read late enough", n)
					}
				}
			}
			w.source.put(lanesListed(graylib.Lane{Tag: "blue", Listed: listedAt}))
			if lagging {
				w.consumer("", book.sink("baseline", nil))
			}
			after := w.send(p, "blue", 6)
			ids := append(append(append(early, inLane...), after...), plain...)
			eventually(t, "all are handled", func() bool { return book.all(ids) })
			settle(t, w, book)
			book.once(t, name, ids)
			for i, list := range [][]string{early, inLane, after} {
				want := []string{graylib.TaggedGroup(w.group), graylib.LaneGroup(w.group, "blue"), graylib.LaneGroup(w.group, "blue")}[i]
				for _, id := range list {
					for _, h := range book.deliveries(id) {
						if h.group != want {
							t.Errorf("part %d: %v, want it in %s", i, h, want)
						}
					}
				}
			}
		})
	}
}

// settle sends one more untagged and one more tagged message per queue and waits until they are handled: what came before
// them in the baseline's groups was looked at by then.
func settle(t *testing.T, w *world, book *ledger) {
	t.Helper()
	raw, err := rocketmq.NewProducer(producer.WithNameServer([]string{w.namesrv}), producer.WithGroupName("P-raw"), producer.WithInstanceName(newUUID()),
		producer.WithQueueSelector(producer.NewManualQueueSelector()))
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Shutdown() }()
	route, err := w.api.Route(t.Context(), w.topic)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, q := range route.Queues {
		for _, tag := range []string{"", "NO TAG"} { // a malformed one is the baseline's at once
			m := primitive.NewMessage(w.topic, []byte("settle"))
			if tag != "" {
				m.WithProperty(graylib.MessageKeys.Tag, tag)
			}
			m.Queue = &primitive.MessageQueue{Topic: w.topic, BrokerName: q.Broker, QueueId: q.ID}
			r, err := raw.SendSync(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, r.MsgID)
		}
	}
	eventually(t, "the baseline has looked at all queues", func() bool { return book.all(ids) })
	book.once(t, "a malformed tag and none", ids)
}
