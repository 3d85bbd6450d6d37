package grayrocketmq

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	mu    sync.Mutex
	times map[string]map[string]int // id -> place -> times
	tags  map[string]graylib.Tag    // id -> the last handler's context's
	log   map[string][]string       // id -> each delivery, for failures
}

func newLedger() *ledger {
	return &ledger{times: make(map[string]map[string]int), tags: make(map[string]graylib.Tag), log: make(map[string][]string)}
}

// sink is the handler of an instance: what it handles is noted under who, and act says the result (nil = success).
func (l *ledger) sink(who string, act func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult) *sink {
	s := newSink()
	s.act = func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		group := "?"
		if c, ok := primitive.GetConsumerCtx(ctx); ok {
			group = c.ConsumerGroup
		}
		l.mu.Lock()
		if l.times[m.MsgId] == nil {
			l.times[m.MsgId] = make(map[string]int)
		}
		l.times[m.MsgId][who+" "+group]++
		l.tags[m.MsgId] = graylib.TagFrom(ctx)
		l.log[m.MsgId] = append(l.log[m.MsgId], fmt.Sprintf("%s %s by %s from %s@%d", time.Now().Format("05.000"), group, who, queueName(m.Queue), m.QueueOffset))
		l.mu.Unlock()
		if act == nil {
			return consumer.ConsumeSuccess
		}
		return act(ctx, m)
	}
	return s
}

// is tells whether a message was handled as often as wanted at each place, and nowhere else.
func (l *ledger) is(id string, want map[string]int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Equal(l.times[id], want)
}

// at returns where a message was handled, and the tag that its last handler's context bore.
func (l *ledger) at(id string) (map[string]int, graylib.Tag) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.times[id]), l.tags[id]
}

// total is how often a message was handled, wherever.
func (l *ledger) total(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, times := range l.times[id] {
		n += times
	}
	return n
}

// by is how many messages somebody whose name begins so handled, in whatever group.
func (l *ledger) by(prefix string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, places := range l.times {
		for place := range places {
			if strings.HasPrefix(place, prefix) {
				n++
				break
			}
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
				t.Logf("%s: repeated %s: %q", what, id, l.deliveries(id))
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

func (l *ledger) deliveries(id string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.log[id])
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
	if err != nil {
		w.t.Fatal(err)
	}
	var all []*primitive.MessageExt
	for _, q := range route.Queues {
		s, err := w.api.Open(w.t.Context(), route.Brokers[q.Broker], "127.0.0.1@"+newUUID(), func(string) {})
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
