package grayrocketmq

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// worker takes messages of one group to their end: whoever pulled them.
type worker struct {
	c     *Consumer
	place place
	subs  []*subscription
	tally *groupTally

	counted atomic.Pointer[counted] // the last one
}

func newWorker(c *Consumer, p place, subs []*subscription) worker {
	return worker{c: c, place: p, subs: subs, tally: c.tallies.of(p.group)}
}

func (m *worker) group() string { return m.place.group }

// decide says what becomes of a message by the rules in force. mq is the queue that it was pulled from.
func (m *worker) decide(s *subscription, msg *primitive.MessageExt, mq *primitive.MessageQueue) verdict {
	rules := m.c.rt.Rules()
	of := m.c.consumption(rules, s.topic)
	seen := seen{
		tag: msg.GetProperty(graylib.MessageKeys.Tag), stored: time.UnixMilli(msg.StoreTimestamp),
		retry: strings.HasPrefix(mq.Topic, retryPrefix), wanted: s.wants(msg),
	}
	tag, err := graylib.ParseTag(seen.tag)
	_, listed := rules.Lane(tag)
	switch {
	case err != nil || tag == graylib.Untagged:
	case m.place.kind == kindAll && listed:
		seen.dead = m.c.broadcastDead(tag, seen.stored)
	case m.place.kind == kindTagged && listed:
		seen.dead = !m.c.laneLive(tag, s.topic)
		fallthrough
	case m.place.kind == kindTagged:
		seen.read = m.rulesRead()
	}
	if m.c.broadcasting() {
		return decideBroadcast(m.place.kind, m.place.lane.Tag, seen, rules, of)
	}
	return decide(m.place.kind, m.place.lane.Tag, seen, rules, of)
}

// rulesRead is when the rules in force were last known to be the newest.
func (m *worker) rulesRead() time.Time {
	status := m.c.rt.RulesSource().Status()
	if status.Origin == originStatic {
		return time.Now() // there is no newer one
	}
	return status.ReadAt
}

// originStatic is where rules come from that never change ([graylib.StaticRules]).
const originStatic = "static"

// taken is what became of a batch.
type taken struct {
	result  consumer.ConsumeResult
	out     int  // so many of its first messages need no further delivery, whatever the result: they were handled before
	unbegun bool // the handler wasn't called, since the messages couldn't be claimed: that is no delivery to count
}

// take handles or skips messages of one subscription, tag and verdict (see split), and reports each. The handler's context is
// made of the first one's properties: a batch is one work, and has one request id and one trace. Where the idempotency store must
// be waited for, wait does so, and tells whether to go on.
func (m *worker) take(ctx context.Context, batch []delivery, mq *primitive.MessageQueue, wait func(time.Duration) bool) (t taken, err error) {
	if !batch[0].v.handle {
		for _, d := range batch {
			m.skip(d, mq)
		}
		return taken{result: consumer.ConsumeSuccess}, nil
	}
	var held claims
	if m.c.guard != nil {
		all := len(batch)
		if batch, held, err = m.claimed(ctx, batch, mq, wait); err != nil {
			m.c.log().WarnContext(ctx, "messages could not be claimed; they are retried", "group", m.place.group, "error", err)
			return taken{result: consumer.ConsumeRetryLater, unbegun: true}, err
		}
		if t.out = all - len(batch); len(batch) == 0 {
			t.result = consumer.ConsumeSuccess
			return t, nil
		}
		defer held.end(0) // where the handler ends its goroutine; otherwise they have ended by then
	}
	var room [1]handling
	list := room[:0]
	for _, d := range batch {
		list = append(list, m.begin(ctx, d, mq))
	}
	var outcome string
	returned := false
	defer func() {
		if !returned { // the handler has ended its goroutine: no result gets to whoever called
			m.c.log().ErrorContext(ctx, "the handler of a message ended its goroutine (runtime.Goexit); the message is retried", "group", m.place.group,
				"topic", batch[0].msg.Topic, "ids", ids(batch))
			if list[0].event != nil {
				m.finished(list, 0, graylib.ResultPanic)
			}
		}
		for _, h := range list {
			if h.ended != nil {
				h.ended(graylib.Outcome{Result: h.event.Result, Err: err})
			}
		}
	}()
	t.result, outcome, err = m.call(list[0].ctx, batch)
	returned = true
	concurrent, _ := primitive.GetConcurrentlyCtx(ctx)
	done := m.handled(t.result, concurrent, len(list))
	held.end(done) // before anything is acknowledged
	if concurrent != nil && t.out > 0 && m.succeeded(t.result) {
		concurrent.AckIndex = int32(t.out + done - 1) // of the batch with those that were taken out
	}
	if list[0].event != nil {
		m.finished(list, done, outcome)
	}
	return t, err
}

// finished notes what became of each message, of which the first ones need no further delivery, and reports it.
func (m *worker) finished(list []handling, done int, outcome string) {
	hops, messages := list[0].arrival.Chain()
	for i, h := range list {
		h.event.Kind, h.event.Result = graylib.EventFinished, outcome
		if i >= done && outcome == graylib.ResultSuccess {
			h.event.Result = graylib.ResultRetry
		}
		h.event.EventID, h.event.Time = "", time.Time{}
		h.event.Hops = hops // the batch caused them together
		if i == 0 {
			h.event.Messages = messages
		}
		m.c.rt.Report(*h.event)
	}
}

