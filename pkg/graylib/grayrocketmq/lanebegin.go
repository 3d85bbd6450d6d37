package grayrocketmq

import (
	"context"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// beginAll begins pulled messages in order, as soon as they may; false says that this life has ended before.
func (q *laneQueue) beginAll(ctx context.Context, span *ownership.Span, msgs []*primitive.MessageExt) bool {
	for len(msgs) > 0 {
		n, ok := q.beginSome(ctx, span, msgs[:min(len(msgs), q.m.c.set.batch)])
		if !ok {
			return false
		}
		msgs = msgs[n:]
	}
	return true
}

// beginSome begins the first of the messages as soon as it may, and with it those of the others that may begin now too. It
// returns the number of messages that are seen to.
func (q *laneQueue) beginSome(ctx context.Context, span *ownership.Span, msgs []*primitive.MessageExt) (int, bool) {
	m := q.m
	first, ok := q.delivery(ctx, msgs[0])
	if !ok {
		return 0, false
	}
	list := []delivery{first}
	for _, msg := range msgs[1:] {
		d := q.look(msg)
		if d.v.wait {
			break
		}
		list = append(list, d)
	}
	slot := m.slots[q.q.Topic]
	if m.c.set.orderly {
		slot = nil // there is one handler per queue anyway
	}
	begun, covered, ok := q.admit(ctx, span, list, slot)
	if len(begun) == 0 {
		return covered, ok
	}
	if m.c.set.orderly {
		return covered + len(begun), q.runInOrder(ctx, span, begun)
	}
	q.work(split(begun, false), false, func(batch *[]delivery, exited bool) bool {
		if q.handle(ctx, span, *batch, exited) {
			q.finish(span, *batch)
		} else {
			q.abandon(span, *batch)
		}
		return true
	}, func() {
		<-slot
		m.ended()
	})
	return covered + len(begun), true
}

// work has the crew take batches that have begun to their end, by f, one after the other until f says no; then it calls ended. Where
// the application's handler ends its goroutine (runtime.Goexit; t.FailNow does), another one goes on: f is called again with what
// is left of the batch, and told that its delivery has failed.
func (q *laneQueue) work(batches [][]delivery, exited bool, f func(batch *[]delivery, exited bool) bool, ended func()) {
	q.m.crew.do(func() {
		over := false
		defer func() {
			if over {
				ended()
			} else {
				q.work(batches, true, f, ended)
			}
		}()
		for ; len(batches) > 0; batches = batches[1:] {
			if !f(&batches[0], exited) {
				break
			}
			exited = false
		}
		over = true
	})
}

// runInOrder has messages that have begun handled in order, and waits for the end; false says that this life has ended before, or
// that some were abandoned: what is behind them must not be passed over.
func (q *laneQueue) runInOrder(ctx context.Context, span *ownership.Span, begun []delivery) bool {
	ended, all := make(chan struct{}), true
	q.work(split(begun, true), false, func(batch *[]delivery, exited bool) bool {
		if !q.inOrder(ctx, span, batch, exited) {
			q.abandon(span, begun)
			all = false
		}
		return all
	}, func() {
		q.m.ended()
		close(ended)
	})
	select {
	case <-ended:
		return all
	case <-ctx.Done():
		return false
	}
}

// ended notes that a handler has.
func (m *laneMember) ended() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
}

// admit begins the first messages of the list, one at least: it waits until that is possible. Those that a commit covers are
// left out and counted. Where some have begun they have a slot, if slots aren't nil; while it waits for the span to have room it
// has none: queues whose messages can't be finished would keep those of others from beginning.
func (q *laneQueue) admit(ctx context.Context, span *ownership.Span, list []delivery, slots chan struct{}) (begun []delivery, covered int, ok bool) {
	m := q.m
	free := func() {
		if slots != nil {
			<-slots
		}
	}
	for {
		if slots != nil {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return nil, 0, false
			}
		}
		m.mu.Lock()
		if q.machine.Span() != span || q.machine.State() != ownership.Owned {
			m.mu.Unlock()
			free()
			return nil, 0, false
		}
		for len(list) > 0 && list[0].msg.QueueOffset < span.Committed() {
			list = list[1:]
			covered++
		}
		n, now := 0, time.Now()
		for n < len(list) && q.machine.Begin(now, list[n].msg.QueueOffset) {
			n++
		}
		if n > 0 {
			m.running++
			q.sooner()
		}
		m.mu.Unlock()
		if n > 0 {
			return list[:n], covered, true
		}
		if free(); len(list) == 0 {
			return nil, covered, true
		}
		select {
		case <-q.room:
		case <-ctx.Done():
			return nil, 0, false
		}
	}
}

// finish notes that messages are done with.
func (q *laneQueue) finish(span *ownership.Span, batch []delivery) {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	for _, d := range batch {
		q.machine.Finish(span, d.msg.QueueOffset)
	}
	q.sooner()
}

// abandon notes that those of the messages that aren't done with are left: whoever has the queue next begins them.
func (q *laneQueue) abandon(span *ownership.Span, batch []delivery) {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	for _, d := range batch {
		q.machine.Abandon(span, d.msg.QueueOffset)
	}
	q.sooner()
}

// look says what becomes of a message by the rules in force.
func (q *laneQueue) look(msg *primitive.MessageExt) delivery {
	if topic := msg.GetProperty(primitive.PropertyRetryTopic); topic != "" && q.q.Topic == retryTopic(q.m.place.group) {
		msg.Topic = topic
	}
	d := delivery{msg: msg, sub: q.m.subscriptionTo(msg.Topic)}
	if d.sub == nil {
		d.v = verdict{handle: true, reason: reasonRetry} // of a topic that this instance doesn't know: sent back
		return d
	}
	d.v = q.m.decide(d.sub, msg, msg.Queue)
	return d
}

// delivery says what becomes of a message; it waits while nobody may handle it yet.
func (q *laneQueue) delivery(ctx context.Context, msg *primitive.MessageExt) (delivery, bool) {
	held := false
	for {
		d := q.look(msg)
		if !d.v.wait {
			return d, true
		}
		if q.holdBack(d.v.reason); !held {
			held = true
			defer q.holdBack("")
		}
		// The rules are read again without a change now and then; nobody tells.
		timer := time.NewTimer(lookAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return d, false
		case <-q.room:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// lookAgain is how often a message that waits is looked at.
const lookAgain = time.Second
