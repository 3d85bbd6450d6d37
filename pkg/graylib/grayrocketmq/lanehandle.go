package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// handle takes a batch that has begun to its end: handled, skipped, or sent back. It returns false where the life of the
// queue ended badly; nothing is committed then. Where the handler has exited, it isn't called: the delivery has failed.
func (q *laneQueue) handle(ctx context.Context, span *ownership.Span, batch []delivery, exited bool) bool {
	if batch[0].sub == nil {
		return q.unknown(span, batch)
	}
	var o outcome
	if !exited {
		o = q.call(ctx, span, batch)
	}
	most := q.m.deliveries()
	if o.unbegun {
		most = math.MaxInt32
	}
	for _, d := range batch[o.acked:] {
		if !q.sendBack(span, q.retriedBy(d.msg.Topic), d.msg, o.level, most) {
			return false
		}
	}
	return true
}

// retriedBy returns the group that retries what failed of a topic here: this one, or <group>__tagged, where all members are of the
// baseline, if those that own this group's retry topic don't want the topic and a stand-in does.
func (q *laneQueue) retriedBy(topic string) string {
	m := q.m
	if m.place.kind != kindLane {
		return m.place.group
	}
	m.mu.Lock()
	ids := q.b.roster.IDs()
	m.mu.Unlock()
	if ownership.RetryElsewhere(ids, m.mode(topic), m.mode(retryTopic(m.place.group)), topic) {
		return graylib.TaggedGroup(m.c.baseGroup())
	}
	return m.place.group
}

// unknown sends messages back that are of a topic which this instance doesn't subscribe to: to stand-ins that do, or they wait in
// the retry topic for one that does. No number of deliveries makes them dead letters here.
func (q *laneQueue) unknown(span *ownership.Span, batch []delivery) bool {
	for _, d := range batch {
		group := q.retriedBy(d.msg.Topic)
		q.m.c.log().Warn("a retried message is of a topic that this instance doesn't subscribe to: sent back", "group", q.m.place.group,
			"topic", d.msg.Topic, "id", d.msg.MsgId, "to", group)
		if !q.sendBack(span, group, d.msg, 0, math.MaxInt32) {
			return false
		}
	}
	return true
}

// sendBack gives a message back to the broker, for a group, however long that takes; false says that the life of the queue has ended.
func (q *laneQueue) sendBack(span *ownership.Span, group string, msg *primitive.MessageExt, level, most int) bool {
	for wait := errorPause; ; wait = min(2*wait, redialMost) {
		q.m.mu.Lock()
		s := q.b.session
		alive := q.machine.Span() == span && q.machine.State() != ownership.Lost
		q.m.mu.Unlock()
		if !alive || s == nil {
			return false
		}
		err := s.SendBack(q.m.ctx, s.Addr(), group, msg, level, most)
		if err == nil {
			return true
		}
		q.m.c.log().Warn("a message could not be sent back, going on trying", "group", group, "id", msg.MsgId, "error", err)
		if refused := (*remoting.ResponseError)(nil); errors.As(err, &refused) {
			group = q.m.place.group // of another group the broker may know nothing, or allow nothing
		}
		if !sleep(q.m.ctx, wait) {
			return false
		}
	}
}

// Bounds of the time between two tries of an ordered message (the client's submitConsumeRequestLater), and the time where
// neither consumer.WithSuspendCurrentQueueTimeMillis nor the handler's context sets one (the Java client's default).
const (
	suspendLeast   = 10 * time.Millisecond
	suspendMost    = 30 * time.Second
	suspendDefault = time.Second
)

// inOrder takes a batch to its end before anything behind it begins. What fails is tried again in place; beyond the greatest
// number of deliveries a message goes to the dead letters. It returns false where the queue is to be given, or is lost,
// before that. left is what of the batch isn't at its end yet. Where the handler has exited, its last delivery has failed.
func (q *laneQueue) inOrder(ctx context.Context, span *ownership.Span, left *[]delivery, exited bool) bool {
	if batch := *left; batch[0].sub == nil {
		if !q.unknown(span, batch) {
			return false
		}
		q.finish(span, batch)
		return true
	}
	for {
		batch := *left
		o := outcome{result: consumer.SuspendCurrentQueueAMoment, suspend: suspension(q.m.c.set.suspend, -1)}
		if !exited {
			o = q.call(ctx, span, batch)
		}
		exited = false
		if q.m.succeeded(o.result) {
			q.finish(span, batch)
			return true
		}
		q.finish(span, batch[:o.acked])
		var again []delivery
		for _, d := range batch[o.acked:] {
			if o.unbegun {
				again = append(again, d)
				continue
			}
			if int(d.msg.ReconsumeTimes) < q.m.inPlace() {
				d.msg.ReconsumeTimes++
				again = append(again, d)
				continue
			}
			q.m.c.log().Warn("an ordered message has failed for the last time: to the dead letters", "group", q.m.place.group, "id", d.msg.MsgId, "deliveries", d.msg.ReconsumeTimes+1)
			if !q.sendBack(span, q.m.place.group, d.msg, toDeadLetters, q.m.deliveries()) {
				return false
			}
			q.finish(span, []delivery{d})
		}
		if *left = again; len(again) == 0 {
			return true
		}
		if !sleep(ctx, o.suspend) || !q.owned(span) {
			return false
		}
	}
}

