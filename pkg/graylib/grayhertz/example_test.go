package grayhertz_test

import (
	"context"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"

	"github.com/graychain/graychain/pkg/graylib/grayhertz"
)

// A server that registers, and its client of service b, by the process-wide default.
func Example() {
	c, err := grayhertz.WrapClient(client.NewClient())
	if err != nil {
		panic(err)
	}
	h := grayhertz.WrapServer(server.Default(server.WithHostPorts(":20001")))
	h.GET("/a", func(ctx context.Context, rc *app.RequestContext) {
		status, body, err := c.Get(ctx, nil, "http://b/b", config.WithSD(true))
		if err != nil {
			rc.String(502, "%s", err.Error())
			return
		}
		rc.Data(status, "text/plain", body)
	})
	h.Spin()
}
