package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/redis/go-redis/v9"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayredis"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

// remembering is a store in memory as an option. Consumers that share it stand for processes that share a Redis.
func remembering(t *testing.T) ConsumerOption {
	t.Helper()
	store, err := idempotency.NewMemory(0)
	if err != nil {
		t.Fatal(err)
	}
	return WithIdempotency(store)
}

// twice has messages stored twice under one id, in whatever queues: what a client does that sends again because an answer was lost.
func (w *world) twice(tag graylib.Tag, n int) []string {
	w.t.Helper()
	p, err := rocketmq.NewProducer(producer.WithNameServer([]string{w.namesrv}), producer.WithGroupName("P-raw"), producer.WithInstanceName(newUUID()))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = p.Shutdown() }()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = primitive.CreateUniqID()
		for range 2 {
			m := primitive.NewMessage(w.topic, []byte(fmt.Sprint(i)))
			m.WithProperty(primitive.PropertyUniqueClientMessageIdKeyIndex, ids[i])
			m.WithProperty(graylib.MessageKeys.Tag, string(tag))
			if r, err := p.SendSync(w.t.Context(), m); err != nil || r.MsgID != ids[i] {
				w.t.Fatal(r, err)
			}
		}
	}
	return ids
}

// places returns where each of the messages was handled and where it was left out as a duplicate, and by which groups.
func places(r *graylibtest.Reporter, ids []string) (handled, left map[string][]string) {
	handled, left = make(map[string][]string), make(map[string][]string)
	for _, e := range r.Events() {
		place := fmt.Sprintf("%s %s:%d", e.Group, e.Queue, e.Offset)
		switch {
		case e.Kind != graylib.EventFinished || !slices.Contains(ids, e.ID):
		case e.Result == graylib.ResultSkipped && e.Reason == reasonDuplicate:
			left[e.ID] = append(left[e.ID], place)
		case e.Result == graylib.ResultSuccess:
			handled[e.ID] = append(handled[e.ID], place)
		}
	}
	return handled, left
}

// TestStoredTwice: a message that stands in two places under one id is handled once, and left out once, each place being
// reported; in mode all that is so for the lane and for the baseline's copies. Without the hook both are handled.
func TestStoredTwice(t *testing.T) {
	for _, tc := range []struct {
		name   string
		mode   graylib.Mode
		tag    graylib.Tag
		client []consumer.Option
		hook   bool
		base   int // times that the baseline handles each
		gray   int
	}{
		{"untagged", graylib.ModeAuto, "", nil, true, 1, 0},
		{"lane", graylib.ModeAuto, "gray", nil, true, 0, 1},
		{"copies", graylib.ModeAll, "gray", nil, true, 1, 1},
		{"in batches", graylib.ModeAuto, "gray", []consumer.Option{consumer.WithConsumeMessageBatchMaxSize(8)}, true, 0, 1},
		{"in order", graylib.ModeAuto, "gray", []consumer.Option{consumer.WithConsumerOrder(true)}, true, 0, 1},
		{"without the hook", graylib.ModeAuto, "gray", nil, false, 0, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, listed(tc.mode, "gray"))
			w.createTopic(2)
			base, gray := newSink(), newSink()
			reporter := &graylibtest.Reporter{}
			var opts []ConsumerOption
			if tc.hook {
				opts = append(opts, remembering(t))
			}
			cb, cg := w.open("", base, reporter, tc.client, opts...), w.open("gray", gray, reporter, tc.client, opts...)
			start(t, cb)
			start(t, cg)
			w.laneOwns(cg)
			w.knowsLane(cb)
			ids := w.twice(tc.tag, 12)
			var handled, left map[string][]string
			eventually(t, "each place is accounted for", func() bool {
				handled, left = places(reporter, ids)
				for _, id := range ids {
					if want := 2 * max(tc.base+tc.gray, 1); tc.hook && len(handled[id])+len(left[id]) < want {
						return false
					}
				}
				return base.all(ids) == (tc.base > 0) && gray.all(ids) == (tc.gray > 0) && (tc.hook || !slices.ContainsFunc(ids, func(id string) bool { return gray.times(id) < 2 }))
			})
			base.exactly(t, "baseline", ids, tc.base)
			gray.exactly(t, "lane", ids, tc.gray)
			for _, id := range ids {
				all := slices.Concat(handled[id], left[id])
				slices.Sort(all)
				if n := len(all); n != len(slices.Compact(all)) {
					t.Errorf("%s: handled at %v, left out at %v: a place stands twice", id, handled[id], left[id])
				}
			}
			if got, want := cb.IdempotencyStats().Duplicates+cg.IdempotencyStats().Duplicates, int64(12*(tc.base+tc.gray)); tc.hook && got != want {
				t.Errorf("%d duplicates by the stats, want %d", got, want)
			}
			n := int64(0)
			for _, c := range slices.Concat(cb.Counts(), cg.Counts()) {
				if c.Reason == reasonDuplicate && !c.Handled {
					n += c.N
				}
			}
			if want := int64(12 * (tc.base + tc.gray)); tc.hook && n != want {
				t.Errorf("%d duplicates by the counts, want %d", n, want)
			}
		})
	}
}

