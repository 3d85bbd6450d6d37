package grayrocketmq

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

// Consumer is one consumer of the application, run as a member of each group that its instance belongs to
// (design/messages.md). It has the method set of the client's push consumer. Its methods are safe for concurrent use.
type Consumer struct {
	rt          *graylib.Runtime
	opts        consumerOptions
	set         consumerSettings
	client      []consumer.Option
	resolver    resolver
	nameServers primitive.NamesrvAddr // as it said at the first
	credentials primitive.Credentials
	from        time.Time // of ConsumeFromTimestamp
	counts      counter
	tallies     tallies
	held        heldOffsets
	live        liveness
	slow        slowWatch
	guard       *idempotency.Guard // nil without WithIdempotency

	mu        sync.Mutex
	state     state
	subs      []*subscription
	suspended bool
	joined    []joined
	unjoined  map[string]string // groups of lanes listed since the first join that can't be joined yet, and why; replaced, never changed
	lanes     *lanesSeen        // where it broadcasts
	keeper    *keeper
	unlist    func() // takes the consumer off the runtime's list
	down      *shutdown

	api     *remoting.Client // made with the consumer; connects when first used
	brokers brokerAddrs      // of those that have its topics
}

var _ rocketmq.PushConsumer = (*Consumer)(nil)

// shutdown is one that has begun.
type shutdown struct {
	over chan struct{} // closed at its end
	err  error         // what came of it, then
}

type state int

const (
	created state = iota
	starting
	running
	stopped
)

// NewPushConsumer takes the place of the client's NewPushConsumer: the same options, and the process-wide runtime. Without a
// name server among them that of GRAY_NAMESRV_ADDR is taken, with its keys. Start is that of [WithBackgroundStart].
func NewPushConsumer(opts ...consumer.Option) (rocketmq.PushConsumer, error) {
	rt, err := graylib.Default()
	if err != nil {
		return nil, err
	}
	if !active(rt) && !rt.Idle() {
		return rocketmq.NewPushConsumer(opts...)
	}
	return OpenConsumer(opts, WithConsumerRuntime(rt), WithBackgroundStart())
}

