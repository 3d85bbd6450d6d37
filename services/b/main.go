// B is the middle of the chain: it calls C by the protocol that it was called by.
package main

import (
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/services/internal/next"
	"github.com/graychain/graychain/services/internal/serve"
)

func main() { serve.Main(service, wire) }

// wire puts B together.
func wire(app *serve.App) error {
	toC, err := c.NewClient("c", client.WithSuite(graykitex.NewClientSuite()), client.WithRPCTimeout(app.Config.CallTimeout))
	if err != nil {
		return err
	}
	overHTTP, err := grayhertz.WrapClient(app.HTTPClient())
	if err != nil {
		return err
	}
	h := &handler{c: toC, http: next.HTTP{Client: overHTTP, Timeout: app.Config.CallTimeout}, answer: app.Answer, log: app.Log}

	web, err := app.HTTPServer()
	if err != nil {
		return err
	}
	grayhertz.WrapServer(web, grayhertz.WithAdvertise(app.Config.HTTPAddr()), grayhertz.WithSettle(app.Config.Settle))
	web.GET("/b", h.overHTTP)
	app.ServeHTTP(web)

	options, err := app.RPCOptions()
	if err != nil {
		return err
	}
	gray := graykitex.NewServerSuite(graykitex.WithAdvertise(app.Config.RPCAddr()), graykitex.WithSettle(app.Config.Settle))
	app.ServeRPC(b.NewServer(h, append(options, server.WithSuite(gray))...))
	return nil
}
