// Package grayerrgroup is golang.org/x/sync/errgroup with tasks that take a context, so that each has the tag of whoever
// started it.
//
//	g, ctx := grayerrgroup.WithContext(ctx)
//	g.Go(ctx, func(ctx context.Context) error { return stock.Reserve(ctx, order) })
//	g.Go(ctx, func(ctx context.Context) error { return bill.Charge(ctx, order) })
//	err := g.Wait()
//
// A panic of a task ends the process, as it does in errgroup.
package grayerrgroup

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// Group is an [errgroup.Group] whose tasks take a context. The zero Group is valid, has no limit and cancels nothing. Its
// methods are safe for concurrent use as far as errgroup's are. It must not be copied after its first use.
type Group struct {
	zero errgroup.Group
	made *errgroup.Group // by WithContext; nil for the zero Group
}

// WithContext returns a group and a context of ctx that is cancelled when the first task fails or Wait returns, whichever
// comes first. It carries what ctx carries; pass it to [Group.Go].
func WithContext(ctx context.Context) (*Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	return &Group{made: g}, ctx
}

func (g *Group) group() *errgroup.Group {
	if g.made != nil {
		return g.made
	}
	return &g.zero
}

// Go runs a task with ctx in a goroutine of its own; it blocks while the limit is reached. See [errgroup.Group.Go].
func (g *Group) Go(ctx context.Context, task func(context.Context) error) {
	g.group().Go(func() error { return task(ctx) })
}

// TryGo is Go, but reports false instead of blocking where the limit is reached.
func (g *Group) TryGo(ctx context.Context, task func(context.Context) error) bool {
	return g.group().TryGo(func() error { return task(ctx) })
}

// SetLimit limits the number of tasks that run at once; a negative n is no limit. It must not be called while tasks run.
// See [errgroup.Group.SetLimit].
func (g *Group) SetLimit(n int) { g.group().SetLimit(n) }

// Wait waits for all tasks and returns the first error, if any.
func (g *Group) Wait() error { return g.group().Wait() }
