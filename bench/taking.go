package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
)

// takeLimit bounds the consumption of one backlog.
const takeLimit = 2 * time.Minute

// taking compares the client's consumer with graylib's, for bodies of one size: each slice is a new group that consumes a
// backlog with handlers that work for so long, or do nothing. With floors the client's own consumers take part that have the
// same filters: what the broker does for those, no wrapper can save.
func (b *messageBench) taking(ctx context.Context, size int, work time.Duration, floors bool, e messageEffort) (out sized, err error) {
	producer, err := b.grayProducer()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, producer.Shutdown()) }()
	untagged, err := b.topic(ctx)
	if err != nil {
		return out, err
	}
	tagged, err := b.topic(ctx)
	if err != nil {
		return out, err
	}
	for topic, ctx := range map[string]context.Context{untagged: ctx, tagged: taggedContext(ctx)} {
		if err := b.fill(ctx, producer, topic, size, e.backlog); err != nil {
			return out, err
		}
	}
	type contestant struct {
		name  string
		topic string
		goal  bool
		open  func() (taker, error)
	}
	contestants := []contestant{
		{"the client's consumer", untagged, false, func() (taker, error) { return b.bareConsumers("") }},
		{"graylib, untagged, in <group>", untagged, true, func() (taker, error) { return b.grayConsumer(graylib.Untagged, graylib.FilterServer) }},
		{"graylib, tagged, in a lane's group", tagged, true, func() (taker, error) { return b.grayConsumer(benchTag, graylib.FilterServer) }},
	}
	if floors {
		property := graylib.MessageKeys.Tag
		untaggedOnly, taggedOnly, laneOnly := property+" IS NULL", property+" IS NOT NULL", property+" = '"+string(benchTag)+"'"
		contestants = append(contestants,
			contestant{"for comparison: the client's consumers, with the filters of a baseline instance's three groups", untagged, false,
				func() (taker, error) { return b.bareConsumers(untaggedOnly, laneOnly, taggedOnly) }},
			contestant{"for comparison: the client's consumer, with a lane's filter", tagged, false,
				func() (taker, error) { return b.bareConsumers(laneOnly) }})
	}
	out = sized{size: size, work: work, by: make([]chainResult, len(contestants))}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	handle := func() {}
	if work > 0 {
		c := startClock(ctx)
		handle = func() { c.sleep(work) }
	}
	for round := range e.rounds + 1 {
		for k := range contestants {
			i := (k + round) % len(contestants)
			c := contestants[i]
			p, err := c.open()
			if err != nil {
				return out, err
			}
			t, err := takeAll(ctx, p, c.topic, e.backlog, handle)
			if err != nil {
				return out, fmt.Errorf("%s: %w", c.name, err)
			}
			out.by[i].name, out.by[i].goal = c.name, c.goal
			if round > 0 { // in the first one the broker's pages become warm
				out.by[i].slices = append(out.by[i].slices, t)
			}
		}
	}
	return out, nil
}

// taker is what takes part of a consumer.
type taker interface {
	Subscribe(topic string, selector consumer.MessageSelector, f func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)) error
	Start() error
	Shutdown() error
}

// bareConsumers are consumers of the client's, each in a group of its own with an SQL92 expression, or with none ("").
func (b *messageBench) bareConsumers(filters ...string) (taker, error) {
	var all takers
	for _, filter := range filters {
		c, err := rocketmq.NewPushConsumer(b.consumerOptions()...)
		if err != nil {
			return nil, err
		}
		one := bareTaker{PushConsumer: c}
		if filter != "" {
			one.selector = consumer.MessageSelector{Type: consumer.SQL92, Expression: filter}
		}
		all = append(all, one)
	}
	return all, nil
}

// bareTaker is a consumer of the client's with a filter.
type bareTaker struct {
	rocketmq.PushConsumer
	selector consumer.MessageSelector
}

// takers are consumers in several groups.
type takers []bareTaker

// Subscribe implements taker: each one has its own filter.
func (l takers) Subscribe(topic string, _ consumer.MessageSelector, f func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)) error {
	for _, c := range l {
		if err := c.PushConsumer.Subscribe(topic, c.selector, f); err != nil {
			return err
		}
	}
	return nil
}

