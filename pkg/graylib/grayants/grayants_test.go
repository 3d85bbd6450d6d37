package grayants_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/panjf2000/ants/v2"
	"go.uber.org/goleak"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayants"
	"github.com/graychain/graychain/pkg/graylib/internal/tasktest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	// The default pool of ants has goroutines of its own from the start of the program on.
	err := ants.ReleaseTimeout(10 * time.Second)
	if code == 0 && err == nil {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// quiet swallows panics, which the tests cause on purpose.
var quiet = ants.WithPanicHandler(func(any) {})

func release(t testing.TB, p interface{ ReleaseTimeout(time.Duration) error }) {
	t.Cleanup(func() {
		if err := p.ReleaseTimeout(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
}

type task struct {
	run func(context.Context)
}

func runTask(ctx context.Context, t task) { t.run(ctx) }

func TestPool(t *testing.T) {
	for _, size := range []int{1, 3} {
		t.Run(fmt.Sprint("workers=", size), func(t *testing.T) {
			p, err := grayants.NewPool(size, quiet)
			if err != nil {
				t.Fatal(err)
			}
			release(t, p)
			tasktest.Run(t, p.Submit, true)
		})
	}
}

func TestMultiPool(t *testing.T) {
	p, err := grayants.NewMultiPool(2, 2, ants.RoundRobin, quiet)
	if err != nil {
		t.Fatal(err)
	}
	release(t, p)
	tasktest.Run(t, p.Submit, true)
}

func TestPoolWithFunc(t *testing.T) {
	p, err := grayants.NewPoolWithFunc(2, runTask, quiet)
	if err != nil {
		t.Fatal(err)
	}
	release(t, p)
	tasktest.Run(t, func(ctx context.Context, f func(context.Context)) error { return p.Invoke(ctx, task{f}) }, true)
}

func TestMultiPoolWithFunc(t *testing.T) {
	p, err := grayants.NewMultiPoolWithFunc(2, 2, runTask, ants.LeastTasks, quiet)
	if err != nil {
		t.Fatal(err)
	}
	release(t, p)
	tasktest.Run(t, func(ctx context.Context, f func(context.Context)) error { return p.Invoke(ctx, task{f}) }, true)
}

// The default pool logs panics; they are left out here.
func TestDefaultPool(t *testing.T) { tasktest.Run(t, grayants.Submit, false) }

func TestErrorsAreThePools(t *testing.T) {
	p, err := grayants.NewPool(1, ants.WithNonblocking(true))
	if err != nil {
		t.Fatal(err)
	}
	ctx, busy := t.Context(), make(chan struct{})
	if err := p.Submit(ctx, func(context.Context) { <-busy }); err != nil {
		t.Fatal(err)
	}
	if err := p.Submit(ctx, func(context.Context) {}); !errors.Is(err, ants.ErrPoolOverload) {
		t.Errorf("a full pool says %v", err)
	}
	close(busy)
	if err := p.ReleaseTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := p.Submit(ctx, func(context.Context) {}); !errors.Is(err, ants.ErrPoolClosed) {
		t.Errorf("a closed pool says %v", err)
	}
	if _, err := grayants.NewPoolWithFunc[int](1, nil); !errors.Is(err, ants.ErrLackPoolFunc) {
		t.Errorf("a pool without a function says %v", err)
	}
	if _, err := grayants.NewMultiPoolWithFunc[int](1, 1, nil, ants.RoundRobin); !errors.Is(err, ants.ErrLackPoolFunc) {
		t.Errorf("pools without a function say %v", err)
	}
	if _, err := grayants.NewMultiPool(0, 1, ants.RoundRobin); !errors.Is(err, ants.ErrInvalidMultiPoolSize) {
		t.Errorf("no pools say %v", err)
	}
}

func TestPanicsAreThePools(t *testing.T) {
	got := make(chan any, 1)
	p, err := ants.NewPool(1, ants.WithPanicHandler(func(v any) { got <- v }))
	if err != nil {
		t.Fatal(err)
	}
	release(t, p)
	if err := grayants.Wrap(p).Submit(t.Context(), func(context.Context) { panic("boom") }); err != nil {
		t.Fatal(err)
	}
	if v := <-got; v != "boom" {
		t.Errorf("the pool's handler got %v", v)
	}
}

func Example() {
	inner, err := ants.NewPool(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer inner.Release()
	pool := grayants.Wrap(inner)
	var all sync.WaitGroup
	for _, tag := range []graylib.Tag{"gray", graylib.Untagged} {
		all.Add(1)
		ctx := graylib.WithTag(context.Background(), tag) // a handler gets it from its adapter
		err := pool.Submit(ctx, func(ctx context.Context) {
			defer all.Done()
			fmt.Println(graylib.TagFrom(ctx)) // the same worker both times
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		all.Wait()
	}
	// Output:
	// gray
	// -
}

func BenchmarkPool(b *testing.B) {
	p, err := ants.NewPool(2)
	if err != nil {
		b.Fatal(err)
	}
	release(b, p)
	tasktest.Bench(b, p.Submit, grayants.Wrap(p).Submit)
}

func BenchmarkPoolWithFunc(b *testing.B) {
	bare, err := ants.NewPoolWithFuncGeneric(2, func(f func()) { f() })
	if err != nil {
		b.Fatal(err)
	}
	release(b, bare)
	wrapped, err := grayants.NewPoolWithFunc(2, runTask)
	if err != nil {
		b.Fatal(err)
	}
	release(b, wrapped)
	tasktest.Bench(b, bare.Invoke, func(ctx context.Context, f func(context.Context)) error { return wrapped.Invoke(ctx, task{f}) })
}
