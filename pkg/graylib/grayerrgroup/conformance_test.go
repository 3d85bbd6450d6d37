package grayerrgroup_test

import (
	"context"
	"testing"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/pkg/graylib/grayerrgroup"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	d := conformance.Of("grayerrgroup")
	graylibtest.Run(t, graylibtest.Harness{Name: d.Name, Features: d.Features, Open: graylibtest.InProcess(true,
		func(_ testing.TB, ctx context.Context, task func(context.Context)) {
			g, ctx := grayerrgroup.WithContext(ctx)
			g.Go(ctx, func(ctx context.Context) error {
				task(ctx)
				return nil
			})
			_ = g.Wait() // what the task says is its answer
		})})
}