// handling is a message that its handler has.
type handling struct {
	ctx     context.Context
	arrival *graylib.Arrival
	event   *graylib.Event        // nil where nobody is told of it
	ended   func(graylib.Outcome) // tells telemetry; nil where there is none
}

// begin makes a message's context and says that it begins.
func (m *worker) begin(ctx context.Context, d delivery, mq *primitive.MessageQueue) handling {
	tag := d.msg.GetProperty(graylib.MessageKeys.Tag)
	m.count(d.msg, d.v)
	m.tally.handledBytes.Add(int64(d.msg.StoreSize))
	var h handling
	live := func(tag graylib.Tag) bool { return m.c.laneLive(tag, d.sub.topic) }
	reason := hopReason(m.c.rt.Identity().Tag, tag, live)
	h.ctx, h.arrival = m.c.rt.Arrive(ctx, graylib.ProtocolMQ, arrivalKeys, arrivalCarrier{propertyCarrier{&d.msg.Message}, reason})
	if m.c.rt.Telemetry() != nil || m.c.rt.Reports() {
		m.tell(&h, d, mq)
	}
	return h
}

// tell tells telemetry and the reporter that a message begins. It stands apart from begin for its stack: where nobody is told the
// goroutines that the client starts for each message need none of it.
func (m *worker) tell(h *handling, d delivery, mq *primitive.MessageQueue) {
	event := m.event(d.msg, mq, d.v)
	event.MessageTag = graylib.TagFrom(h.ctx)
	if t := m.c.rt.Telemetry(); t != nil {
		consuming := m.consuming(event)
		consuming.Hop = h.arrival.Hop()
		h.ctx, h.ended = t.Consumed(h.ctx, consuming)
	}
	event.RequestID, event.Trace = graylib.RequestIDFrom(h.ctx), graylib.TraceIDFrom(h.ctx)
	event.Kind = graylib.EventBegun
	m.c.rt.Report(*event)
	h.event = event
}

// skip acknowledges a message without its handler.
func (m *worker) skip(d delivery, mq *primitive.MessageQueue) {
	m.count(d.msg, d.v)
	t := m.c.rt.Telemetry()
	if t == nil && (d.v.quiet || !m.c.rt.Reports()) {
		return
	}
	event := m.event(d.msg, mq, d.v)
	if t != nil {
		t.Skipped(m.consuming(event))
	}
	if !d.v.quiet {
		event.Kind, event.Result = graylib.EventFinished, graylib.ResultSkipped
		m.c.rt.Report(*event)
	}
}

func (m *worker) event(msg *primitive.MessageExt, mq *primitive.MessageQueue, v verdict) *graylib.Event {
	tag, err := graylib.ParseTag(msg.GetProperty(graylib.MessageKeys.Tag))
	if err != nil {
		tag = graylib.Untagged
	}
	return &graylib.Event{
		ID: msg.MsgId, Topic: msg.Topic, Queue: queueName(mq), Offset: msg.QueueOffset, Group: m.place.group,
		MessageTag: tag, Deliveries: int(msg.ReconsumeTimes) + 1, Reason: v.reason, Broadcast: m.c.broadcasting(),
	}
}

// call runs the application's handler. A panic becomes a retry.
func (m *worker) call(ctx context.Context, batch []delivery) (result consumer.ConsumeResult, outcome string, err error) {
	defer func() {
		if p := recover(); p != nil {
			m.c.log().ErrorContext(ctx, "the handler of a message panicked; the message is retried", "group", m.place.group,
				"topic", batch[0].msg.Topic, "ids", ids(batch), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			result, outcome, err = consumer.ConsumeRetryLater, graylib.ResultPanic, nil
		}
	}()
	defer m.c.slow.end(m.c.slow.begin(ctx, m, batch))
	result, err = batch[0].sub.handler(ctx, messagesOf(batch)...)
	if !m.succeeded(result) {
		return result, graylib.ResultRetry, err
	}
	return result, graylib.ResultSuccess, err
}

// succeeded tells whether a handler's result says that it succeeded; in order [consumer.Commit] says so too.
func (m *worker) succeeded(result consumer.ConsumeResult) bool {
	return result == consumer.ConsumeSuccess || m.c.set.orderly && result == consumer.Commit
}

// handled is how many of the first messages of a batch the application is done with.
func (m *worker) handled(result consumer.ConsumeResult, c *primitive.ConsumeConcurrentlyContext, n int) int {
	if m.succeeded(result) {
		result = consumer.ConsumeSuccess
	}
	return acked(result, c, n)
}

// subscriptionTo returns the application's subscription to a topic, or nil.
func (m *worker) subscriptionTo(topic string) *subscription {
	for _, s := range m.subs {
		if s.topic == topic {
			return s
		}
	}
	return nil
}

// deliveries is the greatest number of deliveries of a message that is sent back.
func (m *worker) deliveries() int {
	if m.c.set.deliveries < 0 {
		return defaultDeliveries
	}
	return m.c.set.deliveries
}
