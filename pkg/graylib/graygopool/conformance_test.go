package graygopool_test

import (
	"context"
	"testing"

	"github.com/bytedance/gopkg/util/gopool"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/pkg/graylib/graygopool"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	pool := graygopool.NewPool(t.Name(), 20, gopool.NewConfig())
	d := conformance.Of("graygopool")
	graylibtest.Run(t, graylibtest.Harness{Name: d.Name, Features: d.Features, Open: graylibtest.InProcess(false,
		func(_ testing.TB, ctx context.Context, task func(context.Context)) { pool.Go(ctx, task) })})
}
