// C is the end of the chain: over RPC it sends a message, which A consumes.
package main

import (
	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
	"github.com/graychain/graychain/services/internal/serve"
)

func main() { serve.Main(service, wire) }

// wire puts C together.
func wire(app *serve.App) error {
	messages, err := grayrocketmq.NewProducer(app.ProducerOptions()...)
	if err != nil {
		return err
	}
	if err := messages.Start(); err != nil {
		return err
	}
	app.OnClose("producer", messages.Shutdown)
	return serveC(app, messages)
}

// serveC opens C's doors over a producer.
func serveC(app *serve.App, messages sender) error {
	h := &handler{producer: messages, topic: app.Config.Topic, self: app.Self, answer: app.Answer, log: app.Log}

	web, err := app.HTTPServer()
	if err != nil {
		return err
	}
	grayhertz.WrapServer(web, grayhertz.WithAdvertise(app.Config.HTTPAddr()), grayhertz.WithSettle(app.Config.Settle))
	web.GET("/c", h.overHTTP)
	app.ServeHTTP(web)

	options, err := app.RPCOptions()
	if err != nil {
		return err
	}
	gray := graykitex.NewServerSuite(graykitex.WithAdvertise(app.Config.RPCAddr()), graykitex.WithSettle(app.Config.Settle))
	app.ServeRPC(c.NewServer(h, append(options, server.WithSuite(gray))...))
	if app.Config.JobInterval > 0 {
		app.Job(h.job(app.Config.JobInterval))
	}
	return nil
}
