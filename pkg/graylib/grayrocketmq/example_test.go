package grayrocketmq_test

import (
	"context"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
)

// A producer and a consumer by the process-wide default: the client's own code, with another package's constructors.
func Example() {
	namesrv := []string{"127.0.0.1:9876"}
	p, err := grayrocketmq.NewProducer(producer.WithNameServer(namesrv), producer.WithGroupName("orders"))
	if err != nil {
		panic(err)
	}
	c, err := grayrocketmq.NewPushConsumer(consumer.WithNameServer(namesrv), consumer.WithGroupName("mails"))
	if err != nil {
		panic(err)
	}
	err = c.Subscribe("ORDERS", consumer.MessageSelector{}, func(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		// ctx carries the message's tag: calls made with it stay in the message's lane, and so do messages sent with it.
		for range msgs {
			if _, err := p.SendSync(ctx, primitive.NewMessage("MAILS", []byte("sent"))); err != nil {
				return consumer.ConsumeRetryLater, err
			}
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		panic(err)
	}
	if err := p.Start(); err != nil {
		panic(err)
	}
	if err := c.Start(); err != nil {
		panic(err)
	}
}
