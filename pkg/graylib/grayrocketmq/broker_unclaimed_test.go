package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

// refusing is a store that doesn't give a key to those that ask for it the first times.
type refusing struct {
	idempotency.Store
	state idempotency.State // what it answers then
	err   error

	mu    sync.Mutex
	times int
	asked map[string]int // by key
}

func (s *refusing) Claim(ctx context.Context, key, owner string, lease time.Duration) (idempotency.State, error) {
	s.mu.Lock()
	s.asked[key]++
	refuses := s.asked[key] <= s.times
	s.mu.Unlock()
	if refuses {
		return s.state, s.err
	}
	return s.Store.Claim(ctx, key, owner, lease)
}

// TestUnclaimedIsNoDelivery: a message that waits for the store, or for who else has it, uses up none of its deliveries.
func TestUnclaimedIsNoDelivery(t *testing.T) {
	for _, tc := range []struct {
		name    string
		state   idempotency.State
		err     error
		times   int
		ordered bool
		most    int32 // deliveries beyond the first
		inPlace bool
	}{
		{"the store fails", 0, errors.New("down"), 5, false, 1, true},
		{"the store fails, in order", 0, errors.New("down"), 5, true, 1, true},
		{"held, in order", idempotency.Held, nil, 5, true, 1, true},
		{"held", idempotency.Held, nil, 1, false, 0, false}, // sent back: it takes 10 s
	} {
		for _, tag := range []graylib.Tag{"", "gray"} {
			t.Run(fmt.Sprintf("%s, tag %s", tc.name, tag), func(t *testing.T) {
				w := newWorld(t, listed(graylib.ModeAuto, "gray"))
				w.createTopic(1)
				memory, err := idempotency.NewMemory(0)
				if err != nil {
					t.Fatal(err)
				}
				store := &refusing{Store: memory, state: tc.state, err: tc.err, times: tc.times, asked: make(map[string]int)}
				s := newSink()
				s.act = func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
					if tc.inPlace && m.ReconsumeTimes != 0 {
						t.Errorf("%s came with %d deliveries before", m.MsgId, m.ReconsumeTimes)
					}
					return consumer.ConsumeSuccess
				}
				start(t, w.open(tag, s, nil, []consumer.Option{
					consumer.WithConsumerOrder(tc.ordered), consumer.WithMaxReconsumeTimes(tc.most), consumer.WithConsumeMessageBatchMaxSize(2),
					consumer.WithSuspendCurrentQueueTimeMillis(10 * time.Millisecond),
				}, WithIdempotency(store, idempotency.WithFailClosed(), idempotency.WithWait(0))))
				ids := w.send(w.producer(""), tag, 4)
				eventually(t, "all are handled", func() bool { return s.all(ids) })
				s.exactly(t, "handler", ids, 1)
				for _, group := range []string{w.group, graylib.LaneGroup(w.group, "gray")} {
					if n := w.size("%DLQ%" + group); n != 0 {
						t.Errorf("%d dead letters of %s", n, group)
					}
				}
			})
		}
	}
}

// TestDuplicatesOfABatchThatFails: what was handled before is left out once, and isn't retried with the others.
func TestDuplicatesOfABatchThatFails(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		for _, tag := range []graylib.Tag{"", "gray"} {
			t.Run(fmt.Sprintf("ordered %v, tag %s", ordered, tag), func(t *testing.T) {
				w := newWorld(t, listed(graylib.ModeAuto, "gray"))
				w.createTopic(1)
				store, err := idempotency.NewMemory(0)
				if err != nil {
					t.Fatal(err)
				}
				ids := w.send(w.producer(""), tag, 8)
				for i, id := range ids {
					if i%2 == 0 {
						if err := store.Done(t.Context(), id+"@"+w.group, time.Hour); err != nil {
							t.Fatal(err)
						}
					}
				}
				var mu sync.Mutex
				failed := 0 // messages of the batch that did
				s := newSink()
				reporter := &graylibtest.Reporter{}
				c := w.open(tag, s, reporter, []consumer.Option{
					consumer.WithConsumerOrder(ordered), consumer.WithConsumeMessageBatchMaxSize(8), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
					consumer.WithSuspendCurrentQueueTimeMillis(10 * time.Millisecond),
				}, WithIdempotency(store))
				err = c.Subscribe(w.topic, consumer.MessageSelector{}, func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
					mu.Lock()
					defer mu.Unlock()
					if failed == 0 && len(msgs) > 1 {
						failed = len(msgs)
						return consumer.ConsumeRetryLater, nil
					}
					return s.handle(ctx, msgs...)
				})
				if err != nil {
					t.Fatal(err)
				}
				start(t, c)
				var again []string
				for i, id := range ids {
					if i%2 == 1 {
						again = append(again, id)
					}
				}
				handled, left := places(reporter, ids)
				eventually(t, "all are accounted for", func() bool {
					handled, left = places(reporter, ids)
					return len(handled) == len(again) && len(left) == len(ids)-len(again)
				})
				for _, id := range ids {
					want := [2]int{0, 1}
					if slices.Contains(again, id) {
						want = [2]int{1, 0}
					}
					if got := [2]int{len(handled[id]), len(left[id])}; got != want {
						t.Errorf("%s: handled and left out %v times, want %v", id, got, want)
					}
				}
				if failed < 2 {
					t.Errorf("the batch that failed had %d messages, want some", failed)
				}
				if n := w.size(retryTopic(w.group)) + w.size(retryTopic(graylib.LaneGroup(w.group, "gray"))); !ordered && n != int64(failed) {
					t.Errorf("%d messages were sent back, want the %d that failed", n, failed)
				}
			})
		}
	}
}

// meeting is a store whose marks are made when all of them are being made.
type meeting struct {
	idempotency.Store
	all sync.WaitGroup
}

func (s *meeting) Done(ctx context.Context, key string, keep time.Duration) error {
	s.all.Done()
	met := make(chan struct{})
	go func() {
		s.all.Wait()
		close(met)
	}()
	select {
	case <-met:
		return s.Store.Done(ctx, key, keep)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestClaimsEndAtOnce: the marks of a batch don't wait for each other.
func TestClaimsEndAtOnce(t *testing.T) {
	memory, err := idempotency.NewMemory(0)
	if err != nil {
		t.Fatal(err)
	}
	store := &meeting{Store: memory}
	g, err := idempotency.New(store, idempotency.WithTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var held claims
	for i := range 8 {
		c, err := g.Begin(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	store.all.Add(7) // the last one failed, and is let go
	held.end(7)
	if n := g.Stats().Unmarked; n != 0 {
		t.Errorf("%d were not marked", n)
	}
	for i := range 8 {
		done := i < 7
		c, err := g.Begin(t.Context(), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		if c.Duplicate() != done {
			t.Errorf("%d: a duplicate: %v, want %v", i, c.Duplicate(), done)
		}
		c.End(false)
	}
}

// TestCommitIsSuccess: in order a handler may return consumer.Commit, which is reported as the success that it is.
func TestCommitIsSuccess(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(1)
	s := newSink()
	s.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult { return consumer.Commit }
	reporter := &graylibtest.Reporter{}
	start(t, w.open("gray", s, reporter, []consumer.Option{consumer.WithConsumerOrder(true)}))
	ids := w.send(w.producer(""), "gray", 2)
	eventually(t, "they are reported as handled with success", func() bool {
		handled, _ := places(reporter, ids)
		return len(handled) == len(ids)
	})
	s.exactly(t, "handler", ids, 1)
}