// toDeadLetters is the delay level that means none: the broker puts the message among the dead letters at once.
const toDeadLetters = -1

// inPlace is how often an ordered message that failed is tried again: without a limit, where none is set.
func (m *laneMember) inPlace() int {
	if m.c.set.deliveries < 0 {
		return math.MaxInt32
	}
	return m.c.set.deliveries
}

func (q *laneQueue) owned(span *ownership.Span) bool {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	return q.machine.Span() == span && q.machine.State() == ownership.Owned
}

// outcome is what a handler came to.
type outcome struct {
	result  consumer.ConsumeResult
	acked   int           // the first ones of the batch that need no further delivery
	level   int           // the delay level of the others
	suspend time.Duration // in an ordered consumer: until the next try
	unbegun bool          // the handler wasn't called, and this is no delivery to count
}

// call runs the application's handler, with the context that the client's consumer would give it. A panic of an interceptor becomes
// a retry, as one of the handler does. The context pulling ends when nothing may begin any more.
func (q *laneQueue) call(pulling context.Context, span *ownership.Span, batch []delivery) (o outcome) {
	set := &q.m.c.set
	var t taken
	var intercepted *taken // t, where interceptors may panic after it has come to be
	var concurrent *primitive.ConsumeConcurrentlyContext
	var orderly *primitive.ConsumeOrderlyContext
	defer func() {
		if p := recover(); p != nil {
			q.m.c.log().Error("an interceptor of a message panicked; the message is retried", "group", q.m.place.group, "ids", ids(batch),
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			o.result = consumer.ConsumeRetryLater
		}
		if intercepted != nil {
			t = *intercepted
		}
		o.acked, o.unbegun = max(acked(o.result, concurrent, len(batch)), t.out), t.unbegun
		if concurrent != nil {
			o.level = concurrent.DelayLevelWhenNextConsume
		}
		said := -1
		if orderly != nil {
			said = orderly.SuspendCurrentQueueTimeMillis
		}
		o.suspend = suspension(set.suspend, said)
	}()
	mq := batch[0].msg.Queue
	if !batch[0].v.handle {
		t, _ = q.m.take(context.Background(), batch, mq, nil) //graycheck:ignore a message begins its own context, from its properties
		o.result = t.result
		return o
	}
	if set.limiter != nil {
		set.limiter(unqualified(set.namespace, mq.Topic))
	}
	msgs := messagesOf(batch)
	for _, msg := range msgs {
		msg.WithProperty(primitive.PropertyConsumeStartTime, strconv.FormatInt(time.Now().UnixMilli(), 10))
	}
	info := &primitive.ConsumeMessageContext{Properties: make(map[string]string), ConsumerGroup: q.m.place.group, MQ: mq, Msgs: msgs}
	ctx := primitive.WithConsumerCtx(context.Background(), info) //graycheck:ignore a message begins its own context, from its properties
	ctx = primitive.WithMethod(ctx, primitive.ConsumerPush)
	if set.orderly {
		orderly = primitive.NewConsumeOrderlyContext()
		orderly.MQ = *mq
		ctx = primitive.WithOrderlyCtx(ctx, orderly)
	} else {
		concurrent = primitive.NewConsumeConcurrentlyContext()
		concurrent.MQ = *mq
		ctx = primitive.WithConcurrentlyCtx(ctx, concurrent)
	}
	var wait func(time.Duration) bool
	if q.m.c.guard != nil { // who else would wait
		wait = func(d time.Duration) bool { return sleep(pulling, d) && q.owned(span) }
	}
	if len(set.interceptors) == 0 {
		t, _ = q.m.take(ctx, batch, mq, wait) // the result counts, as with the client, whatever the error
		o.result = t.result
		return o
	}
	intercepted = new(taken)
	o.result = q.intercept(ctx, info, batch, wait, intercepted)
	return o
}

// intercept runs the handler inside of the application's interceptors, as the client does.
func (q *laneQueue) intercept(ctx context.Context, info *primitive.ConsumeMessageContext, batch []delivery, wait func(time.Duration) bool, t *taken) consumer.ConsumeResult {
	var holder consumer.ConsumeResultHolder
	_ = primitive.ChainInterceptors(q.m.c.set.interceptors...)(ctx, info.Msgs, &holder, func(ctx context.Context, _, reply any) (err error) {
		*t, err = q.m.take(ctx, batch, info.MQ, wait)
		reply.(*consumer.ConsumeResultHolder).ConsumeResult = t.result
		if info.Success = t.result == consumer.ConsumeSuccess; info.Success {
			info.Properties[primitive.PropCtxType] = string(primitive.SuccessReturn)
		} else {
			info.Properties[primitive.PropCtxType] = string(primitive.FailedReturn)
		}
		return err
	})
	return holder.ConsumeResult
}

// suspension is the time until the next try: what the handler says, in milliseconds, or the option, or the default.
func suspension(option time.Duration, said int) time.Duration {
	d := option
	switch {
	case said >= 0:
		d = time.Duration(said) * time.Millisecond
	case option == 0:
		d = suspendDefault
	}
	return max(suspendLeast, min(d, suspendMost))
}
