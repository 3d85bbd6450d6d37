package grayrocketmq

import (
	"context"
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

	"github.com/graychain/graychain/pkg/graylib"
)

// sequence sends numbered messages of a tag to the queues of a topic in turn, until stopped.
type sequence struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ids    []string
}

func (w *world) sequence(tag graylib.Tag, queues int) *sequence {
	w.t.Helper()
	p, err := OpenProducer([]producer.Option{producer.WithGroupName("P-" + w.group), producer.WithQueueSelector(producer.NewManualQueueSelector())},
		WithProducerRuntime(w.runtime("c", "", nil)))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = p.Shutdown() })
	ctx, cancel := context.WithCancel(graylib.WithTag(context.Background(), tag))
	s := &sequence{cancel: cancel}
	route, err := w.api.Route(ctx, w.topic)
	if err != nil {
		w.t.Fatal(err)
	}
	s.wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			m := primitive.NewMessage(w.topic, fmt.Append(nil, i))
			q := route.Queues[i%queues]
			m.Queue = &primitive.MessageQueue{Topic: w.topic, BrokerName: q.Broker, QueueId: q.ID}
			r, err := p.SendSync(context.WithoutCancel(ctx), m)
			if err != nil {
				w.t.Error(err)
				return
			}
			s.ids = append(s.ids, r.MsgID)
		}
	})
	return s
}

func (s *sequence) stop() []string {
	s.cancel()
	s.wg.Wait()
	return s.ids
}

// order judges ordered handling: of each queue and tag, over all instances.
type order struct {
	t     *testing.T
	mu    sync.Mutex
	busy  map[string]string // queue -> the tag being handled there, by whom
	last  map[string]int64  // queue and tag -> the highest offset that was handled
	done  map[string]int    // id -> times with success
	tries map[string]int    // id -> times
	by    map[string]int    // who -> messages
	fails func(tries int, m *primitive.MessageExt) consumer.ConsumeResult
}

func newOrder(t *testing.T) *order {
	return &order{t: t, busy: map[string]string{}, last: map[string]int64{}, done: map[string]int{}, tries: map[string]int{}, by: map[string]int{}}
}

func (o *order) handler(who string) Handler {
	return func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		key := fmt.Sprint(msgs[0].Queue.QueueId, " ", graylib.TagFrom(ctx))
		o.mu.Lock()
		if other, ok := o.busy[key]; ok {
			o.t.Errorf("%s and %s handle queue and tag %s at the same time", who, other, key)
		}
		o.busy[key] = who
		result := consumer.ConsumeSuccess
		for _, m := range msgs {
			o.tries[m.MsgId]++
			if o.fails != nil {
				if r := o.fails(o.tries[m.MsgId], m); r != consumer.ConsumeSuccess {
					result = r
				}
			}
		}
		o.mu.Unlock()
		time.Sleep(time.Millisecond) // the work
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.busy, key)
		if result < 0 {
			panic("as told")
		}
		if result != consumer.ConsumeSuccess {
			return result, nil
		}
		for _, m := range msgs {
			if last, ok := o.last[key]; ok && m.QueueOffset <= last {
				o.t.Errorf("%s handled offset %d of queue and tag %s after %d", who, m.QueueOffset, key, last)
			}
			o.last[key] = m.QueueOffset
			o.done[m.MsgId]++
			o.by[who]++
		}
		return consumer.ConsumeSuccess, nil
	}
}

// panics is a result that stands for a panic.
const panics = consumer.ConsumeResult(-1)

func (o *order) count(who string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.by[who]
}

func (o *order) has(ids []string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !slices.ContainsFunc(ids, func(id string) bool { return o.done[id] == 0 })
}

func (o *order) exactlyOnce(what string, ids []string) {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	lost, repeated := 0, 0
	for _, id := range ids {
		switch n := o.done[id]; {
		case n == 0:
			lost++
		case n > 1:
			repeated++
		}
	}
	if lost != 0 || repeated != 0 {
		o.t.Errorf("%s: lost %d, repeated %d of %d; want 0 and 0", what, lost, repeated, len(ids))
	}
	o.t.Logf("%s: %d messages", what, len(ids))
}

// TestOrdered: ordered consumers keep the order of each queue within one tag while a lane and a further baseline instance
// come and go, and while handlers fail and panic: what failed is tried again in place.
func TestOrdered(t *testing.T) {
	const queues = 2
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(queues)
	opts := []consumer.Option{
		consumer.WithConsumerOrder(true), consumer.WithConsumeMessageBatchMaxSize(3), consumer.WithSuspendCurrentQueueTimeMillis(10 * time.Millisecond),
	}
	o := newOrder(t)
	o.fails = func(tries int, m *primitive.MessageExt) consumer.ConsumeResult {
		if tries > 2 {
			return consumer.ConsumeSuccess
		}
		switch m.QueueOffset % 50 {
		case 10:
			return consumer.SuspendCurrentQueueAMoment
		case 20:
			return panics
		case 30:
			return consumer.ConsumeRetryLater
		case 40:
			return consumer.Rollback
		}
		return consumer.ConsumeSuccess
	}
	w.handled("", o.handler("base-0"), opts...)
	plain, gray := w.sequence("", queues), w.sequence("gray", queues)
	for i := range rounds() {
		lane, base := fmt.Sprint("lane-", i), fmt.Sprint("base-", i+1)
		c := w.handled("gray", o.handler(lane), opts...)
		eventually(t, "the lane handles some", func() bool { return o.count(lane) > 50 })
		d := w.handled("", o.handler(base), opts...)
		eventually(t, "the other baseline instance handles some", func() bool { return o.count(base) > 30 })
		stop(t, c)
		n := o.count("base-0")
		eventually(t, "the baseline goes on", func() bool { return o.count("base-0") > n+20 })
		stop(t, d)
	}
	untagged, tagged := plain.stop(), gray.stop()
	eventually(t, "all are handled", func() bool { return o.has(untagged) && o.has(tagged) })
	o.exactlyOnce("untagged", untagged)
	o.exactlyOnce("tagged", tagged)
}

