package grayrocketmq

import (
	"fmt"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

// Defaults of a [Consumer].
const (
	// DefaultDrain is how long Shutdown waits for handlers (DESIGN.md, G6).
	DefaultDrain = 25 * time.Second
	// DefaultTopicQueues is the number of queues of a topic that is created: the client's own default for topics that its
	// producers create (DefaultTopicQueueNums).
	DefaultTopicQueues = 4
)

// ConsumerOption sets one thing of a [Consumer].
type ConsumerOption func(*consumerOptions)

type consumerOptions struct {
	rt         *graylib.Runtime
	background bool
	drain      time.Duration
	create     bool
	queues     int
	guard      func(*graylib.Runtime) (*idempotency.Guard, error) // nil: messages that come again are handled again
	settle     func(client rocketmq.PushConsumer)                 // for tests: called between a client's start and its first rebalance
}

// WithConsumerRuntime sets the runtime. The default is the process-wide one.
func WithConsumerRuntime(rt *graylib.Runtime) ConsumerOption {
	return func(o *consumerOptions) { o.rt = rt }
}

// WithBackgroundStart makes Start return at once, with nil, where the name server, the broker or the rules aren't there
// yet: the process is not ready and says why ([graylib.Runtime.SetReady]), and the consumer starts as soon as it can.
// Settings that are wrong are errors of Start all the same.
func WithBackgroundStart() ConsumerOption { return func(o *consumerOptions) { o.background = true } }

// WithDrain sets how long Shutdown, leaving a group and giving a queue wait for handlers. Where a consumer broadcasts it must be less
// than the client's ConsumeTimeout (15 minutes where not set), which sends back what still runs.
func WithDrain(d time.Duration) ConsumerOption { return func(o *consumerOptions) { o.drain = d } }

// WithTopicQueues sets the number of queues of topics that are created.
func WithTopicQueues(n int) ConsumerOption { return func(o *consumerOptions) { o.queues = n } }

// WithoutCreation makes Start fail where a topic or a group doesn't exist, rather than create it ([ErrNoTopics],
// [ErrNoGroups]).
func WithoutCreation() ConsumerOption { return func(o *consumerOptions) { o.create = false } }

func consumerOptionsOf(opts []ConsumerOption) (consumerOptions, error) {
	o := consumerOptions{drain: DefaultDrain, create: true, queues: DefaultTopicQueues}
	for _, opt := range opts {
		opt(&o)
	}
	if o.drain <= 0 {
		return o, fmt.Errorf("%w: drain %v: want more than 0", ErrInvalidOption, o.drain)
	}
	if o.queues < 1 || o.queues > 1024 {
		return o, fmt.Errorf("%w: topic queues %d: want 1 to 1024", ErrInvalidOption, o.queues)
	}
	if o.rt == nil {
		rt, err := graylib.Default()
		if err != nil {
			return o, err
		}
		o.rt = rt
	}
	return o, nil
}

// defaultConsumeTimeout is the client's.
const defaultConsumeTimeout = 15 * time.Minute

// maxBatch is the client's limit of messages that a handler gets at once (push_consumer.go, validate).
const maxBatch = 1024

// check refuses settings that can't be kept apart by lanes, each by its name.
func (s consumerSettings) check(drain time.Duration) error {
	refuse := func(what string) error { return fmt.Errorf("%w: %s", ErrNotSupported, what) }
	switch {
	case s.group == "":
		return fmt.Errorf("%w: group %q: set consumer.WithGroupName", ErrInvalidOption, s.group)
	case s.model == consumer.BroadCasting && s.orderly:
		return refuse("consumer.WithConsumerOrder(true) with consumer.BroadCasting")
	case s.batch < 1 || s.batch > maxBatch:
		return fmt.Errorf("%w: consumer.WithConsumeMessageBatchMaxSize(%d): want 1 to %d", ErrInvalidOption, s.batch, maxBatch)
	case s.orderly && !s.autoCommit:
		return refuse("consumer.WithAutoCommit(false) in an ordered consumer")
	case s.hooks:
		return refuse("consumer.WithFilterMessageHook")
	}
	if longest := len(qualified(s.namespace, graylib.LaneGroup(s.group, ""))) + graylib.MaxTagLength; longest > maxGroup {
		return fmt.Errorf("%w: group %q: with a tag it would have up to %d bytes, at most %d are possible", ErrInvalidOption, s.group, longest, maxGroup)
	}
	// Of the suffixes a lane's, with the longest possible tag, is the longest: __tagged is shorter.
	if longest := len(retryTopic(qualified(s.namespace, graylib.LaneGroup(s.group, "")))) + graylib.MaxTagLength; s.model != consumer.BroadCasting && longest > remoting.MaxTopic {
		return fmt.Errorf("%w: group %q has %d bytes: with a tag its retry topic %s<group>_<tag> would have up to %d, at most %d are possible (the broker's message format V1)",
			ErrInvalidOption, s.group, len(s.group), retryPrefix, longest, remoting.MaxTopic)
	}
	timeout := s.timeout
	if timeout == 0 {
		timeout = defaultConsumeTimeout
	}
	if s.model == consumer.BroadCasting && timeout <= drain {
		return fmt.Errorf("%w: consumer.WithConsumeTimeout(%v): want more than the drain limit of %v", ErrInvalidOption, timeout, drain)
	}
	return nil
}

// since is the time of ConsumeFromTimestamp: the client's form, in local time as its default is made, half an hour ago
// where nothing is set.
func (s consumerSettings) since(now time.Time) (time.Time, error) {
	if s.timestamp == "" {
		return now.Add(-30 * time.Minute), nil
	}
	const form = "20060102150405"
	t, err := time.ParseInLocation(form, s.timestamp, time.Local)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: consumer.WithConsumeTimestamp(%q): want the form %s", ErrInvalidOption, s.timestamp, form)
	}
	return t, nil
}
