package graylibtest

import (
	"slices"
	"sync"

	"github.com/graychain/graychain/pkg/graylib"
)

// Reporter keeps the events that it is given. The zero value is ready, and it is safe for concurrent use.
type Reporter struct {
	mu     sync.Mutex
	events []graylib.Event
}

var _ graylib.Reporter = (*Reporter)(nil)

// Report implements [graylib.Reporter].
func (r *Reporter) Report(e graylib.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Events returns what was reported so far.
func (r *Reporter) Events() []graylib.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Close implements [graylib.Reporter].
func (*Reporter) Close() error { return nil }
