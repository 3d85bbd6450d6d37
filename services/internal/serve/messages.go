package serve

import (
	"context"
	"strings"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/services/internal/config"
)

// ProducerOptions returns the options of the service's producer: group, name servers, credentials.
func (a *App) ProducerOptions() []producer.Option {
	return []producer.Option{
		producer.WithGroupName(config.Group(a.Config.Identity.Service)),
		producer.WithNsResolver(a.nameServers()),
		producer.WithCredentials(a.credentials()),
	}
}

// ConsumerOptions returns the options of the service's consumer: group, name servers, credentials. A new group begins with
// the oldest message, so that what was sent before the first start is not lost.
func (a *App) ConsumerOptions() []consumer.Option {
	return []consumer.Option{
		consumer.WithGroupName(config.Group(a.Config.Identity.Service)),
		consumer.WithNsResolver(a.nameServers()),
		consumer.WithCredentials(a.credentials()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}
}

func (a *App) nameServers() primitive.NsResolver {
	return primitive.NewPassthroughResolver(strings.FieldsFunc(a.Config.Gray.NamesrvAddr, func(c rune) bool { return c == ';' || c == ',' }))
}

func (a *App) credentials() primitive.Credentials {
	return primitive.Credentials{AccessKey: a.Config.Gray.RocketMQAccessKey, SecretKey: a.Config.Gray.RocketMQSecretKey}
}

// Grayscale tells whether messages are looked at: GRAY_MESSAGES is on.
func (a *App) Grayscale() bool { return !a.Runtime.Config().MessagesOff }

// ConsumeFrom adds a push consumer that has its subscriptions.
func (a *App) ConsumeFrom(c rocketmq.PushConsumer) {
	name := config.Group(a.Config.Identity.Service)
	a.Runtime.SetReady("consumer "+name, "not started yet")
	a.Consume(Consumer{
		Name: name,
		Start: func() error {
			if err := c.Start(); err != nil {
				return err
			}
			if !a.Grayscale() { // the client's own consumer says nothing of itself
				a.Runtime.SetReady("consumer "+name, "")
			}
			return nil
		},
		Stop: func(context.Context) error { return c.Shutdown() }, // bounded by the consumer's drain limit
	})
}
