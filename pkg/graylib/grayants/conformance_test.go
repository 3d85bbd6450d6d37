package grayants_test

import (
	"context"
	"testing"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/pkg/graylib/grayants"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	pool, err := grayants.NewPool(20, quiet)
	if err != nil {
		t.Fatal(err)
	}
	release(t, pool)
	d := conformance.Of("grayants")
	graylibtest.Run(t, graylibtest.Harness{Name: d.Name, Features: d.Features, Open: graylibtest.InProcess(false,
		func(t testing.TB, ctx context.Context, task func(context.Context)) {
			if err := pool.Submit(ctx, task); err != nil {
				t.Error(err)
			}
		})})
}
