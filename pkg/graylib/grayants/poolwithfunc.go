package grayants

import (
	"context"

	"github.com/panjf2000/ants/v2"
)

// Job is one call of a pool's function: the argument, and the context it was invoked with.
type Job[T any] struct {
	ctx context.Context
	arg T
}

// unpack makes the pool's function of the application's; nil stays nil, which ants refuses.
func unpack[T any](fn func(context.Context, T)) func(Job[T]) {
	if fn == nil {
		return nil
	}
	return func(j Job[T]) { fn(j.ctx, j.arg) }
}

// PoolWithFunc is an [ants.PoolWithFuncGeneric] whose function takes a context. It is safe for concurrent use.
type PoolWithFunc[T any] struct {
	*ants.PoolWithFuncGeneric[Job[T]]
}

// NewPoolWithFunc is [ants.NewPoolWithFuncGeneric] with a function that takes a context.
func NewPoolWithFunc[T any](size int, fn func(context.Context, T), options ...ants.Option) (PoolWithFunc[T], error) {
	p, err := ants.NewPoolWithFuncGeneric(size, unpack(fn), options...)
	return PoolWithFunc[T]{p}, err
}

// Invoke runs the pool's function with ctx and arg. It blocks and fails as [ants.PoolWithFuncGeneric.Invoke] does.
func (p PoolWithFunc[T]) Invoke(ctx context.Context, arg T) error {
	return p.PoolWithFuncGeneric.Invoke(Job[T]{ctx, arg})
}

// MultiPoolWithFunc is an [ants.MultiPoolWithFuncGeneric] whose function takes a context. It is safe for concurrent use.
type MultiPoolWithFunc[T any] struct {
	*ants.MultiPoolWithFuncGeneric[Job[T]]
}

// NewMultiPoolWithFunc is [ants.NewMultiPoolWithFuncGeneric] with a function that takes a context.
func NewMultiPoolWithFunc[T any](size, sizePerPool int, fn func(context.Context, T), lbs ants.LoadBalancingStrategy, options ...ants.Option) (MultiPoolWithFunc[T], error) {
	p, err := ants.NewMultiPoolWithFuncGeneric(size, sizePerPool, unpack(fn), lbs, options...)
	return MultiPoolWithFunc[T]{p}, err
}

// Invoke runs the pools' function with ctx and arg. It blocks and fails as [ants.MultiPoolWithFuncGeneric.Invoke] does.
func (p MultiPoolWithFunc[T]) Invoke(ctx context.Context, arg T) error {
	return p.MultiPoolWithFuncGeneric.Invoke(Job[T]{ctx, arg})
}
