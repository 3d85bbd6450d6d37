package grayrocketmq

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

// batches notes what a handler got at once.
type batches struct {
	mu   sync.Mutex
	all  [][]string // ids
	fail string     // a body: the first batch with such a message fails
	t    *testing.T
	*sink
}

func newBatches(t *testing.T, fail string) *batches {
	return &batches{t: t, sink: newSink(), fail: fail}
}

func (b *batches) handle(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	var ids []string
	result := consumer.ConsumeSuccess
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range msgs {
		ids = append(ids, m.MsgId)
		if tag := m.GetProperty("gray_tag"); tag != string(graylib.TagFrom(ctx)) {
			b.t.Errorf("a message with tag %q was given to a handler whose context has %q, in one batch with %d others", tag, graylib.TagFrom(ctx), len(msgs)-1)
		}
		if b.fail != "" && string(m.Body) == b.fail {
			result, b.fail = consumer.ConsumeRetryLater, ""
		}
	}
	b.all = append(b.all, ids)
	_, _ = b.sink.handle(ctx, msgs...)
	return result, nil
}

// with returns the first batch that has the message, and the size of the largest of all.
func (b *batches) with(id string) (batch []string, largest int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ids := range b.all {
		if batch == nil && slices.Contains(ids, id) {
			batch = ids
		}
		largest = max(largest, len(ids))
	}
	return batch, largest
}

// TestBatches: handlers get several messages at once, of one tag alone; what failed comes again, the rest doesn't.
func TestBatches(t *testing.T) {
	for _, filter := range []graylib.Filter{graylib.FilterServer, graylib.FilterClient} {
		t.Run(string(filter), func(t *testing.T) {
			r := listed(graylib.ModeAuto, "gray")
			r.Consume.Filter = filter
			w := newWorld(t, r)
			w.createTopic(1)
			p := w.producer("")
			sent := map[graylib.Tag][]string{}
			bad := map[graylib.Tag]string{}
			for i := range 40 {
				for _, tag := range []graylib.Tag{"", "gray", "red", "blue"} { // the last two are strays
					body := fmt.Sprint("body ", i)
					if i == 20 {
						body = "bad"
					}
					m, err := p.SendSync(graylib.WithTag(t.Context(), tag), primitive.NewMessage(w.topic, []byte(body)))
					if err != nil {
						t.Fatal(err)
					}
					sent[tag] = append(sent[tag], m.MsgID)
					if i == 20 {
						bad[tag] = m.MsgID
					}
				}
			}
			base, gray := newBatches(t, "bad"), newBatches(t, "bad")
			opts := []consumer.Option{consumer.WithConsumeMessageBatchMaxSize(8), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}
			w.handled("gray", gray.handle, opts...)
			w.handled("", base.handle, opts...)
			failed := func(b *batches, tags ...graylib.Tag) (again []string) {
				for _, tag := range tags { // one of them failed
					if batch, _ := b.with(bad[tag]); b.times(bad[tag]) == 2 {
						again = batch
					}
				}
				return again
			}
			eventually(t, "all are handled, and what failed again", func() bool {
				inLane, inBase := failed(gray, "gray"), failed(base, "", "red", "blue")
				return base.each(1, slices.Concat(sent[""], sent["red"], sent["blue"])...) && gray.each(1, sent["gray"]...) &&
					len(inLane) > 0 && len(inBase) > 0 && gray.each(2, inLane...) && base.each(2, inBase...)
			})
			for _, b := range []*batches{base, gray} {
				tags := []graylib.Tag{"", "red", "blue"}
				if b == gray {
					tags = []graylib.Tag{"gray"}
				}
				again := failed(b, tags...)
				for _, tag := range tags {
					for _, id := range sent[tag] {
						want := 1
						if slices.Contains(again, id) {
							want = 2
						}
						if got := b.times(id); got != want {
							t.Errorf("message %s with tag %q was handled %d times, want %d", id, tag, got, want)
						}
					}
				}
				if _, largest := b.with(""); largest < 2 || largest > 8 {
					t.Errorf("the largest batch had %d messages, want 2 to 8", largest)
				}
			}
		})
	}
}

// each tells whether each of the ids was handled n times or more.
func (b *batches) each(n int, ids ...string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return b.times(id) < n })
}

// TestBatchesThroughHandoffs: a lane comes and goes under load, and gets its messages in batches: none is lost or repeated.
func TestBatchesThroughHandoffs(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(2)
	y := newTally()
	batch := consumer.WithConsumeMessageBatchMaxSize(16)
	handler := func(who string) Handler {
		return func(_ context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			for _, m := range msgs {
				y.note(who, m.MsgId, standsAt(m))
			}
			time.Sleep(20 * time.Millisecond) // the work: batches gather meanwhile
			return consumer.ConsumeSuccess, nil
		}
	}
	w.handled("", handler("standin"), batch)
	l := w.load(w.producer(""), "gray", 500)
	for i := range rounds() {
		who := fmt.Sprint("lane-", i)
		lane := w.handled("gray", handler(who), batch)
		eventually(t, "the lane handles some", func() bool { return y.count(who) > 100 })
		stop(t, lane)
		y.arm()
		eventually(t, "the stand-in goes on", func() bool { _, ok := y.took("standin"); return ok })
	}
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return y.has(ids) })
	if lost, repeated := y.judge(ids); lost != 0 || repeated != 0 {
		t.Errorf("lost %d, repeated %d of %d; want 0 and 0", lost, repeated, len(ids))
	}
}

// TestAckIndex: a handler may say beside success which message was the last that succeeded: the others come again, to an
// idempotent consumer too.
func TestAckIndex(t *testing.T) {
	t.Run("plain", func(t *testing.T) { ackIndex(t) })
	t.Run("idempotent", func(t *testing.T) {
		store, err := idempotency.NewMemory(1000)
		if err != nil {
			t.Fatal(err)
		}
		ackIndex(t, WithIdempotency(store))
	})
}

func ackIndex(t *testing.T, opts ...ConsumerOption) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(1)
	p := w.producer("")
	for _, tag := range []graylib.Tag{"", "gray"} {
		sent := w.send(p, tag, 8)
		var mu sync.Mutex
		var first []string // the first batch of several
		s := newSink()
		c := w.open(tag, s, nil, []consumer.Option{
			consumer.WithConsumeMessageBatchMaxSize(4), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		}, opts...)
		err := c.Subscribe(w.topic, consumer.MessageSelector{}, func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			mu.Lock()
			defer mu.Unlock()
			if first == nil && len(msgs) > 1 {
				concurrent, ok := primitive.GetConcurrentlyCtx(ctx)
				if !ok {
					t.Error("the handler's context has no ConsumeConcurrentlyContext")
					return consumer.ConsumeSuccess, nil
				}
				concurrent.AckIndex = 0
				for _, m := range msgs {
					first = append(first, m.MsgId)
				}
			}
			return s.handle(ctx, msgs...)
		})
		if err != nil {
			t.Fatal(err)
		}
		start(t, c)
		eventually(t, "all are handled, and those behind the index again", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return s.all(sent) && len(first) > 1 && !slices.ContainsFunc(first[1:], func(id string) bool { return s.times(id) < 2 })
		})
		for _, id := range sent {
			want := 1
			if slices.Contains(first[1:], id) {
				want = 2
			}
			if got := s.times(id); got != want {
				t.Errorf("tag %q: message %s was handled %d times, want %d", tag, id, got, want)
			}
		}
		w.shutdown(c)
	}
}
