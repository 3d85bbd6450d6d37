package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

// told notes what it is told, and puts a trace of its own on what is sent.
type told struct {
	graylib.NoTelemetry
	mu    sync.Mutex
	lines []string
}

const toldTrace = "00-ffffffffffffffffffffffffffffffff-2222222222222222-01"

func (r *told) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *told) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

func (r *told) Sent(ctx context.Context, s graylib.Sending) (context.Context, func(graylib.Outcome)) {
	r.note("send %s %d", s.Topic, s.Messages)
	return graylib.WithTrace(ctx, toldTrace, ""), func(o graylib.Outcome) {
		r.note("sent %v failed %v", o.Messages, o.Failed())
	}
}

func (r *told) Consumed(ctx context.Context, c graylib.Consuming) (context.Context, func(graylib.Outcome)) {
	r.note("consume %s %s %s tag %s delivery %d of %s reason %s hop %s", c.Group, c.Topic, c.ID, c.Tag, c.Deliveries, c.Queue, c.Reason, c.Hop.Reason)
	return graylib.WithTrace(ctx, toldTrace, ""), func(o graylib.Outcome) { r.note("consumed %s failed %v", o.Result, o.Failed()) }
}

func (r *told) Skipped(c graylib.Consuming) {
	r.note("skip %s tag %s reason %s", c.Group, c.Tag, c.Reason)
}

// fakeProducer answers as it is told, and notes the trace that each message bears.
type fakeProducer struct {
	rocketmq.Producer
	err    error
	traces []string
}

func (p *fakeProducer) sent(msgs []*primitive.Message) (*primitive.SendResult, error) {
	for i, m := range msgs {
		if m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex) == "" {
			m.WithProperty(primitive.PropertyUniqueClientMessageIdKeyIndex, fmt.Sprint("ID", i))
		}
		p.traces = append(p.traces, m.GetProperty("traceparent"))
	}
	return &primitive.SendResult{}, p.err
}

func (p *fakeProducer) SendSync(_ context.Context, msgs ...*primitive.Message) (*primitive.SendResult, error) {
	return p.sent(msgs)
}

func (p *fakeProducer) SendOneWay(_ context.Context, msgs ...*primitive.Message) error {
	_, err := p.sent(msgs)
	return err
}

func (p *fakeProducer) Request(_ context.Context, _ time.Duration, m *primitive.Message) (*primitive.Message, error) {
	_, err := p.sent([]*primitive.Message{m})
	return m, err
}

var errTooLate = errors.New("no answer in time")

// SendAsync refuses, or answers later: with errTooLate where err is that.
func (p *fakeProducer) SendAsync(ctx context.Context, f func(context.Context, *primitive.SendResult, error), msgs ...*primitive.Message) error {
	result, err := p.sent(msgs)
	if err != nil && !errors.Is(err, errTooLate) {
		return err
	}
	go f(ctx, result, err)
	return nil
}

// TestTelemetryOfSends: each kind of send begins and ends once, and its messages bear the tracer's trace.
func TestTelemetryOfSends(t *testing.T) {
	refused := errors.New("refused")
	async := func(ctx context.Context, p rocketmq.Producer, m ...*primitive.Message) error {
		answered := make(chan error, 1)
		err := p.SendAsync(ctx, func(_ context.Context, _ *primitive.SendResult, err error) { answered <- err }, m...)
		if err != nil {
			return err
		}
		return <-answered
	}
	for _, tc := range []struct {
		name string
		send func(context.Context, rocketmq.Producer, ...*primitive.Message) error
	}{
		{"sync", func(ctx context.Context, p rocketmq.Producer, m ...*primitive.Message) error {
			_, err := p.SendSync(ctx, m...)
			return err
		}},
		{"one-way", func(ctx context.Context, p rocketmq.Producer, m ...*primitive.Message) error {
			return p.SendOneWay(ctx, m...)
		}},
		{"async", async},
		{"request", func(ctx context.Context, p rocketmq.Producer, m ...*primitive.Message) error {
			_, err := p.Request(ctx, time.Second, m[0])
			return err
		}},
	} {
		for _, fail := range []error{nil, refused, errTooLate} {
			t.Run(fmt.Sprint(tc.name, " ", fail), func(t *testing.T) {
				r, client := &told{}, &fakeProducer{err: fail}
				rt, err := graylib.New(graylib.Identity{Service: "c"}, graylib.WithTelemetry(r))
				if err != nil {
					t.Fatal(err)
				}
				p, err := WrapProducer(client, nil, WithProducerRuntime(rt))
				if err != nil {
					t.Fatal(err)
				}
				m := primitive.NewMessage("T", []byte("x"))
				err = tc.send(graylib.WithTag(t.Context(), "gray"), p, m)
				if !errors.Is(err, fail) {
					t.Errorf("error %v, want %v", err, fail)
				}
				want := []string{"send T 1", fmt.Sprintf("sent [{ID0 T gray}] failed %v", fail != nil)}
				if diff := cmp.Diff(want, r.take()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{toldTrace}, client.traces); diff != "" {
					t.Errorf("traces (-want +got):\n%s", diff)
				}
				if got := m.GetProperty("traceparent"); got != "" {
					t.Errorf("the application's message was left with trace %q", got)
				}
			})
		}
	}
}

