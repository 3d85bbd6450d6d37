package grayhertz_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// A service with a baseline and a lane, and requests of a caller with several tags.
func ExampleWrapClient() {
	registry := graylibtest.NewRegistry()
	runtime := func(service string, tag graylib.Tag) *graylib.Runtime {
		id := graylib.Identity{Service: service, Tag: tag}
		rt, err := graylib.New(id, graylib.WithRegistry(registry.As(id)), graylib.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			panic(err)
		}
		return rt
	}
	for _, tag := range []graylib.Tag{graylib.Untagged, "gray"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		h := grayhertz.WrapServer(server.New(server.WithListener(ln)), grayhertz.WithRuntime(runtime("b", tag)), grayhertz.WithSettle(0))
		h.GET("/b", func(ctx context.Context, c *app.RequestContext) {
			c.String(200, "b%s saw tag %s", tag, graylib.TagFrom(ctx))
		})
		go func() { _ = h.Run() }()
		defer func() { _ = h.Shutdown(context.Background()) }()
	}
	for deadline := time.Now().Add(10 * time.Second); len(registry.Instances("b")) < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}

	c, err := client.NewClient()
	if c, err = grayhertz.WrapClient(c, err, grayhertz.WithRuntime(runtime("a", ""))); err != nil {
		panic(err)
	}
	defer c.CloseIdleConnections()
	for _, tag := range []graylib.Tag{"", "gray", "blue"} {
		ctx := graylib.WithTag(context.Background(), tag) // a handler gets it from its server's adapter
		_, body, err := c.Get(ctx, nil, "http://b/b", config.WithSD(true))
		if err != nil {
			panic(err)
		}
		fmt.Printf("%-5s %s\n", tag, body)
	}
	// Output:
	// -     b- saw tag -
	// gray  bgray saw tag gray
	// blue  b- saw tag blue
}
