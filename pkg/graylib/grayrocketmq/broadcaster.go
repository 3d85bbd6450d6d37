package grayrocketmq

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/hooks"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// broadcaster is one client of the RocketMQ client's, where each instance gets each message (consumer.BroadCasting). In all other groups
// an instance is a [laneMember].
type broadcaster struct {
	worker
	client rocketmq.PushConsumer
	flow   *flow
}

func (m *broadcaster) start()     {}
func (m *broadcaster) close()     { m.flow.close() }
func (m *broadcaster) suspend()   { m.flow.suspend() }
func (m *broadcaster) unsuspend() { m.flow.unsuspend() }

func (m *broadcaster) unsubscribe(topic string) error {
	return m.client.Unsubscribe(unqualified(m.c.set.namespace, topic))
}

// outdated is never so: nobody else reads what its client says that it subscribes to.
func (m *broadcaster) outdated([]*subscription) bool { return false }

func (m *broadcaster) lag(sum map[string]int64) {
	for topic, n := range m.client.GetOffsetDiffMap() {
		sum[topic] += n
	}
}

// joinBroadcast starts a member. Its filter is checked.
func (c *Consumer) joinBroadcast(p place, subs []*subscription) (*broadcaster, error) {
	m := &broadcaster{worker: newWorker(c, p, subs), flow: newFlow()}
	opts := append([]consumer.Option(nil), c.client...)
	opts = append(opts,
		consumer.WithGroupName(unqualified(c.set.namespace, p.group)),
		consumer.WithNsResolver(c.resolver),
		consumer.WithCredentials(c.credentials),
		consumer.WithFilterMessageHook([]hooks.FilterMessageHook{m.hook}),
		consumer.WithInstance(c.broadcastInstance(p.group)),
	)
	client, err := rocketmq.NewPushConsumer(opts...)
	if err != nil {
		return nil, fmt.Errorf("group %q: %w", p.group, err)
	}
	m.client = client
	subscribe := func() error {
		for _, s := range subs {
			topic := unqualified(c.set.namespace, s.topic)
			if err := client.Subscribe(topic, s.selector(p.kind, p.lane.Tag, c.filter(s.topic)), m.handler(s)); err != nil {
				return fmt.Errorf("subscribe to %q: %w", topic, err)
			}
		}
		return nil
	}
	begin := func() error {
		if err := client.Start(); err != nil {
			return err
		}
		if c.opts.settle != nil {
			c.opts.settle(client)
		}
		return nil
	}
	// Without a topic there are no queues until it has settled.
	for _, step := range []func() error{begin, subscribe, client.Start} {
		if err := step(); err != nil {
			m.flow.close()
			return nil, fmt.Errorf("group %q: %w", p.group, err)
		}
	}
	return m, nil
}

// hook sees pulled messages, see [flow.hook].
func (m *broadcaster) hook(c *hooks.FilterMessageContext) ([]*primitive.MessageExt, error) {
	for _, msg := range c.Msg {
		m.tally.pulledBytes.Add(int64(msg.StoreSize))
	}
	return m.flow.hook(c)
}

// handler is what the client calls instead of the application's handler, on a goroutine that it starts for each batch.
func (m *broadcaster) handler(s *subscription) Handler {
	return func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if len(msgs) == 0 {
			return consumer.ConsumeSuccess, nil
		}
		return m.handle(ctx, s, msgs)
	}
}

// handle has messages that the client gives at once handled. What fails isn't retried: the client only logs it.
func (m *broadcaster) handle(ctx context.Context, s *subscription, msgs []*primitive.MessageExt) (result consumer.ConsumeResult, err error) {
	mq := msgs[0].Queue
	if c, ok := primitive.GetConsumerCtx(ctx); ok && c.MQ != nil {
		mq = c.MQ
	}
	list := make([]delivery, 0, len(msgs))
	tickets := make([]ticket, 0, len(msgs))
	defer func() {
		for _, t := range tickets { // also where the application's handler ended the goroutine
			t.end()
		}
	}()
	for _, msg := range msgs {
		t, ok := m.flow.begin(mq, msg.QueueOffset)
		if !ok {
			break
		}
		tickets = append(tickets, t)
		list = append(list, delivery{msg: msg, sub: s, v: m.decide(s, msg, mq)})
	}
	if len(list) > 0 {
		for _, batch := range split(list, false) {
			if c, ok := primitive.GetConcurrentlyCtx(ctx); ok { // another batch may have set them
				c.DelayLevelWhenNextConsume, c.AckIndex = 0, math.MaxInt32
			}
			t, e := m.take(ctx, batch, mq, nil)
			if t.result != consumer.ConsumeSuccess {
				result = t.result
			}
			if e != nil {
				err = e
			}
		}
	}
	if len(list) < len(msgs) {
		// Not acknowledged: the client's slot is freed, and the messages come again after a restart.
		runtime.Goexit()
	}
	return result, err
}

// broadcastSettle is what the client's goroutines get to note the last handlers' results, before its offsets are saved.
const broadcastSettle = 20 * time.Millisecond

// leave ends the member: nothing more begins, what runs may finish as long as ctx allows, offsets are saved in the client's file. It
// returns the number of handlers still running.
func (m *broadcaster) leave(ctx context.Context) int {
	m.flow.close()
	running := m.flow.drain(ctx)
	sleep(context.WithoutCancel(ctx), broadcastSettle) // then Shutdown writes the file
	if err := m.client.Shutdown(); err != nil {
		m.c.log().Warn("the RocketMQ client's shutdown failed", "group", m.place.group, "error", err)
	}
	return running
}

// state is what is known of the membership: the client tells nobody where it is in its queues.
func (m *broadcaster) state() graylib.GroupState {
	g := m.groupState()
	g.Running = m.flow.handlers()
	return g
}
