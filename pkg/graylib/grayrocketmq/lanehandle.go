package grayrocketmq

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// subscriptionTo returns the application's subscription to a topic, or nil.
func (m *laneMember) subscriptionTo(topic string) *subscription {
	for _, s := range m.subs {
		if s.topic == topic {
			return s
		}
	}
	return nil
}

// handle takes a message that has begun to its end: handled, skipped, or sent back. It returns without one where the life
// of the queue ended badly; nothing is committed then.
func (q *laneQueue) handle(span *ownership.Span, sub *subscription, msg *primitive.MessageExt, v verdict) {
	level := 0
	if sub != nil {
		var result consumer.ConsumeResult
		if result, level = q.call(sub, msg, v); result == consumer.ConsumeSuccess {
			return
		}
	} else {
		q.m.c.log().Warn("a retried message is of a topic that this instance doesn't subscribe to: sent back", "group", q.m.place.group, "topic", msg.Topic, "id", msg.MsgId)
	}
	for wait := errorPause; ; wait = min(2*wait, redialMost) {
		q.m.mu.Lock()
		s := q.b.session
		alive := q.machine.Span() == span && q.machine.State() != ownership.Lost
		q.m.mu.Unlock()
		if !alive || s == nil {
			return
		}
		err := s.SendBack(q.m.ctx, q.m.place.group, msg, level, q.m.deliveries())
		if err == nil {
			return
		}
		q.m.c.log().Warn("a message could not be sent back, going on trying", "group", q.m.place.group, "id", msg.MsgId, "error", err)
		if !sleep(q.m.ctx, wait) {
			return
		}
	}
}

func (m *laneMember) deliveries() int {
	if m.c.set.deliveries < 0 {
		return defaultDeliveries
	}
	return m.c.set.deliveries
}

// call runs the application's handler, with the context that the client's consumer would give it.
// A panic of an interceptor becomes a retry, as one of the handler does.
func (q *laneQueue) call(sub *subscription, msg *primitive.MessageExt, v verdict) (result consumer.ConsumeResult, level int) {
	defer func() {
		if p := recover(); p != nil {
			q.m.c.log().Error("an interceptor of a message panicked; the message is retried", "group", q.m.place.group, "id", msg.MsgId,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			result, level = consumer.ConsumeRetryLater, 0
		}
	}()
	mq, set := msg.Queue, q.m.c.set
	msgs := []*primitive.MessageExt{msg}
	handler := func(ctx context.Context) (consumer.ConsumeResult, error) { return q.m.take(ctx, sub, msg, mq, v) }
	if !v.handle {
		result, _ := handler(context.Background()) //graycheck:ignore a message begins its own context, from its properties
		return result, 0
	}
	if set.limiter != nil {
		set.limiter(unqualified(set.namespace, mq.Topic))
	}
	msg.WithProperty(primitive.PropertyConsumeStartTime, strconv.FormatInt(time.Now().UnixMilli(), 10))
	info := &primitive.ConsumeMessageContext{Properties: make(map[string]string), ConsumerGroup: q.m.place.group, MQ: mq, Msgs: msgs}
	ctx := primitive.WithConsumerCtx(context.Background(), info) //graycheck:ignore a message begins its own context, from its properties
	ctx = primitive.WithMethod(ctx, primitive.ConsumerPush)
	concurrent := primitive.NewConsumeConcurrentlyContext()
	concurrent.MQ = *mq
	ctx = primitive.WithConcurrentlyCtx(ctx, concurrent)
	if len(set.interceptors) == 0 {
		result, _ = handler(ctx) // the result counts, as with the client, whatever the error
		return result, concurrent.DelayLevelWhenNextConsume
	}
	var holder consumer.ConsumeResultHolder
	_ = primitive.ChainInterceptors(set.interceptors...)(ctx, msgs, &holder, func(ctx context.Context, _, reply any) error {
		result, err := handler(ctx)
		reply.(*consumer.ConsumeResultHolder).ConsumeResult = result
		if info.Success = result == consumer.ConsumeSuccess; info.Success {
			info.Properties[primitive.PropCtxType] = string(primitive.SuccessReturn)
		} else {
			info.Properties[primitive.PropCtxType] = string(primitive.FailedReturn)
		}
		return err
	})
	return holder.ConsumeResult, concurrent.DelayLevelWhenNextConsume
}

// unsuspended waits while the consumer is suspended; false says that ctx ended.
func (m *laneMember) unsuspended(ctx context.Context) bool {
	for ctx.Err() == nil {
		m.mu.Lock()
		resume := m.resume
		m.mu.Unlock()
		if resume == nil {
			return true
		}
		select {
		case <-resume:
		case <-ctx.Done():
		}
	}
	return false
}

func (m *laneMember) suspend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.resume == nil {
		m.resume = make(chan struct{})
	}
}

func (m *laneMember) unsuspend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.resume != nil {
		close(m.resume)
		m.resume = nil
	}
}

// unsubscribe gives a topic's queues up.
func (m *laneMember) unsubscribe(topic string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped[topic] = true
	for _, b := range m.brokers {
		m.balance(b)
	}
	return nil
}

func (m *laneMember) lag(sum map[string]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for queue, q := range m.queues {
		if span := q.machine.Span(); span != nil && !strings.HasPrefix(queue.Topic, retryPrefix) {
			sum[unqualified(m.c.set.namespace, queue.Topic)] += max(q.max-span.Committed(), 0)
		}
	}
}

// close gives all queues up: nothing more begins.
func (m *laneMember) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = true
	for _, b := range m.brokers {
		m.balance(b)
	}
}

// leaveMargin is what a leave may take beyond the drain: the last commits and unlocks.
const leaveMargin = 3 * time.Second

// leave gives all queues up, and leaves the group when that is done. It returns the number of handlers still running.
func (m *laneMember) leave(ctx context.Context, _ map[string]string) int {
	m.close()
	m.unwatch()
	until := m.c.opts.drain + leaveMargin
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), until)
	defer cancel()
	for !m.settled() && sleep(wait, time.Millisecond) {
	}
	m.mu.Lock()
	running := m.running
	var sessions []*remoting.Session
	for _, b := range m.brokers {
		if b.session != nil {
			sessions = append(sessions, b.session)
		}
	}
	m.mu.Unlock()
	for _, s := range sessions {
		if err := s.Unregister(wait, m.place.group); err != nil {
			m.c.log().Debug("leaving a group without the broker's answer", "group", m.place.group, "error", err)
		}
	}
	m.cancel()
	m.closeSessions()
	m.wg.Wait()
	return running
}

// settled tells whether no queue is held any more, as far as can be known.
func (m *laneMember) settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range m.queues {
		if q.b.session != nil && !q.machine.Settled() {
			return false
		}
	}
	return m.running == 0
}

func (m *laneMember) closeSessions() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.brokers {
		if b.session != nil {
			_ = b.session.Close()
		}
	}
}
