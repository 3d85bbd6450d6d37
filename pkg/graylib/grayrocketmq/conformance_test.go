package grayrocketmq

import (
	"context"
	"testing"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	d := conformance.Of("grayrocketmq")
	graylibtest.Run(t, graylibtest.Harness{
		Name: d.Name, Features: d.Features, Within: within, Open: openConformance,
		Options: []graylib.Option{graylib.WithConfig(graylib.Config{NamesrvAddr: testenv.Namesrv(t)})},
	})
}

func openConformance(t testing.TB, s *graylibtest.Setup) graylibtest.Link {
	w := newWorld(t.(*testing.T), s.Rules)
	w.createTopic(4)
	for _, callee := range s.Callees {
		k := newSink()
		k.act = func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
			if _, err := callee.Handle(ctx, string(m.Body)); err != nil {
				return consumer.ConsumeRetryLater
			}
			return consumer.ConsumeSuccess
		}
		w.consumer(callee.Runtime.Identity().Tag, k, WithConsumerRuntime(callee.Runtime))
	}
	marked := w.producer("", WithProducerRuntime(s.Caller))
	bare, err := rocketmq.NewProducer(producer.WithNsResolver(primitive.NewPassthroughResolver([]string{w.namesrv})),
		producer.WithGroupName("P-bare-"+w.group), producer.WithInstanceName("bare-"+w.group))
	if err != nil {
		t.Fatal(err)
	}
	if err := bare.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bare.Shutdown() })
	message := func(payload string) *primitive.Message {
		m := primitive.NewMessage(w.topic, []byte(payload)).WithKeys([]string{payload})
		m.WithProperty(graylibtest.SourceKey, payload)
		return m
	}
	return graylibtest.Link{
		Call: func(ctx context.Context, payload string) (string, error) {
			_, err := marked.SendSync(ctx, message(payload))
			return "", err
		},
		Raw: func(ctx context.Context, _ int, wire map[string][]string, payload string) (map[string]string, error) {
			m := message(payload)
			for k, values := range wire {
				m.WithProperty(k, values[0])
			}
			_, err := bare.SendSync(ctx, m)
			return nil, err
		},
	}
}