// TestTelemetryOfARefusedSend: a message with a reserved property is never sent, which is an end too.
func TestTelemetryOfARefusedSend(t *testing.T) {
	r := &told{}
	rt, err := graylib.New(graylib.Identity{Service: "c"}, graylib.WithTelemetry(r))
	if err != nil {
		t.Fatal(err)
	}
	p, err := WrapProducer(&fakeProducer{}, nil, WithProducerRuntime(rt))
	if err != nil {
		t.Fatal(err)
	}
	m := primitive.NewMessage("T", nil)
	m.WithProperty("gray_tag", "gray")
	if _, err := p.SendSync(t.Context(), m, m); !errors.Is(err, ErrReservedProperty) {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff([]string{"send T 2", "sent [] failed true"}, r.take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTelemetryOfConsumption is what a member tells of messages that its handler takes, fails on, or never sees.
func TestTelemetryOfConsumption(t *testing.T) {
	r := &told{}
	rt, err := graylib.New(graylib.Identity{Service: "a"}, graylib.WithTelemetry(r), graylib.WithRules(newRuleSource(listed(graylib.ModeAuto, "gray"))))
	if err != nil {
		t.Fatal(err)
	}
	trace := ""
	m := newWorker(&Consumer{rt: rt, opts: consumerOptions{drain: DefaultDrain}, set: consumerSettings{model: consumer.Clustering}}, place{group: "g", kind: kindBase}, nil)
	s, err := newSubscription("T", consumer.MessageSelector{}, func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		trace = graylib.TraceParentFrom(ctx)
		switch string(msgs[0].Body) {
		case "retry":
			return consumer.ConsumeRetryLater, nil
		case "panic":
			panic("handler")
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	consumed := "consume g T ID tag - delivery 1 of b/0 reason untagged hop baseline"
	for _, tc := range []struct {
		body, tag string
		want      []string
	}{
		{"fine", "", []string{consumed, "consumed success failed false"}},
		{"retry", "", []string{consumed, "consumed retry failed true"}},
		{"panic", "", []string{consumed, "consumed panic failed true"}},
		{"fine", "gray", []string{"skip g tag gray reason guard: not this group's"}},
	} {
		msg := &primitive.MessageExt{MsgId: "ID", StoreTimestamp: time.Now().UnixMilli()}
		msg.Topic, msg.Body, msg.Queue = "T", []byte(tc.body), &primitive.MessageQueue{Topic: "T", BrokerName: "b"}
		if tc.tag != "" {
			msg.WithProperty("gray_tag", tc.tag)
		}
		trace = ""
		_, _ = m.take(t.Context(), []delivery{{msg: msg, sub: s, v: m.decide(s, msg, msg.Queue)}}, msg.Queue, nil)
		if diff := cmp.Diff(tc.want, r.take()); diff != "" {
			t.Errorf("%s tag %q (-want +got):\n%s", tc.body, tc.tag, diff)
		}
		if tc.tag == "" && trace != toldTrace {
			t.Errorf("%s: the handler's trace is %q", tc.body, trace)
		}
	}
}
