package grayrocketmq

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/hooks"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// member is one client of the RocketMQ client's, in <group>. In the other groups it is a [laneMember].
type member struct {
	worker
	client rocketmq.PushConsumer
	flow   *flow

	offsets   offsets
	ended     context.CancelFunc // of what follows them
	following sync.WaitGroup

	ready chan struct{} // closed when the member is joined; no queue is taken before
}

// joined is a membership in one group.
type joined interface {
	group() string
	start()   // from here on queues are taken
	close()   // nothing more begins, but for what must to keep offsets in order
	suspend() // takes nothing more from the brokers
	unsuspend()
	unsubscribe(topic string) error
	lag(sum map[string]int64) // adds, by topic, the messages that aren't consumed yet
	leave(ctx context.Context) int
	state() graylib.GroupState
}

var _, _ joined = (*member)(nil), (*laneMember)(nil)

func (m *member) start() {
	close(m.ready)
	ctx, cancel := context.WithCancel(context.Background())
	m.ended = cancel
	if !m.c.broadcasting() { // brokers have no offsets of it
		m.following.Go(func() { m.follow(ctx) })
	}
}

func (m *member) close()     { m.flow.close() }
func (m *member) suspend()   { m.flow.suspend() }
func (m *member) unsuspend() { m.flow.unsuspend() }

func (m *member) unsubscribe(topic string) error {
	return m.client.Unsubscribe(unqualified(m.c.set.namespace, topic))
}

func (m *member) lag(sum map[string]int64) {
	for topic, n := range m.client.GetOffsetDiffMap() {
		sum[topic] += n
	}
}

// join starts a member. Its first offsets are set and its filter is checked.
func (c *Consumer) join(p place, subs []*subscription) (*member, error) {
	m := &member{worker: newWorker(c, p, subs), flow: newFlow(), ready: make(chan struct{})}
	opts := append([]consumer.Option(nil), c.client...)
	opts = append(opts,
		consumer.WithGroupName(unqualified(c.set.namespace, p.group)),
		consumer.WithNsResolver(c.resolver),
		consumer.WithCredentials(c.credentials),
		consumer.WithStrategy(m.allocate),
		consumer.WithFilterMessageHook([]hooks.FilterMessageHook{m.hook}),
	)
	id := c.rt.Identity()
	if c.broadcasting() {
		opts = append(opts, consumer.WithInstance(c.broadcastInstance(p.group)))
	} else {
		opts = append(opts, consumer.WithInstance(ownership.InstanceName(id.Service, id.Tag, ownership.Own, topicsOf(subs), newUUID())),
			// Offsets are stored for every queue that exists: one without is newer than the group, and all in it is its.
			consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	}
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
	steps := []func() error{subscribe, begin}
	if c.broadcasting() {
		// Its queues aren't allotted by a strategy that could wait: without a topic there are none until it has settled.
		steps = []func() error{begin, subscribe, client.Start}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			m.flow.close()
			close(m.ready)
			return nil, fmt.Errorf("group %q: %w", p.group, err)
		}
	}
	return m, nil
}

// hook sees pulled messages, see [flow.hook].
func (m *member) hook(c *hooks.FilterMessageContext) ([]*primitive.MessageExt, error) {
	for _, msg := range c.Msg {
		m.tally.pulledBytes.Add(int64(msg.StoreSize))
	}
	return m.flow.hook(c)
}

// allocate is the application's strategy, or the client's default, looked over the shoulder.
func (m *member) allocate(group, clientID string, all []*primitive.MessageQueue, members []string) []*primitive.MessageQueue {
	// Blocking here is harmless: rebalances run in goroutines of their own and hold up nobody else's.
	<-m.ready
	queues := m.c.set.strategy(group, clientID, all, members)
	if len(all) > 0 {
		m.flow.assigned(all[0].Topic, queues)
	}
	return queues
}

// Times of committing: what a client persists is with the broker within a round trip.
const (
	commitWithin = 3 * time.Second
	commitEvery  = 10 * time.Millisecond
	// broadcastSettle is what the client's goroutines get to note the last handlers' results, before its offsets are saved.
	broadcastSettle = 20 * time.Millisecond
	commitTrust     = 5 // so many times the client may try, before we commit for it
)

// commit has the client persist its offsets and sees to it that the brokers have them. The client does so one-way; the last
// handlers' results may reach its memory a little after they returned; and it forgets the offsets of all queues when it
// gives up one (offset_store.go:273), until the next message: what is still behind then is committed from here.
func (m *member) commit(ctx context.Context) {
	client, ok := m.client.(interface{ PersistConsumerOffset() error })
	want := m.flow.committable()
	if !ok || len(want) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, commitWithin)
	defer cancel()
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for try := 0; ctx.Err() == nil; try++ {
		if err := client.PersistConsumerOffset(); err != nil {
			break
		}
		for q, next := range want {
			if m.committed(ctx, q, next, try >= commitTrust) {
				delete(want, q)
			}
		}
		if len(want) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	m.c.log().Warn("offsets could not be seen committed; some messages may be delivered again", "group", m.place.group, "queues", len(want))
}

// committed tells whether a broker has a queue's offset, and sets it where we shall.
func (m *member) committed(ctx context.Context, mq primitive.MessageQueue, next int64, set bool) bool {
	q := remoting.Queue{Topic: mq.Topic, Broker: mq.BrokerName, ID: mq.QueueId}
	there := false
	err := m.c.masters.ask(ctx, mq.BrokerName, mq.Topic, func(addr string) error {
		stored, _, err := m.c.api.ConsumerOffset(ctx, addr, m.place.group, q)
		if there = stored >= next; err == nil && set && !there {
			err = m.c.api.SetConsumerOffset(ctx, addr, m.place.group, q, next)
			there = true
		}
		return err
	})
	return err == nil && there
}

// leave ends the member: nothing more begins, what runs may finish as long as ctx allows, offsets are committed. It returns
// the number of handlers still running.
func (m *member) leave(ctx context.Context) int {
	m.flow.close()
	if m.ended != nil { // it was started
		m.ended()
		m.following.Wait()
	}
	running := m.flow.drain(ctx)
	if m.c.broadcasting() {
		sleep(context.WithoutCancel(ctx), broadcastSettle) // then Shutdown writes the file
	} else {
		m.commit(context.WithoutCancel(ctx))
	}
	if err := m.client.Shutdown(); err != nil {
		m.c.log().Warn("the RocketMQ client's shutdown failed", "group", m.place.group, "error", err)
	}
	return running
}

// unqualified takes the namespace off a name: the client puts it on itself.
func unqualified(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return strings.TrimPrefix(name, namespace+"%")
}

// qualified is a name as it is on the wire.
func qualified(namespace, name string) string {
	if namespace == "" || strings.HasPrefix(name, namespace+"%") {
		return name
	}
	return namespace + "%" + name
}
