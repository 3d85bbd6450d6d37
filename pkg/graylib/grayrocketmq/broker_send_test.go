package grayrocketmq

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestSendKinds(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	base, gray := newSink(), newSink()
	w.consumer("", base)
	w.consumer("gray", gray)
	reporter := &graylibtest.Reporter{}
	p := w.producer("", WithProducerRuntime(w.runtime("c", "blue", reporter)))
	ctx := graylib.WithRequestID(graylib.WithTag(t.Context(), "gray"), "request-1")

	var seen sync.Map // body -> properties
	gray.act = func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		seen.Store(string(m.Body), m.GetProperties())
		return consumer.ConsumeSuccess
	}
	msg := func(body string) *primitive.Message { return primitive.NewMessage(w.topic, []byte(body)) }
	if _, err := p.SendSync(ctx, msg("sync")); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	async := msg("async")
	if err := p.SendAsync(ctx, func(_ context.Context, r *primitive.SendResult, err error) { answered <- err }, async); err != nil {
		t.Fatal(err)
	}
	if got := async.GetProperty(graylib.MessageKeys.Tag); got != "" {
		t.Errorf("the application's message keeps %s=%q", graylib.MessageKeys.Tag, got)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if err := p.SendOneWay(ctx, msg("one-way")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SendSync(ctx, msg("batch-1"), msg("batch-2"), msg("batch-3")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SendSync(ctx, msg("delayed").WithDelayTimeLevel(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SendSync(ctx, primitive.NewMessage(w.topic, bytes.Repeat([]byte("x"), 64<<10))); err != nil { // compressed
		t.Fatal(err)
	}
	bodies := []string{"sync", "async", "one-way", "batch-1", "batch-2", "batch-3", "delayed", strings.Repeat("x", 64<<10)}
	eventually(t, "the lane has them all", func() bool {
		return !slices.ContainsFunc(bodies, func(b string) bool { _, ok := seen.Load(b); return !ok })
	})
	for _, b := range bodies {
		v, _ := seen.Load(b)
		got := v.(map[string]string)
		b = b[:min(len(b), 10)]
		if got["gray_tag"] != "gray" || got["gray_env"] != "blue" || got["gray_request_id"] != "request-1" {
			t.Errorf("%s: tag %q, env %q, request %q; want gray, blue, request-1", b, got["gray_tag"], got["gray_env"], got["gray_request_id"])
		}
		if got[primitive.PropertyUniqueClientMessageIdKeyIndex] == "" {
			t.Errorf("%s: has no id of the client's", b)
		}
	}
	if n := len(base.got); n != 0 {
		t.Errorf("the baseline handled %d of the lane's messages", n)
	}
	ids := make(map[string]bool)
	for _, e := range reporter.Events() {
		if e.Kind != graylib.EventProduced || e.MessageTag != "gray" || e.RequestID != "request-1" || e.Topic != w.topic || e.Queue == "" {
			t.Errorf("wrong event: %+v", e)
		}
		ids[e.ID] = true
	}
	if want := len(bodies) - 1; len(ids) != want { // one-way sends are never acknowledged
		t.Errorf("%d ids reported as produced, want %d", len(ids), want)
	}
}

func TestTransaction(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	gray := newSink()
	w.consumer("gray", gray)
	reporter := &graylibtest.Reporter{}
	p, err := OpenTransactionProducer(listener{}, []producer.Option{producer.WithGroupName("P-" + w.group)},
		WithProducerRuntime(w.runtime("c", "gray", reporter)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Shutdown() }()
	ctx := graylib.WithTag(t.Context(), "gray")
	yes, err := p.SendMessageInTransaction(ctx, primitive.NewMessage(w.topic, []byte("commit")))
	if err != nil {
		t.Fatal(err)
	}
	no, err := p.SendMessageInTransaction(ctx, primitive.NewMessage(w.topic, []byte("roll back")))
	if err != nil {
		t.Fatal(err)
	}
	last := w.send(w.producer(""), "gray", 4)
	eventually(t, "the committed one is handled", func() bool { return gray.times(yes.MsgID) == 1 && gray.all(last) })
	gray.exactly(t, "rolled back", []string{no.MsgID}, 0)
	events := reporter.Events()
	if len(events) != 1 || events[0].ID != yes.MsgID {
		t.Errorf("reported as produced: %+v, want %s alone", events, yes.MsgID)
	}
}

// listener commits what says so, and sees the tag.
type listener struct{}

func (listener) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	if string(m.Body) == "commit" && m.GetProperty("gray_tag") == "gray" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (listener) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	return primitive.RollbackMessageState
}
