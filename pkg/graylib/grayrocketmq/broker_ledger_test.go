package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// ledger is what all instances together handled: by message id, over all groups. A place is "<who> <group>".
type ledger struct {
	mu   sync.Mutex
	seen map[string][]handed // by id
}

// handed is one delivery to a handler.
type handed struct {
	at    time.Time
	who   string
	group string
	tag   graylib.Tag // the context's
	from  string      // queue and offset
}

func (h handed) place() string { return h.who + " " + h.group }

func (h handed) String() string {
	return fmt.Sprintf("%s %s by %s from %s", h.at.Format("05.000"), h.group, h.who, h.from)
}

func newLedger() *ledger { return &ledger{seen: make(map[string][]handed)} }

// sink is the handler of an instance: what it handles is noted under who, and act says the result (nil = success).
func (l *ledger) sink(who string, act func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult) *sink {
	s := newSink()
	s.act = func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		h := handed{at: time.Now(), who: who, tag: graylib.TagFrom(ctx), from: fmt.Sprintf("%s@%d", queueName(m.Queue), m.QueueOffset)}
		if c, ok := primitive.GetConsumerCtx(ctx); ok {
			h.group = c.ConsumerGroup
		}
		l.mu.Lock()
		l.seen[m.MsgId] = append(l.seen[m.MsgId], h)
		l.mu.Unlock()
		if act == nil {
			return consumer.ConsumeSuccess
		}
		return act(ctx, m)
	}
	return s
}

// work is a handler's work: 3 ms.
func work(context.Context, *primitive.MessageExt) consumer.ConsumeResult {
	time.Sleep(3 * time.Millisecond) // the work
	return consumer.ConsumeSuccess
}

// deliveries returns a message's, in order.
func (l *ledger) deliveries(id string) []handed {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen[id])
}

// places returns where a message was handled, and how often.
func (l *ledger) places(id string) map[string]int {
	times := make(map[string]int)
	for _, h := range l.deliveries(id) {
		times[h.place()]++
	}
	return times
}

// is tells whether a message was handled as often as wanted at each place, and nowhere else.
func (l *ledger) is(id string, want map[string]int) bool { return maps.Equal(l.places(id), want) }

// total is how often a message was handled, wherever.
func (l *ledger) total(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen[id])
}

// by is how many messages somebody handled, in whatever group.
func (l *ledger) by(who string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, list := range l.seen {
		if slices.ContainsFunc(list, func(h handed) bool { return h.who == who }) {
			n++
		}
	}
	return n
}

// all tells whether each message was handled at least once.
func (l *ledger) all(ids []string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return l.total(id) == 0 })
}

// once fails the test where messages were not handled exactly once over all groups.
func (l *ledger) once(t *testing.T, what string, ids []string) {
	t.Helper()
	lost, repeated := 0, 0
	for _, id := range ids {
		switch n := l.total(id); {
		case n == 0:
			lost++
		case n > 1:
			repeated += n - 1
			if repeated <= 5 {
				t.Logf("%s: repeated %s: %v", what, id, l.deliveries(id))
			}
		}
	}
	if lost != 0 {
		t.Errorf("broke G5 nothing lost: %s: %d of %d were handled by nobody", what, lost, len(ids))
	}
	if repeated != 0 {
		t.Errorf("broke G6 nothing twice: %s: %d repeated of %d", what, repeated, len(ids))
	}
}

// reached polls until cond holds, and tells whether it did within d; [eventually] is for what must.
func reached(d time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false
		}
	}
	return true
}

// stored reads all messages of a topic, whoever's they are.
func (w *world) stored(topic string) []*primitive.MessageExt {
	w.t.Helper()
	route, err := w.api.Route(w.t.Context(), topic)
	if errors.Is(err, remoting.ErrNoTopic) {
		return nil // as dead letters' is, for a moment after the first one
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var all []*primitive.MessageExt
	for _, q := range route.Queues {
		s, err := w.api.Open(w.t.Context(), route.Brokers[q.Broker], "127.0.0.1@"+newUUID(), func(remoting.Notice) {})
		if err != nil {
			w.t.Fatal(err)
		}
		from, err := s.MinOffset(w.t.Context(), s.Addr(), q)
		if err != nil {
			w.t.Fatal(err)
		}
		for {
			r, err := s.Pull(w.t.Context(), remoting.Pull{
				Group: w.group + "-reader", Queue: q, Offset: from, Max: 32, Filter: remoting.Subscription{Topic: topic, Expression: "*", Type: "TAG"},
			})
			if err != nil {
				w.t.Fatal(err)
			}
			all = append(all, r.Messages...)
			if len(r.Messages) == 0 {
				break
			}
			from = r.Next
		}
		_ = s.Close()
	}
	return all
}
