package grayhertz

import (
	"context"
	"testing"

	"github.com/cloudwego/hertz/pkg/app"

	"github.com/graychain/graychain/pkg/graylib"
)

// BenchmarkServe is what the middleware adds to a request, without a tag and with all that the gateway gives a request.
func BenchmarkServe(b *testing.B) {
	rt, err := graylib.New(graylib.Identity{Service: "a"})
	if err != nil {
		b.Fatal(err)
	}
	serve := ServerMiddleware(WithRuntime(rt))
	for _, tagged := range []bool{false, true} {
		b.Run(map[bool]string{false: "untagged", true: "tagged"}[tagged], func(b *testing.B) {
			c := app.NewContext(0)
			c.Request.SetRequestURI("http://a:1/dubbo")
			for _, h := range [][2]string{{"Host", "a:1"}, {"User-Agent", "x"}, {"Accept", "application/json"}} {
				c.Request.Header.Set(h[0], h[1])
			}
			if tagged {
				c.Request.Header.Set(graylib.HTTPKeys.Tag, "gray")
				c.Request.Header.Set(graylib.HTTPKeys.RequestID, "0123456789abcdef0123456789abcdef")
				c.Request.Header.Set(graylib.HTTPKeys.TraceParent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
			}
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				c.SetIndex(-1)
				serve(ctx, c)
			}
		})
	}
}
