package grayrocketmq

import (
	"errors"
	"slices"
	"strings"
	"testing"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// subscribed is a started consumer of service a with these topics and tag lists.
func (w *world) subscribed(tag graylib.Tag, s *sink, tagLists map[string]string) *Consumer {
	w.t.Helper()
	c := w.open(tag, s, nil, nil)
	c.subs = nil // those of open
	for topic, list := range tagLists {
		if err := c.Subscribe(topic, consumer.MessageSelector{Expression: list}, s.handle); err != nil {
			w.t.Fatal(err)
		}
	}
	start(w.t, c)
	return c
}

// sendTo sends n messages with a tag of the application's own.
func (w *world) sendTo(p rocketmq.Producer, topic, topicTag string, tag graylib.Tag, n int) []string {
	w.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		r, err := p.SendSync(graylib.WithTag(w.t.Context(), tag), primitive.NewMessage(topic, []byte("x")).WithTag(topicTag))
		if err != nil {
			w.t.Fatal(err)
		}
		ids[i] = r.MsgID
	}
	return ids
}

// TestTopicsDiffer: a lane subscribes to a further topic than its stand-ins, and to another tag list, and a stand-in to a
// topic that the lane doesn't know. Whoever wants a topic has its messages: the lane first, and stand-ins where the lane is gone
// or doesn't want it; those of a topic that nobody there wants wait.
func TestTopicsDiffer(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	further, own := w.topic+"-further", w.topic+"-own"
	base, gray, later := newSink(), newSink(), newSink()
	laneTopics := map[string]string{w.topic: "sell || buy", further: "*"}
	w.subscribed("", base, map[string]string{w.topic: "buy", own: "*"})
	lane := w.subscribed("gray", gray, laneTopics)
	w.laneOwns(lane, w.topic, further)
	p := w.producer("")

	// The lane is there.
	common, sell := w.sendTo(p, w.topic, "buy", "gray", 8), w.sendTo(p, w.topic, "sell", "gray", 8)
	more, others := w.sendTo(p, further, "x", "gray", 8), w.sendTo(p, own, "x", "gray", 8)
	eventually(t, "the lane and the baseline handle what each wants", func() bool {
		return gray.all(slices.Concat(common, sell, more)) && base.all(others)
	})
	gray.exactly(t, "lane", slices.Concat(common, sell, more), 1)
	gray.exactly(t, "lane, a topic that it doesn't want", others, 0)
	base.exactly(t, "stand-in, a topic that the lane doesn't want", others, 1)

	// It is gone.
	stop(t, lane)
	common2, sell2 := w.sendTo(p, w.topic, "buy", "gray", 8), w.sendTo(p, w.topic, "sell", "gray", 8)
	more2, others2 := w.sendTo(p, further, "x", "gray", 8), w.sendTo(p, own, "x", "gray", 8)
	eventually(t, "the stand-in handles what it wants", func() bool { return base.all(common2) && base.all(others2) })

	// It comes back: what waited is its.
	w.subscribed("gray", later, laneTopics)
	eventually(t, "the lane has what waited for it", func() bool { return later.all(more2) })
	later.exactly(t, "the lane's second instance, what waited", more2, 1)
	later.exactly(t, "the lane's second instance, what the stand-in handled", slices.Concat(common2, others2), 0)
	base.exactly(t, "stand-in", slices.Concat(common2, others2), 1)
	base.exactly(t, "stand-in, what it doesn't want", slices.Concat(common, sell, more, sell2, more2), 0)
}

// TestCopyOfATopicTheLaneDoesNotWant: in mode all a lane that lives, and doesn't want a topic, leaves its messages to the stand-ins. There is
// no copy of those.
func TestCopyOfATopicTheLaneDoesNotWant(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAll, "gray"))
	own := w.topic + "-own"
	base, gray := newSink(), newSink()
	c := w.subscribed("", base, map[string]string{w.topic: "*", own: "*"})
	w.laneOwns(w.subscribed("gray", gray, map[string]string{w.topic: "*"}))
	w.knowsLane(c)
	p := w.producer("")
	common, others := w.sendTo(p, w.topic, "x", "gray", 8), w.sendTo(p, own, "x", "gray", 8)
	eventually(t, "all are handled", func() bool { return base.all(common) && gray.all(common) && base.all(others) })
	eventually(t, "the baseline is through with all", func() bool {
		lag := c.GetOffsetDiffMap()
		return lag[w.topic] == 0 && lag[own] == 0
	})
	base.exactly(t, "the baseline, copies", common, 1)
	gray.exactly(t, "the lane", common, 1)
	base.exactly(t, "what the lane doesn't want", others, 1)
	gray.exactly(t, "the lane, what it doesn't want", others, 0)
}

