package graygopool_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/bytedance/gopkg/util/gopool"
	"go.uber.org/goleak"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graygopool"
	"github.com/graychain/graychain/pkg/graylib/internal/tasktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func submit(p graygopool.Pool) tasktest.Submit {
	return func(ctx context.Context, task func(context.Context)) error {
		p.Go(ctx, task)
		return nil
	}
}

func TestPool(t *testing.T) {
	for _, size := range []int32{1, 3} {
		t.Run(fmt.Sprint("workers=", size), func(t *testing.T) {
			p := graygopool.NewPool(t.Name(), size, gopool.NewConfig())
			p.SetPanicHandler(func(context.Context, any) {})
			tasktest.Run(t, submit(p), true)
		})
	}
}

// The default pool logs panics; they are left out here.
func TestDefaultPool(t *testing.T) {
	tasktest.Run(t, func(ctx context.Context, task func(context.Context)) error {
		graygopool.Go(ctx, task)
		return nil
	}, false)
}

func TestPanicsAreThePools(t *testing.T) {
	type panicked struct {
		tag   graylib.Tag
		value any
	}
	got := make(chan panicked, 1)
	inner := gopool.NewPool(t.Name(), 1, gopool.NewConfig())
	inner.SetPanicHandler(func(ctx context.Context, v any) { got <- panicked{graylib.TagFrom(ctx), v} })
	graygopool.Wrap(inner).Go(graylib.WithTag(t.Context(), "gray"), func(context.Context) { panic("boom") })
	if p := <-got; p != (panicked{"gray", "boom"}) {
		t.Errorf("the pool's handler got %v", p)
	}
}

func Example() {
	pool := graygopool.NewPool("mails", 1, gopool.NewConfig())
	done := make(chan struct{})
	ctx := graylib.WithTag(context.Background(), "gray") // a handler gets it from its adapter
	pool.Go(ctx, func(ctx context.Context) {
		defer close(done)
		fmt.Println(graylib.TagFrom(ctx))
	})
	<-done
	// Output: gray
}

func BenchmarkPool(b *testing.B) {
	p := gopool.NewPool("bench", 2, gopool.NewConfig())
	tasktest.Bench(b, func(task func()) error { p.Go(task); return nil }, submit(graygopool.Wrap(p)))
}
