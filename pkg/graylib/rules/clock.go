package rules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrClock is wrapped where the clock of the machine that publishes is wrong: `listed` and `until` are told by it.
var ErrClock = errors.New("this machine's clock differs from the config centre's")

// Clocked is a [Store] that tells the time of its server. What is published through it and writes a lane's times is refused with
// [ErrClock] where the clocks differ by more than [MaxSkew].
type Clocked interface {
	Store
	// Clock returns how far the server's clock is ahead of this machine's (negative: behind it), give or take within.
	Clock(ctx context.Context) (ahead, within time.Duration, err error)
}

// clock is what is known of the publisher's clock.
type clock struct {
	wrong   string // how far, after [ErrClock]; empty = it is right, as far as is known
	unknown string // why it couldn't be compared; empty = it could
}

// checkClock compares the publisher's clock with the store's, where that tells.
func (p publisher) checkClock(ctx context.Context) (clock, error) {
	store, ok := p.store.(Clocked)
	if !ok {
		return clock{}, nil
	}
	ahead, within, err := store.Clock(ctx)
	switch now := p.now(); {
	case err != nil && ctx.Err() != nil:
		return clock{}, err
	case err != nil:
		return clock{unknown: fmt.Sprint(err)}, nil
	case ahead.Abs()-within > MaxSkew:
		return clock{wrong: fmt.Sprintf("by %v: it is %s here and %s there; set the clocks by NTP, they may differ by %v: a lane's messages are told from others by time",
			ahead.Abs().Round(time.Second), now.UTC().Format(time.RFC3339), now.Add(ahead).UTC().Format(time.RFC3339), MaxSkew)}, nil
	}
	return clock{}, nil
}

// judge tells whether next may be published in last's place: not where the clock is wrong and next says a time that last doesn't, or a
// lane leaves. Otherwise notes say what is known.
func (c clock) judge(last, next *Document) (notes []string, err error) {
	switch {
	case c.wrong != "" && writesTimes(last, next):
		return nil, fmt.Errorf("%w %s", ErrClock, c.wrong)
	case c.wrong != "":
		notes = append(notes, fmt.Sprintf("%v %s", ErrClock, c.wrong))
	case c.unknown != "":
		notes = append(notes, "this machine's clock couldn't be compared with the config centre's: "+c.unknown)
	}
	return notes, nil
}

// writesTimes tells whether a lane has another `listed` or `until` in next than in last (nil = none), or has left.
func writesTimes(last, next *Document) bool {
	if last == nil {
		last = &Document{}
	}
	for _, is := range next.Lanes {
		i := last.laneIndex(is.Tag)
		if i < 0 || !is.Listed.Equal(last.Lanes[i].Listed) || !is.Until.Equal(last.Lanes[i].Until) {
			return true
		}
	}
	return slices.ContainsFunc(last.Lanes, func(was Lane) bool { return next.laneIndex(was.Tag) < 0 })
}