// TestUnknownVersion: beside a member of another version, a lane's instance or a stand-in, nobody takes a queue of the lane's
// group, and all goes on when it is gone; untagged messages are not concerned.
func TestUnknownVersion(t *testing.T) {
	for _, tc := range []struct{ name, here, id string }{
		{"of a lane, its stand-ins are of ours", "", "127.0.0.1@a#gray#own#v9#what-ever"},
		{"of a stand-in, the lane is of ours", "gray", "127.0.0.1@a#-#standin#v9#what-ever"},
	} {
		t.Run(tc.name, func(t *testing.T) { testUnknownVersion(t, graylib.Tag(tc.here), tc.id) })
	}
}

// testUnknownVersion has an instance with a tag and one of the baseline, and a member with the id of another version.
func testUnknownVersion(t *testing.T, here graylib.Tag, id string) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	route := w.createTopic(2)
	base, ours := newSink(), newSink()
	c := w.consumer("", base)
	if here == "" {
		ours = base
	} else {
		c = w.consumer(here, ours)
	}
	w.laneOwns(c)
	p := w.producer("")
	first := w.send(p, "gray", 5)
	eventually(t, "the queues are ours", func() bool { return ours.all(first) })

	group := graylib.LaneGroup(w.group, "gray")
	if _, err := ownership.ParseMember(id); err == nil {
		t.Fatalf("%s is understood", id)
	}
	var sessions []*remoting.Session
	for _, addr := range route.Brokers {
		s, err := w.api.Open(t.Context(), addr, id, func(remoting.Notice) {})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		if err := s.Heartbeat(t.Context(), group, []remoting.Subscription{{Topic: w.topic, Expression: "*", Type: "TAG"}}, 1); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	eventually(t, "the queues are given up", w.idle)
	waiting, plain := w.send(p, "gray", 5), w.send(p, "", 5)
	eventually(t, "untagged messages are handled", func() bool { return base.all(plain) })
	for _, s := range []*sink{base, ours} {
		s.exactly(t, "beside an unknown version", waiting, 0)
	}
	for _, s := range sessions {
		_ = s.Close()
	}
	eventually(t, "all goes on", func() bool { return ours.all(waiting) })
	for _, id := range slices.Concat(first, waiting, plain) {
		n := base.times(id)
		if ours != base {
			n += ours.times(id)
		}
		if n != 1 {
			t.Errorf("%s was handled %d times, want once", id, n)
		}
	}
}

// TestSQLSubscription: an application's SQL92 expression in each sort of group, evaluated by the broker or the client.
func TestSQLSubscription(t *testing.T) {
	for _, filter := range []graylib.Filter{graylib.FilterServer, graylib.FilterClient} {
		t.Run(string(filter), func(t *testing.T) {
			r := listed(graylib.ModeAuto, "gray")
			r.Consume.Filter = filter
			w := newWorld(t, r)
			base, gray := newSink(), newSink()
			var lane *Consumer
			for tag, s := range map[graylib.Tag]*sink{"": base, "gray": gray} {
				c := w.open(tag, s, nil, nil)
				expr := "amount BETWEEN 5 AND 10 AND (city = 'it''s' OR city IS NULL) -- and no other"
				if tag == "gray" {
					expr = "amount > 7" // the lane's version may differ
				}
				wrong := consumer.MessageSelector{Type: consumer.SQL92, Expression: "amount BETWEEN 5"}
				if err := c.Subscribe(w.topic, wrong, s.handle); !errors.Is(err, ErrInvalidOption) || !strings.Contains(err.Error(), wrong.Expression) {
					t.Errorf("wrong SQL: %v, want ErrInvalidOption that quotes it", err)
				}
				if err := c.Subscribe(w.topic, consumer.MessageSelector{Type: consumer.SQL92, Expression: expr}, s.handle); err != nil {
					t.Fatal(err)
				}
				start(t, c)
				if tag == "gray" {
					lane = c
				}
			}
			w.laneOwns(lane)
			p := w.producer("")
			send := func(tag graylib.Tag, amount, city string) string {
				m := primitive.NewMessage(w.topic, []byte("x"))
				m.WithProperty("amount", amount)
				m.WithProperty("city", city) // the client drops an empty one
				r, err := p.SendSync(graylib.WithTag(t.Context(), tag), m)
				if err != nil {
					t.Fatal(err)
				}
				return r.MsgID
			}
			var inBase, inLane, no []string
			for range 4 {
				inBase = append(inBase, send("", "5", ""), send("", "10", "it's"), send("red", "6", "")) // red: a stray
				inLane = append(inLane, send("gray", "8", "Paris"), send("gray", "11", ""))
				no = append(no, send("", "4", ""), send("", "6", "Paris"), send("", "many", ""), send("", "", ""),
					send("red", "11", ""), send("gray", "7", ""), send("gray", "many", ""))
			}
			eventually(t, "the wanted ones are handled", func() bool { return base.all(inBase) && gray.all(inLane) })
			base.exactly(t, "baseline", inBase, 1)
			gray.exactly(t, "lane", inLane, 1)
			for _, s := range []*sink{base, gray} {
				s.exactly(t, "not wanted", no, 0)
			}
			base.exactly(t, "baseline, the lane's", inLane, 0)
		})
	}
}
