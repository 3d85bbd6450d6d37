package graynacos

import "context"

// lazy is a value that is being made: a client's constructor tries to connect, and where packets are dropped it takes
// many seconds.
type lazy[T any] struct {
	done chan struct{}
	v    T
	err  error
}

func start[T any](create func() (T, error)) *lazy[T] {
	l := &lazy[T]{done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.v, l.err = create()
	}()
	return l
}

// get waits for the value, or until ctx ends.
func (l *lazy[T]) get(ctx context.Context) (T, error) {
	select {
	case <-l.done:
		return l.v, l.err
	default:
	}
	select {
	case <-l.done:
		return l.v, l.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}
