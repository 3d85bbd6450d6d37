package grayants

import (
	"context"

	"github.com/panjf2000/ants/v2"
)

// Submit submits a task to the default pool of ants, see [ants.Submit]. An error is that pool's own.
func Submit(ctx context.Context, task func(context.Context)) error {
	return ants.Submit(func() { task(ctx) })
}

// Pool is an [ants.Pool] whose tasks take a context. It is safe for concurrent use.
type Pool struct{ *ants.Pool }

// Wrap returns the pool with tasks that take a context. The pool stays usable by itself.
func Wrap(p *ants.Pool) Pool { return Pool{p} }

// NewPool is [ants.NewPool].
func NewPool(size int, options ...ants.Option) (Pool, error) {
	p, err := ants.NewPool(size, options...)
	return Pool{p}, err
}

// Submit submits a task, which will run with ctx. It blocks and fails as [ants.Pool.Submit] does; the end of ctx doesn't
// shorten the wait for a worker.
func (p Pool) Submit(ctx context.Context, task func(context.Context)) error {
	return p.Pool.Submit(func() { task(ctx) })
}

// MultiPool is an [ants.MultiPool] whose tasks take a context. It is safe for concurrent use.
type MultiPool struct{ *ants.MultiPool }

// WrapMulti returns the pools with tasks that take a context. They stay usable by themselves.
func WrapMulti(p *ants.MultiPool) MultiPool { return MultiPool{p} }

// NewMultiPool is [ants.NewMultiPool].
func NewMultiPool(size, sizePerPool int, lbs ants.LoadBalancingStrategy, options ...ants.Option) (MultiPool, error) {
	p, err := ants.NewMultiPool(size, sizePerPool, lbs, options...)
	return MultiPool{p}, err
}

// Submit submits a task, which will run with ctx. It blocks and fails as [ants.MultiPool.Submit] does.
func (p MultiPool) Submit(ctx context.Context, task func(context.Context)) error {
	return p.MultiPool.Submit(func() { task(ctx) })
}
