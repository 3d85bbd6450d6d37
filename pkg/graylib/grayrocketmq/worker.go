package grayrocketmq

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// worker takes single messages of one group to their end: whoever pulled them.
type worker struct {
	c     *Consumer
	place place
	tally *groupTally
}

func newWorker(c *Consumer, p place) worker {
	return worker{c: c, place: p, tally: c.tallies.of(p.group)}
}

func (m *worker) group() string { return m.place.group }

// decide says what becomes of a message by the rules in force. mq is the queue that it was pulled from.
func (m *worker) decide(s *subscription, msg *primitive.MessageExt, mq *primitive.MessageQueue) verdict {
	rules := m.c.rt.Rules()
	var read time.Time
	dead := false
	if tag, err := graylib.ParseTag(msg.GetProperty(graylib.MessageKeys.Tag)); err == nil && m.place.kind == kindTagged {
		if lane, listed := rules.Lane(tag); listed && lane.Until.IsZero() {
			dead = !m.c.laneLive(tag)
		} else if status := m.c.rt.RulesSource().Status(); status.Origin == originStatic {
			read = time.Now() // there is no newer one
		} else {
			read = status.ReadAt
		}
	}
	return decide(m.place.kind, m.place.lane.Tag, seen{
		tag: msg.GetProperty(graylib.MessageKeys.Tag), stored: time.UnixMilli(msg.StoreTimestamp),
		retry: strings.HasPrefix(mq.Topic, retryPrefix), wanted: s.wants(msg), read: read, dead: dead,
	}, rules, rules.Consumption(m.c.rt.Identity().Service, m.c.baseGroup(), s.topic))
}

// originStatic is where rules come from that never change ([graylib.StaticRules]).
const originStatic = "static"

// take handles or skips a message, as v says, and reports it.
func (m *worker) take(ctx context.Context, s *subscription, msg *primitive.MessageExt, mq *primitive.MessageQueue, v verdict) (result consumer.ConsumeResult, err error) {
	tag := msg.GetProperty(graylib.MessageKeys.Tag)
	m.c.counts.add(m.place.group, tag, v)
	event := m.event(msg, mq, v)
	t := m.c.rt.Telemetry()
	if !v.handle {
		if t != nil {
			t.Skipped(m.consuming(event))
		}
		if !v.quiet {
			event.Kind, event.Result = graylib.EventFinished, graylib.ResultSkipped
			m.c.rt.Report(event)
		}
		return consumer.ConsumeSuccess, nil
	}
	m.tally.handledBytes.Add(int64(msg.StoreSize))
	reason := hopReason(m.c.rt.Identity().Tag, tag, m.c.laneLive)
	ctx, arrival := m.c.rt.Arrive(ctx, graylib.ProtocolMQ, arrivalKeys, arrivalCarrier{propertyCarrier{&msg.Message}, reason})
	event.MessageTag = graylib.TagFrom(ctx)
	var outcome string
	if t != nil {
		consuming := m.consuming(event)
		consuming.Hop = arrival.Hop()
		var ended func(graylib.Outcome)
		ctx, ended = t.Consumed(ctx, consuming)
		defer func() { ended(graylib.Outcome{Result: outcome, Err: err}) }()
	}
	event.RequestID, event.Trace = graylib.RequestIDFrom(ctx), graylib.TraceIDFrom(ctx)
	event.Kind = graylib.EventBegun
	m.c.rt.Report(event)
	result, outcome, err = m.call(ctx, s, msg)
	event.Kind, event.Result = graylib.EventFinished, outcome
	event.EventID, event.Time = "", time.Time{}
	event.Hops, event.Messages = arrival.Chain()
	m.c.rt.Report(event)
	return result, err
}

func (m *worker) event(msg *primitive.MessageExt, mq *primitive.MessageQueue, v verdict) graylib.Event {
	tag, err := graylib.ParseTag(msg.GetProperty(graylib.MessageKeys.Tag))
	if err != nil {
		tag = graylib.Untagged
	}
	return graylib.Event{
		ID: msg.MsgId, Topic: msg.Topic, Queue: queueName(mq), Offset: msg.QueueOffset, Group: m.place.group,
		MessageTag: tag, Deliveries: int(msg.ReconsumeTimes) + 1, Reason: v.reason,
	}
}

// call runs the application's handler. A panic becomes a retry.
func (m *worker) call(ctx context.Context, s *subscription, msg *primitive.MessageExt) (result consumer.ConsumeResult, outcome string, err error) {
	defer func() {
		if p := recover(); p != nil {
			m.c.log().ErrorContext(ctx, "the handler of a message panicked; the message is retried", "group", m.place.group,
				"topic", msg.Topic, "id", msg.MsgId, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			result, outcome, err = consumer.ConsumeRetryLater, graylib.ResultPanic, nil
		}
	}()
	result, err = s.handler(ctx, msg)
	if result != consumer.ConsumeSuccess {
		return result, graylib.ResultRetry, err
	}
	return result, graylib.ResultSuccess, err
}
