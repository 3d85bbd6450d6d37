// Package graygopool hands contexts into the pools of github.com/bytedance/gopkg/util/gopool, so that a task has the tag of
// whoever submitted it.
//
//	graygopool.Go(ctx, func(ctx context.Context) { client.Notify(ctx, user) })
//
// The tag lives in the context that a task was given and nowhere else: a worker that is used again shows nothing of the
// tasks it ran before, and a task submitted without a tag is untagged. Panics are the pool's: its panic handler, or its
// log, which get the task's context too.
//
// The context is handed over as it is, with its cancellation. A task that may outlive the request takes one of
// graylib.Detach.
package graygopool

import (
	"context"

	"github.com/bytedance/gopkg/util/gopool"
)

// Go runs a task with ctx in the default pool of gopool, see [gopool.CtxGo]. It never blocks.
func Go(ctx context.Context, task func(context.Context)) {
	gopool.CtxGo(ctx, func() { task(ctx) })
}

// Pool is a [gopool.Pool] whose tasks take a context. It is safe for concurrent use as far as the wrapped one is. CtxGo is
// that of gopool, for tasks that have their context by other means.
type Pool struct{ gopool.Pool }

// Wrap returns the pool with tasks that take a context. The pool stays usable by itself.
func Wrap(p gopool.Pool) Pool { return Pool{p} }

// NewPool is [gopool.NewPool].
func NewPool(name string, size int32, config *gopool.Config) Pool {
	return Pool{gopool.NewPool(name, size, config)}
}

// Go runs a task with ctx. It never blocks.
func (p Pool) Go(ctx context.Context, task func(context.Context)) {
	p.CtxGo(ctx, func() { task(ctx) })
}
