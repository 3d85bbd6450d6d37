// Orders is a service on Hertz that calls another one.
package main

import (
	"context"
	"net/http"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"

	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	_ "github.com/graychain/graychain/pkg/graylib/graynacos" // where services are found, and the rules
)

func main() {
	stock, err := grayhertz.WrapClient(client.NewClient())
	if err != nil {
		panic(err)
	}
	h := grayhertz.WrapServer(server.Default(server.WithHostPorts(":8080")))
	h.GET("/order", func(ctx context.Context, c *app.RequestContext) {
		status, body, err := stock.Get(ctx, nil, "http://stock/reserve", config.WithSD(true))
		if err != nil {
			c.String(http.StatusBadGateway, "%s", err.Error())
			return
		}
		c.Data(status, "text/plain", body)
	})
	h.Spin()
}
