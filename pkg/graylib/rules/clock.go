package rules

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrClock is wrapped where the clock of the machine that publishes is wrong: `listed` and `until` are told by it.
var ErrClock = errors.New("this machine's clock differs from the config centre's")

// Clocked is a [Store] that tells the time of its server. What publishes through it is refused with [ErrClock] where the clocks differ
// by more than [MaxSkew].
type Clocked interface {
	Store
	// Clock returns how far the server's clock is ahead of this machine's (negative: behind it), give or take within.
	Clock(ctx context.Context) (ahead, within time.Duration, err error)
}

// checkClock compares the publisher's clock with the store's, where that tells; notes say where it doesn't.
func (p publisher) checkClock(ctx context.Context) (notes []string, err error) {
	store, ok := p.store.(Clocked)
	if !ok {
		return nil, nil
	}
	ahead, within, err := store.Clock(ctx)
	switch now := p.now(); {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return []string{fmt.Sprintf("this machine's clock couldn't be compared with the config centre's: %v", err)}, nil
	case ahead.Abs()-within > MaxSkew:
		return nil, fmt.Errorf("%w by %v: it is %s here and %s there; set the clocks by NTP, they may differ by %v: a lane's messages are told from others by time",
			ErrClock, ahead.Abs().Round(time.Second), now.UTC().Format(time.RFC3339), now.Add(ahead).UTC().Format(time.RFC3339), MaxSkew)
	}
	return nil, nil
}