// OpenConsumer makes a consumer of the client's options and graylib's. It connects to nothing: that is for Start. Whether
// GRAY_MESSAGES is on is the caller's to ask; see [NewPushConsumer].
//
// Errors wrap [ErrInvalidOption] or [ErrNotSupported] and name the setting.
func OpenConsumer(client []consumer.Option, opts ...ConsumerOption) (c *Consumer, err error) {
	o, err := consumerOptionsOf(opts)
	if err != nil {
		return nil, err
	}
	set, err := readConsumer(client)
	if err != nil {
		return nil, err
	}
	defer func() {
		if set.trace != nil && (err != nil || c.broadcasting()) { // to read the options starts it; the client that broadcasts has its own
			set.trace.Close()
		}
	}()
	if err := set.check(o.drain); err != nil {
		return nil, err
	}
	c = &Consumer{rt: o.rt, opts: o, set: set, client: client, credentials: set.credentials}
	if c.from, err = set.since(time.Now()); err != nil {
		return nil, err
	}
	if o.guard != nil {
		if c.broadcasting() {
			return nil, fmt.Errorf("%w: WithIdempotency with consumer.BroadCasting: a message that can't be claimed couldn't be retried", ErrNotSupported)
		}
		if c.guard, err = o.guard(o.rt); err != nil {
			return nil, err
		}
	}
	config := o.rt.Config()
	if c.credentials.IsEmpty() {
		c.credentials = primitive.Credentials{AccessKey: config.RocketMQAccessKey, SecretKey: config.RocketMQSecretKey}
	}
	c.resolver = resolver{set.resolver, config.NamesrvAddr}
	c.nameServers = c.resolver.Resolve()
	c.api, err = remoting.New(remoting.Config{
		NameServers: slices.Clone(c.nameServers), AccessKey: c.credentials.AccessKey, SecretKey: c.credentials.SecretKey,
		SecurityToken: c.credentials.SecurityToken, Resolve: c.resolver.Resolve,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: name server: %w: set consumer.WithNameServer or %s", ErrInvalidOption, err, graylib.EnvNamesrvAddr)
	}
	c.live.ask, c.live.now = c.askLive, time.Now
	c.slow.limit = o.drain
	prepareProcess(o.rt)
	return c, nil
}

func (c *Consumer) log() *slog.Logger { return c.rt.Logger().With("consumer", c.set.group) }

// component is what readiness calls the consumer.
func (c *Consumer) component() string { return "consumer " + c.set.group }

// baseGroup is <group> as on the wire.
func (c *Consumer) baseGroup() string { return qualified(c.set.namespace, c.set.group) }

// consumption is what rules say of the consumer and a topic. They name both as the application does, without its namespace.
func (c *Consumer) consumption(rules graylib.Rules, topic string) graylib.Consumption {
	ns := c.set.namespace
	return rules.Consumption(c.rt.Identity().Service, unqualified(ns, c.set.group), unqualified(ns, topic))
}

// filter says where a topic's messages are filtered.
func (c *Consumer) filter(topic string) graylib.Filter {
	return c.consumption(c.rt.Rules(), topic).Filter
}

// Subscribe adds a topic, before Start, or replaces it. The selector takes a tag list or an SQL92 expression (package sql92); an
// error wraps [ErrInvalidOption] and quotes what is wrong. In <group> the broker evaluates it, in the others the client.
func (c *Consumer) Subscribe(topic string, selector consumer.MessageSelector,
	f func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)) error {
	s, err := newSubscription(qualified(c.set.namespace, topic), selector, f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != created {
		return fmt.Errorf("%w: subscribe to %q before Start", ErrState, topic)
	}
	c.subs = slices.DeleteFunc(c.subs, func(old *subscription) bool { return old.topic == s.topic })
	c.subs = append(c.subs, s)
	return nil
}

// Unsubscribe removes a topic. After Start this instance gives the topic's queues up (where it broadcasts with the client's next
// rebalance, 20 s at most), and then is another member of its groups, one that doesn't want the topic: in a lane's group its queues
// go to who does. In <group> all instances should do the same. With the last topic the consumer leaves its groups.
func (c *Consumer) Unsubscribe(topic string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := qualified(c.set.namespace, topic)
	c.subs = slices.DeleteFunc(slices.Clone(c.subs), func(s *subscription) bool { return s.topic == name })
	for _, m := range c.joined {
		if err := m.unsubscribe(name); err != nil {
			return err
		}
	}
	if c.keeper != nil {
		poke(c.keeper.changed)
	}
	return nil
}

// forgo has a member that was joined meanwhile give up what the application unsubscribed from since; c.mu is held.
func (c *Consumer) forgo(m joined, subs []*subscription) error {
	for _, s := range subs {
		if !slices.Contains(c.subs, s) {
			if err := m.unsubscribe(s.topic); err != nil {
				return err
			}
		}
	}
	return nil
}

// Start joins the groups of this instance: it checks that the brokers are reachable and take the filters, creates topics
// and groups that don't exist, and sets first offsets. After an error nothing runs, and Start may be called again. With
// [WithBackgroundStart] it goes on trying instead.
//
// An instance whose lane isn't listed joins nothing, says so in the log, and joins when the lane is listed. One that has a tag
// and whose kill switch is thrown joins nothing ([graylib.Runtime.Idle]).
func (c *Consumer) Start() error {
	c.mu.Lock()
	if c.state != created {
		c.mu.Unlock()
		return fmt.Errorf("%w: the consumer was started before", ErrState)
	}
	if len(c.subs) == 0 {
		c.mu.Unlock()
		return fmt.Errorf("%w: subscribe to a topic before Start", ErrState)
	}
	c.state = starting
	k := newKeeper(c)
	c.keeper = k
	c.unlist = c.rt.AddConsumer(c.State)
	c.mu.Unlock()

	err := k.start()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state == stopped: // Shutdown came meanwhile
		return fmt.Errorf("%w: the consumer was shut down", ErrState)
	case err != nil:
		c.state, c.keeper = created, nil
		c.unlist()
		return err
	}
	c.state = running
	return nil
}

