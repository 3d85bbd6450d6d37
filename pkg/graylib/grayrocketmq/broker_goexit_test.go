package grayrocketmq

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestBrokerGoexit: a handler that ends its goroutine has failed to handle the message, which is delivered again; those pulled
// with it, and those behind them, are handled once.
func TestBrokerGoexit(t *testing.T) {
	for name, client := range map[string][]consumer.Option{
		"at once":    nil,
		"in order":   {consumer.WithConsumerOrder(true), consumer.WithSuspendCurrentQueueTimeMillis(10)},
		"in batches": {consumer.WithConsumeMessageBatchMaxSize(4)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeAuto, "gray"))
			w.createTopic(1)
			s := newSink()
			ended := make(chan string, 1)
			var once atomic.Bool
			s.act = func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
				if once.CompareAndSwap(false, true) {
					ended <- m.MsgId
					runtime.Goexit()
				}
				return consumer.ConsumeSuccess
			}
			start(t, w.open("gray", s, nil, client))
			ids := w.send(w.producer(""), "gray", 100) // more than a span
			first := <-ended
			eventually(t, "all messages are handled, and the first one again", func() bool { return s.all(ids) && s.times(first) > 1 })
			for _, id := range ids {
				if n := s.times(id); n > 1 && name == "at once" && id != first {
					t.Errorf("message %s was handled %d times, want once", id, n)
				}
			}
		})
	}
}
