package grayrocketmq

import (
	"context"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// liveFor is how long an answer about a lane's consumers is used. It serves the reason in a hop; it decides who handles a message
// only where a consumer broadcasts and its service isn't in the registry.
const (
	liveFor    = time.Second
	liveWithin = 500 * time.Millisecond
)

// liveness knows which lanes have a live consumer, by the broker's list of their groups' members.
type liveness struct {
	ask func(ctx context.Context, tag graylib.Tag) (bool, error)

	mu    sync.Mutex
	known map[graylib.Tag]liveAnswer
}

type liveAnswer struct {
	live bool
	at   time.Time
}

// consumer tells whether the lane has a live consumer. Where the brokers have to be asked, all who want to know wait for the one
// answer, liveWithin at most. An answer that can't be had counts as the one before, or as no.
func (l *liveness) consumer(tag graylib.Tag) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.known[tag]
	if ok && time.Since(a.at) < liveFor {
		return a.live
	}
	ctx, cancel := context.WithTimeout(context.Background(), liveWithin)
	defer cancel()
	if live, err := l.ask(ctx, tag); err == nil { //graycheck:ignore the answer is kept for all messages
		a.live = live
	}
	a.at = time.Now()
	if l.known == nil || len(l.known) > 256 { // tags come over the wire
		l.known = make(map[graylib.Tag]liveAnswer)
	}
	l.known[tag] = a
	return a.live
}
