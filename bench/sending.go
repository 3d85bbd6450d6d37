package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// messageSenders send at once, each waiting for the broker's answer.
const messageSenders = 16

// sending compares the client's producer with graylib's, for bodies of one size.
func (b *messageBench) sending(ctx context.Context, size int, e messageEffort) (out sized, err error) {
	topic, err := b.topic(ctx)
	if err != nil {
		return out, err
	}
	bare, err := b.bareProducer()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, bare.Shutdown()) }()
	gray, err := b.grayProducer()
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, gray.Shutdown()) }()
	body := []byte(strings.Repeat("x", size))
	contestants := []struct {
		name string
		ctx  context.Context
		p    rocketmq.Producer
	}{
		{"the client's producer", ctx, bare},
		{"graylib, untagged", ctx, gray},
		{"graylib, tagged", taggedContext(ctx), gray},
	}
	out = sized{size: size, by: make([]chainResult, len(contestants))}
	for i, c := range contestants {
		out.by[i].name, out.by[i].goal = c.name, i > 0
		if _, err := c.p.SendSync(c.ctx, primitive.NewMessage(topic, body)); err != nil { // alone: the client refuses others while it asks for the route
			return out, err
		}
		if _, err := sendFor(c.ctx, c.p, topic, body, e.span/2); err != nil { // connections are made, pools are filled
			return out, err
		}
	}
	for round := range e.rounds {
		for k := range contestants {
			i := (k + round) % len(contestants)
			t, err := sendFor(contestants[i].ctx, contestants[i].p, topic, body, e.span)
			if err != nil {
				return out, err
			}
			out.by[i].slices = append(out.by[i].slices, t)
		}
	}
	return out, nil
}

// sendFor has all senders send for a span.
func sendFor(ctx context.Context, p rocketmq.Producer, topic string, body []byte, span time.Duration) (throughput, error) {
	var sent atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	began, cpu := time.Now(), cpuTime()
	until := began.Add(span)
	for range messageSenders {
		all.Go(func() {
			n := int64(0)
			defer func() { sent.Add(n) }()
			for time.Now().Before(until) {
				if _, err := p.SendSync(ctx, primitive.NewMessage(topic, body)); err != nil {
					once.Do(func() { failed = err })
					return
				}
				n++
			}
		})
	}
	all.Wait()
	n := float64(sent.Load())
	return throughput{n / time.Since(began).Seconds(), float64(cpuTime()-cpu) / n}, failed
}
