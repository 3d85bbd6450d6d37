package graynacos

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces the attempts at something that Nacos has to answer: from 200 ms doubling to 2 s, a quarter of it by
// chance, so that a service is back well within 5 s of Nacos's return and many of them don't come at once.
type backoff struct{ next time.Duration }

func (b *backoff) wait(ctx context.Context) error {
	const first, most = 200 * time.Millisecond, 2 * time.Second
	b.next = min(max(b.next*2, first), most)
	return sleep(ctx, b.next-rand.N(b.next/4))
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