// TestFailedHandlersAreLetInAgain: what failed or panicked is retried in spite of the hook, in the lane and in <group>.
func TestFailedHandlersAreLetInAgain(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	s := newSink()
	s.act = func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		switch s.times(m.MsgId) {
		case 1:
			panic("the first time")
		case 2:
			return consumer.ConsumeRetryLater
		}
		return consumer.ConsumeSuccess
	}
	reporter := &graylibtest.Reporter{}
	start(t, w.open("", s, reporter, nil, remembering(t)))
	p := w.producer("")
	ids := append(w.send(p, "gray", 3), w.send(p, "", 3)...)
	eventually(t, "all are handled", func() bool {
		handled, _ := places(reporter, ids)
		return len(handled) == len(ids)
	})
	s.exactly(t, "handler", ids, 3)
}

// TestStoreFailsClosed: with WithFailClosed messages wait for the store, and come when it is there.
func TestStoreFailsClosed(t *testing.T) {
	server := testenv.Redis(t)
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	base := newSink()
	c := w.consumer("", base, WithIdempotency(openRedis(t, server.Addr()), idempotency.WithFailClosed(), idempotency.WithTimeout(100*time.Millisecond)))
	p := w.producer("")
	first := w.send(p, "gray", 2)
	eventually(t, "messages are handled", func() bool { return base.all(first) })
	server.Stop()
	ids := append(w.send(p, "gray", 3), w.send(p, "", 3)...)
	eventually(t, "they can't be claimed", func() bool {
		n := int64(0)
		for _, count := range c.Counts() {
			if count.Reason == reasonStore && !count.Handled {
				n += count.N
			}
		}
		return n >= int64(len(ids))
	})
	base.exactly(t, "without the store", ids, 0)
	server.Start()
	eventually(t, "they are handled", func() bool { return base.all(ids) })
	base.exactly(t, "with the store again", ids, 1)
}

