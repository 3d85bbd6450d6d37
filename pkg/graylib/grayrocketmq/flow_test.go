package grayrocketmq

import (
	"context"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/hooks"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"
)

func pull(t *testing.T, f *flow, mq *primitive.MessageQueue, offsets ...int64) {
	t.Helper()
	msgs := make([]*primitive.MessageExt, len(offsets))
	for i, o := range offsets {
		msgs[i] = &primitive.MessageExt{QueueOffset: o}
	}
	passed := false
	done := make(chan struct{})
	go func() { // a hook of a closed flow ends its goroutine
		defer close(done)
		got, err := f.hook(&hooks.FilterMessageContext{MQ: mq, Msg: msgs})
		passed = err == nil && len(got) == len(msgs)
	}()
	<-done
	if !passed {
		t.Fatal("the hook held messages back")
	}
}

func TestFlow(t *testing.T) {
	mq := primitive.MessageQueue{Topic: "T", BrokerName: "b", QueueId: 1}
	f := newFlow()
	pull(t, f, &mq, 10, 11, 13, 14, 15)
	end11, ok11 := f.begin(&mq, 11)
	end13, ok13 := f.begin(&mq, 13)
	if !ok11 || !ok13 {
		t.Fatal("an open flow let nothing begin")
	}
	end11.end()
	f.close()
	if _, ok := f.begin(&mq, 14); ok {
		t.Error("a closed flow let a message begin above all that had begun")
	}
	end10, ok := f.begin(&mq, 10)
	if !ok {
		t.Fatal("a closed flow held back a message below one that had begun: its offset could never be passed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := f.drain(ctx); got != 2 {
		t.Errorf("drain says %d handlers run, want 2", got)
	}
	end10.end()
	end13.end()
	if got := f.drain(t.Context()); got != 0 {
		t.Errorf("drain says %d handlers run, want 0", got)
	}
	ended := make(chan bool, 1)
	go func() {
		defer func() { ended <- true }()
		_, _ = f.hook(&hooks.FilterMessageContext{MQ: &mq})
		ended <- false
	}()
	if !<-ended {
		t.Error("the hook of a closed flow returned: the client would go on beyond the messages")
	}
}

// TestFlowLives: what the client makes anew of a queue is another life; what of the old one still runs is waited for.
func TestFlowLives(t *testing.T) {
	q := primitive.MessageQueue{Topic: "T", BrokerName: "b", QueueId: 1}
	first, second := q, q
	f := newFlow()
	pull(t, f, &first, 1, 2)
	old, _ := f.begin(&first, 2)
	pull(t, f, &second, 1, 2, 3)
	f.close()
	if _, ok := f.begin(&second, 1); ok {
		t.Error("nothing had begun in this life, and a message was let in")
	}
	if got := f.handlers(); got != 1 {
		t.Errorf("%d handlers run, want 1", got)
	}
	old.end()
	if got := f.drain(t.Context()); got != 0 {
		t.Errorf("drain says %d, want 0", got)
	}
}

func TestCounter(t *testing.T) {
	var c counter
	for range 3 {
		c.of("g", "gray", verdict{handle: true, reason: "lane"}).Add(1)
	}
	c.of("g", "N O", verdict{reason: "x"}).Add(1)
	c.of("g", "", verdict{reason: "x"}).Add(1)
	want := []Count{
		{Group: "g", Tag: "-", Reason: "x", N: 1},
		{Group: "g", Tag: "gray", Handled: true, Reason: "lane", N: 3},
		{Group: "g", Tag: "malformed", Reason: "x", N: 1},
	}
	if diff := cmp.Diff(want, c.list()); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	for i := range 2 * maxCounts {
		c.of("g", "t"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676)), verdict{reason: "lane"}).Add(1)
	}
	if got := len(c.list()); got > maxCounts+1 {
		t.Errorf("%d distinct counts, want at most %d", got, maxCounts+1)
	}
}