// TestOrderedDeadLetters: an ordered message that fails for good is tried as often as the option says, and doesn't hold up
// those behind it any longer.
func TestOrderedDeadLetters(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(1)
	o := newOrder(t)
	o.fails = func(_ int, m *primitive.MessageExt) consumer.ConsumeResult {
		if strings.HasPrefix(string(m.Body), "bad") {
			return consumer.SuspendCurrentQueueAMoment
		}
		return consumer.ConsumeSuccess
	}
	opts := []consumer.Option{
		consumer.WithConsumerOrder(true), consumer.WithMaxReconsumeTimes(2), consumer.WithSuspendCurrentQueueTimeMillis(10 * time.Millisecond),
	}
	w.handled("", o.handler("base"), opts...)
	w.laneOwns(w.handled("gray", o.handler("lane"), opts...))
	p := w.producer("")
	for _, tag := range []graylib.Tag{"", "gray"} {
		bad := w.sendBody(p, tag, "bad")
		good := w.sendBody(p, tag, "good")
		eventually(t, "the message behind is handled", func() bool { return o.has([]string{good}) })
		o.mu.Lock()
		if got := o.tries[bad]; got != 3 {
			t.Errorf("tag %q: the failing message was delivered %d times, want 1 and 2 more", tag, got)
		}
		o.mu.Unlock()
		group := w.group
		if tag != "" {
			group = graylib.LaneGroup(group, tag)
		}
		eventually(t, "the failing message is a dead letter of "+group, func() bool { return w.size("%DLQ%"+group) == 1 })
	}
}

// sendBody sends one message and returns its id.
func (w *world) sendBody(p rocketmq.Producer, tag graylib.Tag, body string) string {
	w.t.Helper()
	r, err := p.SendSync(graylib.WithTag(w.t.Context(), tag), primitive.NewMessage(w.topic, []byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	return r.MsgID
}

// size is the number of messages in a topic; 0 where there is none such.
func (w *world) size(topic string) int64 {
	w.t.Helper()
	r, err := w.api.Route(w.t.Context(), topic)
	if err != nil {
		return 0
	}
	var n int64
	for _, q := range r.Queues {
		most, err := w.api.MaxOffset(w.t.Context(), r.Brokers[q.Broker], q)
		if err != nil {
			w.t.Fatal(err)
		}
		n += most
	}
	return n
}

// TestOrderedFailsAsTheQueueIsGiven: a message fails while its queue is wanted no longer, and its suspension ends before pulling
// does. It is neither finished nor passed over: whoever has the queue next handles it.
func TestOrderedFailsAsTheQueueIsGiven(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(1)
	o := newOrder(t)
	var lane *laneMember
	wanted := func(yes bool) { // without a kick: what drives the queue learns of it late
		lane.mu.Lock()
		defer lane.mu.Unlock()
		for q, lq := range lane.queues {
			if q.Topic == w.topic {
				lq.machine.Want(time.Now(), yes)
			}
		}
	}
	o.fails = func(tries int, m *primitive.MessageExt) consumer.ConsumeResult {
		if tries > 1 || string(m.Body) != "fails" {
			return consumer.ConsumeSuccess
		}
		wanted(false)
		return consumer.SuspendCurrentQueueAMoment
	}
	c := w.handled("gray", o.handler("lane"), consumer.WithConsumerOrder(true), consumer.WithSuspendCurrentQueueTimeMillis(10*time.Millisecond))
	c.mu.Lock()
	for _, m := range c.joined {
		if l, ok := m.(*laneMember); ok {
			lane = l
		}
	}
	c.mu.Unlock()
	tried := func(id string) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.tries[id] > 0
	}
	p := w.producer("")
	for range 10 {
		id := w.sendBody(p, "gray", "fails")
		eventually(t, "the queue is given", func() bool {
			seen, handled := tried(id), o.has([]string{id}) // not under the member's lock, which the handler takes
			lane.mu.Lock()
			defer lane.mu.Unlock()
			for q, lq := range lane.queues {
				if q.Topic == w.topic {
					return seen && (lq.machine.Settled() || handled) // or wanted again by a list that was read
				}
			}
			return false
		})
		lane.mu.Lock()
		for _, b := range lane.brokers {
			lane.balance(b)
		}
		lane.mu.Unlock()
		eventually(t, "the message is handled", func() bool { return o.has([]string{id}) })
		o.exactlyOnce("failing", []string{id})
	}
}
