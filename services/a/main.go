// A is the head of the chain: it calls B, and consumes what C sends.
package main

import (
	"github.com/cloudwego/kitex/client"

	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/services/internal/next"
	"github.com/graychain/graychain/services/internal/serve"
)

func main() {
	serve.Main(service, func(app *serve.App) error {
		h, err := wire(app)
		if err != nil {
			return err
		}
		return subscribe(app, h)
	})
}

// wire puts A together, but for its messages.
func wire(app *serve.App) (*handler, error) {
	toB, err := b.NewClient("b", client.WithSuite(graykitex.NewClientSuite()), client.WithRPCTimeout(app.Config.CallTimeout))
	if err != nil {
		return nil, err
	}
	overHTTP, err := grayhertz.WrapClient(app.HTTPClient())
	if err != nil {
		return nil, err
	}
	h := &handler{b: toB, http: next.HTTP{Client: overHTTP, Timeout: app.Config.CallTimeout}, answer: app.Answer, log: app.Log}

	web, err := app.HTTPServer()
	if err != nil {
		return nil, err
	}
	grayhertz.WrapServer(web, grayhertz.WithAdvertise(app.Config.HTTPAddr()), grayhertz.WithSettle(app.Config.Settle))
	web.GET("/dubbo", h.rpc)
	web.GET("/rpc", h.rpc)
	web.GET("/stream", h.stream)
	web.GET("/a", h.overHTTP)
	app.ServeHTTP(web)
	return h, nil
}