// Start implements taker.
func (l takers) Start() error {
	for _, c := range l {
		if err := c.Start(); err != nil {
			return err
		}
	}
	return nil
}

// Shutdown implements taker.
func (l takers) Shutdown() (err error) {
	for _, c := range l {
		err = errors.Join(err, c.PushConsumer.Shutdown())
	}
	return err
}

func (b *messageBench) consumerOptions() []consumer.Option {
	name := b.name("group")
	return []consumer.Option{
		consumer.WithGroupName(name), consumer.WithInstance(name),
		consumer.WithNsResolver(primitive.NewPassthroughResolver([]string{b.namesrv})),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}
}

func (b *messageBench) grayConsumer(tag graylib.Tag, filter graylib.Filter) (*grayrocketmq.Consumer, error) {
	rt, err := b.runtime("a", tag, filter)
	if err != nil {
		return nil, err
	}
	name := b.name("group")
	return grayrocketmq.OpenConsumer([]consumer.Option{
		consumer.WithGroupName(name), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, grayrocketmq.WithConsumerRuntime(rt))
}

// takeAll consumes a backlog of n messages. What is measured lies between a tenth and nine tenths of it: neither the start
// nor the end of the last queue, when the others have nothing left.
func takeAll(ctx context.Context, p taker, topic string, n int, handle func()) (t throughput, err error) {
	var taken atomic.Int64
	var mu sync.Mutex
	at := map[int64]struct {
		time time.Time
		cpu  time.Duration
	}{}
	from, to, all := int64(n/10), int64(n*9/10), int64(n)
	done := make(chan struct{})
	err = p.Subscribe(topic, consumer.MessageSelector{}, func(_ context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		handle()
		for range msgs {
			switch k := taken.Add(1); k {
			case from, to:
				mu.Lock()
				at[k] = struct {
					time time.Time
					cpu  time.Duration
				}{time.Now(), cpuTime()}
				mu.Unlock()
			case all:
				close(done)
			}
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return t, err
	}
	if err := p.Start(); err != nil {
		return t, err
	}
	limit := time.NewTimer(takeLimit)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		err = fmt.Errorf("%d of %d messages were consumed within %v", taken.Load(), n, takeLimit)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err = errors.Join(err, p.Shutdown()); err != nil {
		return t, err
	}
	mu.Lock()
	defer mu.Unlock()
	messages := float64(to - from)
	return throughput{messages / at[to].time.Sub(at[from].time).Seconds(), float64(at[to].cpu-at[from].cpu) / messages}, nil
}

// pulledShare is what a lane's consumer pulled, in proportion to its own messages.
type pulledShare struct {
	filter          graylib.Filter
	pulled, handled int64
	others          int // messages of the topic that aren't the lane's, to each one that is
}

func (s pulledShare) ratio() float64 { return float64(s.pulled) / float64(s.handled) }

// pulledShares has a lane's consumer consume a topic of which a quarter is the lane's, with the broker's filter and with its own.
func (b *messageBench) pulledShares(ctx context.Context, n int) (out []pulledShare, err error) {
	const others, size = 3, 1024
	topic, err := b.topic(ctx)
	if err != nil {
		return nil, err
	}
	producer, err := b.grayProducer()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, producer.Shutdown()) }()
	const each = 32
	own := 0
	for range max(1, n/each/(1+others)) { // mixed as they are sent: batches of one sort follow each other
		if err := b.fill(taggedContext(ctx), producer, topic, size, each); err != nil {
			return nil, err
		}
		if err := b.fill(ctx, producer, topic, size, others*each); err != nil {
			return nil, err
		}
		own += each
	}
	for _, filter := range []graylib.Filter{graylib.FilterServer, graylib.FilterClient} {
		c, err := b.grayConsumer(benchTag, filter)
		if err != nil {
			return nil, err
		}
		if _, err := takeAll(ctx, c, topic, own, func() {}); err != nil {
			return nil, err
		}
		share := pulledShare{filter: filter, others: others}
		for _, t := range c.State().Tallies {
			share.pulled += t.PulledBytes
			share.handled += t.HandledBytes
		}
		out = append(out, share)
	}
	return out, nil
}
