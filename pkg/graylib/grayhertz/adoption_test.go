package grayhertz_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
)

func TestAppliedTwice(t *testing.T) {
	m := newMesh(t)
	rt := m.runtime("b", "")
	m.serve(rt, func(h *server.Hertz) {
		grayhertz.WrapServer(h, grayhertz.WithRuntime(rt))
		h.GET("/twice", func(ctx context.Context, c *app.RequestContext) { c.JSON(200, saw(ctx, rt, c)) })
	})
	caller := m.runtime("a", "")
	c := m.client(caller)
	c, err := grayhertz.WrapClient(c, nil, grayhertz.WithRuntime(caller))
	if err != nil {
		t.Fatal(err)
	}
	ctx, arrival := caller.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
	if got := get(ctx, t, c, "http://b/twice"); got.Request != "gray" {
		t.Errorf("%+v", got)
	}
	if hops, _ := arrival.Chain(); len(hops) != 2 {
		t.Errorf("%d hops of two services: %+v", len(hops), hops)
	}
	if n := len(m.registry.Instances("b")); n != 1 {
		t.Errorf("registered %d times", n)
	}
}

func TestBrokenDefaultIsAClearError(t *testing.T) {
	graylib.SetDefault(nil)
	t.Cleanup(func() { graylib.SetDefault(nil) })
	t.Setenv(graylib.EnvService, "a")
	t.Setenv(graylib.EnvTag, "Gray!")
	h := grayhertz.WrapServer(server.New(server.WithListener(listener(t))))
	if err := h.Run(); !errors.Is(err, graylib.ErrMalformedTag) || !strings.Contains(err.Error(), `GRAY_TAG`) || !strings.Contains(err.Error(), `"Gray!"`) {
		t.Errorf("Run: %v", err)
	}
	c, err := client.NewClient()
	if _, err := grayhertz.WrapClient(c, err); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("WrapClient: %v", err)
	}
	c.Use(grayhertz.ClientMiddleware())
	if _, _, err := c.Get(context.Background(), nil, "http://b/echo", config.WithSD(true)); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("first call: %v", err)
	}
	if _, err := grayhertz.WrapClient(nil, io.EOF); !errors.Is(err, io.EOF) {
		t.Errorf("an error of NewClient became %v", err)
	}
	if _, err := grayhertz.Register(); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("Register: %v", err)
	}
}

// TestStopDrains stops a server while a slow request and a slow streamed answer are on their way, and an idle connection is kept.
