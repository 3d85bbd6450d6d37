package graylib_test

import (
	"context"
	"testing"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	for name, start := range map[string]func(testing.TB, context.Context, func(context.Context)){
		"graylib.Go": func(_ testing.TB, ctx context.Context, task func(context.Context)) { graylib.Go(ctx, task) },
		"graylib.Detach": func(_ testing.TB, ctx context.Context, task func(context.Context)) {
			graylib.Go(graylib.Detach(ctx), task)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := conformance.Of(name)
			graylibtest.Run(t, graylibtest.Harness{Name: d.Name, Features: d.Features, Open: graylibtest.InProcess(false, start)})
		})
	}
}
