package main

import (
	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
	"github.com/graychain/graychain/services/internal/serve"
)

// subscribe lets A consume the topic: it starts as soon as name server, broker and rules are there.
func subscribe(app *serve.App, h *handler) error {
	c, err := open(app)
	if err != nil {
		return err
	}
	if err := c.Subscribe(app.Config.Topic, consumer.MessageSelector{}, h.consume); err != nil {
		return err
	}
	app.ConsumeFrom(c)
	return nil
}

// open is grayrocketmq.NewPushConsumer with the drain limit of the service.
func open(app *serve.App) (rocketmq.PushConsumer, error) {
	if !app.Grayscale() {
		return grayrocketmq.NewPushConsumer(app.ConsumerOptions()...)
	}
	return grayrocketmq.OpenConsumer(app.ConsumerOptions(),
		grayrocketmq.WithBackgroundStart(), grayrocketmq.WithDrain(app.Config.Drain))
}
