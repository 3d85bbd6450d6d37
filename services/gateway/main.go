// Gateway is where requests come in: it colours them, and hands them to the services by the first segment of the path.
package main

import (
	"github.com/cloudwego/hertz/pkg/app/client"

	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/services/internal/serve"
)

func main() { serve.Main(service, wire) }

// wire puts the gateway together.
func wire(app *serve.App) error {
	out, err := grayhertz.WrapClient(app.HTTPClient(client.WithResponseBodyStream(true), client.WithDisablePathNormalizing(true)))
	if err != nil {
		return err
	}
	in, err := app.HTTPServer()
	if err != nil {
		return err
	}
	grayhertz.WrapServer(in, grayhertz.WithEdge(),
		grayhertz.WithAdvertise(app.Config.HTTPAddr()), grayhertz.WithSettle(app.Config.Settle))

	h := &handler{
		client: out, services: map[string]string{"A": "a", "B": "b", "C": "c"},
		timeout: app.Config.CallTimeout, answer: app.Answer,
	}
	in.Any("/*path", h.proxy)
	app.ServeHTTP(in)
	return nil
}
