package handoffbench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
)

// senders send at once: so many times what a slow broker leaves to one of them.
const senders = 16

// sent is a message that the broker has acknowledged.
type sent struct{ id string }

// load sends messages of the lane at a steady rate: what is late is sent at once, so that the rate is kept on average.
type load struct {
	producer rocketmq.Producer
	topic    string
	began    time.Time
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu     sync.Mutex
	list   []sent
	failed error
}

// startLoad begins to send. It goes on, whatever becomes of ctx, until the load is cancelled.
func startLoad(ctx context.Context, rt *graylib.Runtime, topic, group string, perSecond int) (*load, error) {
	p, err := grayrocketmq.OpenProducer([]producer.Option{producer.WithGroupName(group)}, grayrocketmq.WithProducerRuntime(rt))
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("start the producer: %w", err)
	}
	ctx, cancel := context.WithCancel(graylib.WithTag(context.WithoutCancel(ctx), lane))
	l := &load{producer: p, topic: topic, cancel: cancel}
	// One alone first: the client refuses those that come while it asks for the route for the first time.
	r, err := p.SendSync(ctx, primitive.NewMessage(topic, []byte("handoff")))
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("send: %w", err), p.Shutdown())
	}
	l.list, l.began = []sent{{r.MsgID}}, time.Now()
	every := time.Second * senders / time.Duration(perSecond)
	for i := range senders {
		next := l.began.Add(every * time.Duration(i) / senders)
		l.wg.Go(func() { l.send(ctx, next, every) })
	}
	return l, nil
}

func (l *load) send(ctx context.Context, next time.Time, every time.Duration) {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for ; ; next = next.Add(every) {
		if wait := time.Until(next); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		} else if ctx.Err() != nil {
			return
		}
		r, err := l.producer.SendSync(context.WithoutCancel(ctx), primitive.NewMessage(l.topic, []byte("handoff")))
		l.mu.Lock()
		switch {
		case err == nil:
			l.list = append(l.list, sent{r.MsgID})
		case l.failed == nil:
			l.failed = fmt.Errorf("send: %w", err)
		}
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// err returns what a send failed with.
func (l *load) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// stop ends the sending, and returns what was acknowledged and how long it was sent.
func (l *load) stop() ([]sent, time.Duration) {
	l.cancel()
	l.wg.Wait()
	took := time.Since(l.began)
	_ = l.producer.Shutdown()
	return l.list, took
}