// Shutdown leaves all groups. No message begins any more; those under way may finish within the drain limit, and offsets
// are committed. An error wraps [ErrDrain] where handlers were still running then: their messages are delivered again. Further
// calls wait for the first one's end and return its error.
func (c *Consumer) Shutdown() error {
	c.mu.Lock()
	if down := c.down; down != nil {
		c.mu.Unlock()
		<-down.over
		return down.err
	}
	down := &shutdown{over: make(chan struct{})}
	c.down, c.state = down, stopped
	k, unlist := c.keeper, c.unlist
	c.mu.Unlock()
	defer close(down.over)
	down.err = c.shutdown(k, unlist)
	return down.err
}

// shutdown is what the first Shutdown does.
func (c *Consumer) shutdown(k *keeper, unlist func()) error {
	if k != nil {
		k.stop()
	}
	n := c.leaveAll()
	if k != nil {
		k.leaves.Wait()
		n += int(k.left.Load())
	}
	if c.lanes != nil { // the keeper, which made it, has ended
		c.lanes.close()
	}
	if unlist != nil {
		unlist()
	}
	c.rt.SetReady(c.component(), "shut down")
	if c.set.trace != nil && !c.broadcasting() {
		c.set.trace.Close()
	}
	_ = c.api.Close()
	if n > 0 {
		return fmt.Errorf("%w after %v: %d of consumer %q", ErrDrain, c.opts.drain, n, c.set.group)
	}
	return nil
}

// leaveAll leaves all groups at once and returns the number of handlers that were still running.
func (c *Consumer) leaveAll() int {
	c.mu.Lock()
	members := c.joined
	c.joined = nil
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.drain)
	defer cancel()
	for _, m := range members {
		m.close()
	}
	left := make([]int, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { left[i] = m.leave(ctx) })
	}
	wg.Wait()
	n := 0
	for _, l := range left {
		n += l
	}
	return n
}

// Suspend stops taking messages from the brokers, in all groups. What was taken is still handled. Unlike the client's own, it is
// free of data races.
func (c *Consumer) Suspend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspended = true
	for _, m := range c.joined {
		m.suspend()
	}
}

// Resume goes on after Suspend.
func (c *Consumer) Resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspended = false
	for _, m := range c.joined {
		m.unsuspend()
	}
}

// GetOffsetDiffMap returns, by topic, how many messages of this instance's queues are not consumed yet, summed over its
// groups. Messages that a group's filter leaves out count until it has passed them.
func (c *Consumer) GetOffsetDiffMap() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := make(map[string]int64)
	for _, m := range c.joined {
		m.lag(sum)
	}
	return sum
}

// Counts returns how many messages were handled and skipped, and why, since the start.
func (c *Consumer) Counts() []Count { return c.counts.list() }

// Groups returns the groups that the consumer is a member of now.
func (c *Consumer) Groups() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make([]string, 0, len(c.joined))
	for _, m := range c.joined {
		if !slices.Contains(names, m.group()) { // a member that is about to leave, and the one that takes its place
			names = append(names, m.group())
		}
	}
	return names
}

// laneLive tells whether a lane has an instance that consumes a topic: by the list of its group, which this consumer follows while
// it stands in, else by asking.
func (c *Consumer) laneLive(tag graylib.Tag, topic string) bool {
	if c.broadcasting() {
		return c.broadcastLive(tag)
	}
	c.mu.Lock()
	list := c.joined
	c.mu.Unlock()
	for _, j := range list {
		if m, ok := j.(*laneMember); ok && m.place.kind == kindLane && m.place.lane.Tag == tag {
			return m.live(topic)
		}
	}
	return c.live.consumer(laneTopic{tag, topic})
}
