package grayrocketmq

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"

	judging "github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

// stubborn is a baseline instance of two topics, the second of which the lane doesn't want, whose handler fails while may says so.
func (w *world) stubborn(s *sink, r graylib.Reporter, own string, most int32, may func(m *primitive.MessageExt) bool, opts ...ConsumerOption) *Consumer {
	w.t.Helper()
	s.act = func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		if m.Topic == own && may(m) {
			return consumer.ConsumeRetryLater
		}
		return consumer.ConsumeSuccess
	}
	c := w.open("", s, r, []consumer.Option{consumer.WithMaxReconsumeTimes(most)}, opts...)
	if err := c.Subscribe(own, consumer.MessageSelector{}, s.handle); err != nil {
		w.t.Fatal(err)
	}
	start(w.t, c)
	return c
}

// TestRetryOfATopicTheLaneDoesntWant (G5): the lane's instance owns the retries of the lane's group. What fails of a topic that
// stand-ins alone want is retried by them all the same, while the lane lives; its deliveries are counted, and its dead letter is there.
func TestRetryOfATopicTheLaneDoesntWant(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fails int32 // deliveries that do
		most  int32
		want  []int32 // the deliveries before each
		dead  int64
	}{
		{"it succeeds at last", 2, 5, []int32{0, 1, 2}, 0},
		{"it fails for good", 100, 2, []int32{0, 1, 2}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeAuto, "gray"))
			own, r := w.topic+"-own", &graylibtest.Reporter{}
			store, err := idempotency.NewMemory(0)
			if err != nil {
				t.Fatal(err)
			}
			base, gray, seen := newSink(), newSink(), make(chan int32, 100)
			w.stubborn(base, r, own, tc.most, func(m *primitive.MessageExt) bool {
				seen <- m.ReconsumeTimes
				return m.ReconsumeTimes < tc.fails
			}, WithIdempotency(store))
			lane := w.open("gray", gray, r, nil)
			start(t, lane)
			w.laneOwns(lane)
			p := w.producer("", WithProducerRuntime(w.runtime("c", "", r)))
			probe := w.send(p, "gray", 4)
			eventually(t, "the lane lives", func() bool { return gray.all(probe) })

			id := w.sendTo(p, own, "x", "gray", 1)[0]
			var got []int32
			eventually(t, "it is delivered as often as it must be", func() bool {
				select {
				case n := <-seen:
					got = append(got, n)
				default:
				}
				return len(got) == len(tc.want)
			})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("deliveries before each (-want +got):\n%s", diff)
			}
			if tag := base.tag(id); tag != "gray" {
				t.Errorf("the handler's context has the tag %q, want gray", tag)
			}
			eventually(t, "its dead letter is there, or it is handled", func() bool {
				return w.size("%DLQ%"+graylib.TaggedGroup(w.group)) == tc.dead && (tc.dead > 0 || finishedIn(r, id) == graylib.TaggedGroup(w.group))
			})
			if n := w.size("%DLQ%" + graylib.LaneGroup(w.group, "gray")); n != 0 {
				t.Errorf("%d dead letters of the lane's group, want none", n)
			}
			gray.exactly(t, "the lane", []string{id}, 0)

			l := judging.NewLedger()
			for _, e := range r.Events() {
				l.Add(e)
			}
			a := l.Judge(judging.LedgerOptions{Groups: []string{w.group}})
			for _, f := range a.Broken {
				if tc.dead == 0 || !strings.Contains(f.Text, id) {
					t.Errorf("the ledger says: %s: %s", f.Promise, f.Text)
				}
			}
		})
	}
}

// finishedIn returns the group in which a message was handled, or "".
func finishedIn(r *graylibtest.Reporter, id string) string {
	for _, e := range r.Events() {
		if e.ID == id && e.Kind == graylib.EventFinished && e.Result == graylib.ResultSuccess {
			return e.Group
		}
	}
	return ""
}

// TestRetriesThatTheLaneFinds: what stand-ins failed on before the lane came, of a topic that it doesn't want, goes back to those who do.
func TestRetriesThatTheLaneFinds(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	own, r := w.topic+"-own", &graylibtest.Reporter{}
	var failing atomic.Bool
	failing.Store(true)
	may := func(*primitive.MessageExt) bool { return failing.Load() }
	base, gray, again := newSink(), newSink(), newSink()
	first := w.stubborn(base, r, own, 16, may)
	p := w.producer("")
	ids := w.sendTo(p, own, "x", "gray", 4)
	eventually(t, "all have failed", func() bool { return base.all(ids) })
	stop(t, first)
	lane := w.consumer("gray", gray)
	w.laneOwns(lane)
	failing.Store(false)
	w.stubborn(again, r, own, 16, may)
	eventually(t, "they are handled", func() bool { return again.all(ids) })
	again.exactly(t, "the stand-in", ids, 1)
	gray.exactly(t, "the lane", ids, 0)
	for _, id := range ids {
		eventually(t, "it is finished", func() bool { return finishedIn(r, id) != "" })
		if got := finishedIn(r, id); got != graylib.TaggedGroup(w.group) {
			t.Errorf("%s was handled in %q, want %q", id, got, graylib.TaggedGroup(w.group))
		}
	}
}

// TestRetryBesideIgnore: where another topic of the group is in mode ignore stand-ins leave its retries alone; what they failed on
// themselves they retry in their own group.
func TestRetryBesideIgnore(t *testing.T) {
	rules := listed(graylib.ModeIgnore, "gray")
	w := newWorld(t, rules)
	own, r := w.topic+"-own", &graylibtest.Reporter{}
	rules.ByTopic = map[string]graylib.Consumption{own: listed(graylib.ModeAuto, "gray").Consume}
	base := newSink()
	w.stubborn(base, r, own, 16, func(m *primitive.MessageExt) bool { return m.ReconsumeTimes == 0 })
	p := w.producer("")
	waiting, ids := w.send(p, "gray", 4), w.sendTo(p, own, "x", "gray", 4)
	for _, id := range ids {
		eventually(t, "it is retried", func() bool { return finishedIn(r, id) == graylib.TaggedGroup(w.group) })
	}
	base.exactly(t, "the stand-in", ids, 2)
	base.exactly(t, "the stand-in, in mode ignore", waiting, 0)
}
