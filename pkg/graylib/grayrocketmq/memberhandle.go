package grayrocketmq

import (
	"cmp"
	"context"
	"math"
	"runtime"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// handler is what the client calls instead of the application's handler, on a goroutine that it starts for each message.
func (m *member) handler(s *subscription) Handler {
	return func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if len(msgs) == 0 {
			return consumer.ConsumeSuccess, nil
		}
		deepen(len(msgs))
		return m.handle(ctx, s, msgs)
	}
}

// deepen has the goroutine's stack grow once, to what handlers need. Those that the client starts, one for each message, have 2 KB to
// begin with: to grow twice, deep in calls whose frames are copied each time, would take longer than all else that is done here.
//
//go:noinline
func deepen(n int) byte {
	var room [5 << 10]byte // with the client's frames and the runtime's reserve 8 KB
	room[n%len(room)] = 1
	return room[(n+1)%len(room)]
}

// handle takes messages that the client gives at once to their end. What failed is sent back here: the client would do so with the
// whole batch, and without a look at the broker's answer.
func (m *member) handle(ctx context.Context, s *subscription, msgs []*primitive.MessageExt) (result consumer.ConsumeResult, err error) {
	mq := msgs[0].Queue
	if c, ok := primitive.GetConsumerCtx(ctx); ok && c.MQ != nil {
		mq = c.MQ
	}
	list := make([]delivery, 0, len(msgs))
	tickets := make([]ticket, len(msgs))
	defer func() {
		for _, d := range list { // also where the application's handler ended the goroutine
			d.ticket.end(false)
		}
	}()
	for i, msg := range msgs {
		var ok bool
		if tickets[i], ok = m.flow.begin(mq, msg.QueueOffset); !ok {
			break
		}
		sub := m.subscriptionTo(msg.Topic)
		if sub == nil {
			sub = s
		}
		list = append(list, delivery{msg: msg, sub: sub, v: m.decide(sub, msg, mq), ticket: &tickets[i]})
	}
	till := time.Now().Add(cmp.Or(m.c.set.timeout, defaultTimeout) / 2)
	if len(list) > 0 {
		for _, batch := range split(list, m.c.set.orderly) {
			r, e := m.batch(ctx, batch, mq, till)
			if r != consumer.ConsumeSuccess {
				result = r
			}
			if e != nil {
				err = e
			}
		}
	}
	if len(list) < len(msgs) {
		// Neither acknowledged nor sent back: the client's slot is freed, and whoever has the queue next gets the messages.
		runtime.Goexit()
	}
	return result, err
}

// batch takes messages to their end that the application's handler gets at once. The result is success where it was
// achieved or the messages were sent back; otherwise what the client is to deal with. What must be waited for is, until till: the
// client itself sends back what takes longer than its ConsumeTimeout, while it still waits.
func (m *member) batch(ctx context.Context, batch []delivery, mq *primitive.MessageQueue, till time.Time) (consumer.ConsumeResult, error) {
	concurrent, _ := primitive.GetConcurrentlyCtx(ctx)
	if concurrent != nil { // another batch may have set them
		concurrent.DelayLevelWhenNextConsume, concurrent.AckIndex = 0, math.MaxInt32
	}
	ticket := batch[0].ticket
	t, err := m.take(ctx, batch, mq, func(d time.Duration) bool {
		return time.Now().Add(d).Before(till) && sleep(ctx, d) && ticket.current() && !ticket.closed()
	})
	result := t.result
	if !m.c.broadcasting() && ticket.current() {
		level, most := 0, m.deliveries()
		if t.unbegun {
			most = math.MaxInt32
		}
		if concurrent != nil {
			level = concurrent.DelayLevelWhenNextConsume
		}
		for _, d := range batch[max(acked(result, concurrent, len(batch)), t.out):] {
			if !m.sendBack(ctx, d.msg, d.ticket, level, most) {
				runtime.Goexit() // the tickets end without an outcome
			}
		}
		result = consumer.ConsumeSuccess
	}
	for _, d := range batch {
		d.ticket.end(true)
	}
	return result, err
}

// sendBack gives a message back to the broker, however long that takes; false says that the member has closed meanwhile, or
// has lost the queue.
func (m *member) sendBack(ctx context.Context, msg *primitive.MessageExt, t *ticket, level, most int) bool {
	for wait := errorPause; ; wait = min(2*wait, redialMost) {
		err := m.c.masters.ask(ctx, msg.Queue.BrokerName, msg.Queue.Topic, func(addr string) error {
			return m.c.api.SendBack(ctx, addr, m.place.group, msg, level, most)
		})
		if err == nil {
			return true
		}
		m.c.log().Warn("a message could not be sent back, going on trying", "group", m.place.group, "id", msg.MsgId, "error", err)
		if !t.current() || t.closed() || !sleep(ctx, wait) {
			return false
		}
	}
}
