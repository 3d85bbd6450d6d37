package grayerrgroup_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayerrgroup"
	"github.com/graychain/graychain/pkg/graylib/internal/tasktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func submit(g *grayerrgroup.Group) tasktest.Submit {
	return func(ctx context.Context, task func(context.Context)) error {
		g.Go(ctx, func(ctx context.Context) error { task(ctx); return nil })
		return nil
	}
}

func TestGroup(t *testing.T) {
	for _, limit := range []int{-1, 1, 3} {
		t.Run(fmt.Sprint("limit=", limit), func(t *testing.T) {
			var g grayerrgroup.Group
			g.SetLimit(limit)
			tasktest.Run(t, submit(&g), false)
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWithContext(t *testing.T) {
	g, ctx := grayerrgroup.WithContext(graylib.WithTag(t.Context(), "gray"))
	failure := errors.New("no stock")
	g.Go(ctx, func(ctx context.Context) error {
		if tag := graylib.TagFrom(ctx); tag != "gray" {
			t.Errorf("a task has tag %q", tag)
		}
		return failure
	})
	g.Go(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }) // ends because the other one fails
	if err := g.Wait(); !errors.Is(err, failure) {
		t.Errorf("the group says %v", err)
	}
	if !errors.Is(context.Cause(ctx), failure) {
		t.Errorf("the context ended because of %v", context.Cause(ctx))
	}
}

func TestTryGo(t *testing.T) {
	g, ctx := grayerrgroup.WithContext(graylib.WithTag(t.Context(), "gray"))
	g.SetLimit(1)
	busy, seen := make(chan struct{}), graylib.Untagged
	if !g.TryGo(ctx, func(ctx context.Context) error { seen = graylib.TagFrom(ctx); <-busy; return nil }) {
		t.Fatal("the first task was refused")
	}
	if g.TryGo(ctx, func(context.Context) error { return nil }) {
		t.Error("a second task was taken")
	}
	close(busy)
	if err := g.Wait(); err != nil || seen != "gray" {
		t.Errorf("error %v, the task had tag %q", err, seen)
	}
}

func Example() {
	ctx := graylib.WithTag(context.Background(), "gray") // a handler gets it from its adapter
	g, ctx := grayerrgroup.WithContext(ctx)
	g.Go(ctx, func(ctx context.Context) error {
		fmt.Println(graylib.TagFrom(ctx))
		return nil
	})
	fmt.Println(g.Wait())
	// Output:
	// gray
	// <nil>
}

func BenchmarkGroup(b *testing.B) {
	var bare errgroup.Group
	var wrapped grayerrgroup.Group
	tasktest.Bench(b, func(task func()) error { bare.Go(func() error { task(); return nil }); return nil }, submit(&wrapped))
}