func openRedis(t *testing.T, addr string) *grayredis.Store {
	t.Helper()
	s, err := grayredis.Open(&redis.UniversalOptions{Addrs: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// killedRedis tells the process that is killed where the store is.
const killedRedis = "GRAYCHAIN_TEST_KILLED_REDIS"

// telling is a store that tells of each mark once it is made.
type telling struct {
	idempotency.Store
	marked func(id string)
}

func (s telling) Done(ctx context.Context, key string, keep time.Duration) error {
	err := s.Store.Done(ctx, key, keep)
	if err == nil {
		id, _, _ := strings.Cut(key, "@")
		s.marked(id)
	}
	return err
}

// TestCrashWithIdempotency kills a lane's process and a stand-in's under load, as TestCrash does, with the hook in a Redis that
// all share: nothing is lost, and no message comes again whose handler had finished and was marked. The others, at most the
// handlers that ran at the kill, come again when their lease is over.
func TestCrashWithIdempotency(t *testing.T) {
	const queues = 4
	server := testenv.Redis(t)
	for _, tag := range []graylib.Tag{"gray", ""} {
		t.Run("killed "+tag.String(), func(t *testing.T) {
			t.Setenv(killedRedis, server.Addr())
			w := newWorld(t, listed(graylib.ModeAuto, "gray"))
			w.createTopic(queues)
			y := newTally()
			standin := w.consumer("", y.handler("standin"), WithIdempotency(telling{openRedis(t, server.Addr()), func(id string) { y.mark("standin", id) }}))
			l := w.load(w.producer(""), "gray", 300) // what waits for a lease after each kill must be caught up with
			for i := range rounds() {
				who := fmt.Sprintf("killed-%02d", i)
				kill := w.child(tag, y, who)
				eventually(t, "the process handles messages", func() bool { _, ok := y.took(who); return ok })
				eventually(t, "some more are handled", func() bool { return y.count(who) > 100 })
				kill()
				y.arm()
				w.laneOwns(standin)
			}
			ids := l.stop(t)
			eventually(t, "all are handled", func() bool { return y.has(ids) })
			lost, repeated := y.judge(ids)
			after, marks := y.afterMark()
			most := rounds() * queues * ownership.DefaultSpan // in flight at the kills
			if lost != 0 || after != 0 || marks < len(ids)-most {
				t.Errorf("lost %d of %d; %d were seen marked, and %d handled after that; want 0, nearly all, and 0", lost, len(ids), marks, after)
			}
			if repeated > most {
				t.Errorf("repeated %d, want at most %d", repeated, most)
			}
			t.Logf("%d crashes, %d messages: lost %d; delivered again and suppressed %d; handled again %d that were not marked, %d that were",
				rounds(), len(ids), lost, standin.IdempotencyStats().Duplicates, repeated-after, after)
		})
	}
}

// TestIdempotencyOptions: what can't be is refused when the consumer is made.
func TestIdempotencyOptions(t *testing.T) {
	store, err := idempotency.NewMemory(0)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, namesrv: "127.0.0.1:9876", source: newRuleSource(listed(graylib.ModeAuto))}
	rt := WithConsumerRuntime(w.runtime("a", "", nil))
	for _, tc := range []struct {
		name   string
		client consumer.Option
		hook   ConsumerOption
		is     error
		says   string
	}{
		{"no store", nil, WithIdempotency(nil), ErrInvalidOption, "the store is nil"},
		{"no lease", nil, WithIdempotency(store, idempotency.WithLease(0)), ErrInvalidOption, "lease 0s: want 100ms or more"},
		{"broadcasting", consumer.WithConsumerModel(consumer.BroadCasting), WithIdempotency(store), ErrNotSupported, "consumer.BroadCasting"},
	} {
		client := []consumer.Option{consumer.WithGroupName("g")}
		if tc.client != nil {
			client = append(client, tc.client)
		}
		if _, err := OpenConsumer(client, rt, tc.hook); !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// TestBatchesWithIdempotency: of a batch only what the handler acknowledged is marked; duplicates among its messages, one beside
// its twin included, don't move the place that AckIndex means; the others come again.
func TestBatchesWithIdempotency(t *testing.T) {
	for _, tag := range []graylib.Tag{"", "gray"} {
		t.Run("tag "+tag.String(), func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeAuto, "gray"))
			w.createTopic(1) // each message stands beside its twin
			ids := w.twice(tag, 24)
			var mu sync.Mutex
			done := make(map[string]int)
			largest, cut := 0, 0
			handler := func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
				mu.Lock()
				defer mu.Unlock()
				largest = max(largest, len(msgs))
				seen := make(map[string]bool)
				for _, m := range msgs {
					if seen[m.MsgId] {
						t.Errorf("%s twice in one batch", m.MsgId)
					}
					seen[m.MsgId] = true
				}
				if c, ok := primitive.GetConcurrentlyCtx(ctx); ok && len(msgs) > 1 {
					cut++
					c.AckIndex = int32(len(msgs)/2 - 1)
					msgs = msgs[:len(msgs)/2]
				}
				for _, m := range msgs {
					done[m.MsgId]++
				}
				return consumer.ConsumeSuccess, nil
			}
			c, err := OpenConsumer([]consumer.Option{consumer.WithGroupName(w.group), consumer.WithConsumeMessageBatchMaxSize(8),
				consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, WithConsumerRuntime(w.runtime("a", "", nil)), settled(t), remembering(t))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Subscribe(w.topic, consumer.MessageSelector{}, handler); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.shutdown(c) })
			start(t, c)
			eventually(t, "all are handled, and their twins left out", func() bool {
				n := int64(0)
				for _, count := range c.Counts() {
					if count.Reason == reasonDuplicate {
						n += count.N
					}
				}
				mu.Lock()
				defer mu.Unlock()
				return n >= int64(len(ids)) && !slices.ContainsFunc(ids, func(id string) bool { return done[id] == 0 })
			})
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				if done[id] != 1 {
					t.Errorf("%s was handled %d times", id, done[id])
				}
			}
			if largest < 2 || cut == 0 {
				t.Errorf("no batch of more than one came (%d), or none was cut (%d)", largest, cut)
			}
		})
	}
}
