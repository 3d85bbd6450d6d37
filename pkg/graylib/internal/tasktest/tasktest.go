// Package tasktest holds what every wrapper of a goroutine pool must pass: each task has the context that it was submitted
// with, on whatever worker it runs.
package tasktest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

// within bounds every wait of this package.
const within = 20 * time.Second

// Submit hands a task to the pool under test. It may block.
type Submit func(ctx context.Context, task func(context.Context)) error

// Run checks a pool. submit must run on the same pool each time; panics tells whether the pool survives a task that panics.
func Run(t *testing.T, submit Submit, panics bool) {
	t.Run("a reused worker", func(t *testing.T) { reusedWorker(t, submit, panics) })
	t.Run("the very context", func(t *testing.T) { veryContext(t, submit) })
	t.Run("under load", func(t *testing.T) { underLoad(t, submit, panics) })
}

// observe runs one task alone and returns what it saw.
func observe(ctx context.Context, t *testing.T, submit Submit) (tag graylib.Tag, wire graylib.MapCarrier) {
	t.Helper()
	done := make(chan struct{})
	err := submit(ctx, func(ctx context.Context) {
		defer close(done)
		tag, wire = graylib.TagFrom(ctx), graylib.MapCarrier{}
		graylib.Inject(ctx, graylib.HTTPKeys, wire)
	})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, done)
	return tag, wire
}

func reusedWorker(t *testing.T, submit Submit, panics bool) {
	tagged := graylib.WithRequestID(graylib.WithTag(t.Context(), "gray"), "r1")
	for range 50 {
		if tag, wire := observe(tagged, t, submit); tag != "gray" || wire["x-request-id"] != "r1" {
			t.Fatalf("a tagged task has tag %q and sends %v", tag, wire)
		}
		if panics {
			if err := submit(tagged, func(context.Context) { panic("a task that fails") }); err != nil {
				t.Fatal(err)
			}
		}
		if tag, wire := observe(t.Context(), t, submit); tag != graylib.Untagged || len(wire) != 0 {
			t.Fatalf("a tagless task has tag %q and sends %v", tag, wire)
		}
	}
}

func veryContext(t *testing.T, submit Submit) {
	ctx, cancel := context.WithCancel(graylib.WithTag(t.Context(), "gray"))
	done := make(chan struct{})
	err := submit(ctx, func(got context.Context) {
		defer close(done)
		if got != ctx {
			t.Error("the task got another context")
		}
		cancel()
		if got.Err() == nil {
			t.Error("the task's context doesn't end with the submitter's")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, done)
}

// underLoad has several goroutines submit tasks of several requests at once, tagged and not; tasks submit further tasks and
// some panic.
func underLoad(t *testing.T, submit Submit, panics bool) {
	type plan struct {
		Tag    graylib.Tag
		Nested int
		Panic  bool
	}
	plans := rapid.Custom(func(t *rapid.T) plan {
		return plan{
			Tag:    rapid.SampledFrom([]graylib.Tag{graylib.Untagged, graylib.Untagged, "gray", "blue"}).Draw(t, "tag"),
			Nested: rapid.IntRange(0, 2).Draw(t, "nested"),
			Panic:  panics && rapid.IntRange(0, 9).Draw(t, "panic") == 0,
		}
	})
	var ran atomic.Int64
	rapid.Check(t, func(t *rapid.T) {
		tasks := rapid.SliceOfN(plans, 1, 60).Draw(t, "tasks")
		var all, submitters sync.WaitGroup
		var mu sync.Mutex
		var wrong []string
		complain := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
		var start func(ctx context.Context, p plan, id string, depth int)
		start = func(ctx context.Context, p plan, id string, depth int) {
			all.Add(1)
			err := submit(ctx, func(ctx context.Context) {
				defer all.Done()
				ran.Add(1)
				if tag, got := graylib.TagFrom(ctx), graylib.RequestIDFrom(ctx); tag != p.Tag || got != id {
					complain("a task of request %s, tag %q, sees %s, tag %q", id, p.Tag, got, tag)
				}
				if depth < p.Nested {
					// From a goroutine: where all workers submit, a bounded pool would wait for itself.
					all.Add(1)
					graylib.Go(ctx, func(ctx context.Context) { start(ctx, p, id, depth+1); all.Done() })
				}
				if p.Panic && depth == p.Nested {
					panic("a task that fails")
				}
			})
			if err != nil {
				complain("request %s: %v", id, err)
				all.Done()
			}
		}
		const parallel = 4
		for s := range parallel {
			submitters.Go(func() {
				for i := s; i < len(tasks); i += parallel {
					id := fmt.Sprint("r", i)
					start(graylib.WithRequestID(graylib.WithTag(context.Background(), tasks[i].Tag), id), tasks[i], id, 0)
				}
			})
		}
		submitters.Wait()
		done := make(chan struct{})
		go func() { all.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(within):
			t.Fatalf("tasks still run after %v", within)
		}
		for _, w := range wrong {
			t.Error(w)
		}
	})
	if ran.Load() == 0 {
		t.Error("no task ran")
	}
}

func wait(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(within):
		t.Fatalf("a task did not run within %v", within)
	}
}

// Bench compares a pool with its wrapper, task by task.
func Bench(b *testing.B, bare func(task func()) error, wrapped Submit) {
	ctx := graylib.WithTag(b.Context(), "gray")
	ran := make(chan struct{})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			// As an application would write it by hand: the closure captures ctx.
			if err := bare(func() { graylib.TagFrom(ctx); ran <- struct{}{} }); err != nil {
				b.Fatal(err)
			}
			<-ran
		}
	})
	b.Run("wrapped", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := wrapped(ctx, func(ctx context.Context) { graylib.TagFrom(ctx); ran <- struct{}{} }); err != nil {
				b.Fatal(err)
			}
			<-ran
		}
	})
}
