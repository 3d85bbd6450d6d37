package graylib

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the reporter: about 8 MB of waiting events at 1 KB each; a batch goes out as soon as the one before is
// answered, so a lone event is on its way at once and a flood is sent in large batches. The pause before the second try is
// reporterBackoff and doubles from there.
const (
	reporterQueue   = 8192
	reporterBatch   = 512
	reporterTimeout = 3 * time.Second
	reporterClose   = 3 * time.Second
	reporterBackoff = 250 * time.Millisecond
	reporterTries   = 4
)

// HTTPReporter posts events to an observer as NDJSON. What doesn't fit into its queue, comes after Close, is refused by the
// observer (status 400 or 413, or an answer that says how many are bad), or can't be handed on in four tries, is dropped and
// counted. An event whose answer got lost is posted again: an observer knows it by its eventId. Its methods are safe for
// concurrent use.
type HTTPReporter struct {
	poster
	queue   chan Event
	cancel  context.CancelFunc // ends the posting
	stopped chan struct{}      // closed when nothing is posted any more
	dropped atomic.Int64

	backoff   time.Duration
	closeWait time.Duration

	mu     sync.RWMutex // held for reading while an event is put into the queue
	closed bool
}

// NewHTTPReporter starts a reporter to the observer at base, an http or https URL.
func NewHTTPReporter(base string) (*HTTPReporter, error) {
	return newHTTPReporter(base, reporterBackoff, reporterClose)
}

func newHTTPReporter(base string, backoff, closeWait time.Duration) (*HTTPReporter, error) {
	p, err := newPoster(base)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &HTTPReporter{
		poster:    p,
		queue:     make(chan Event, reporterQueue),
		cancel:    cancel,
		stopped:   make(chan struct{}),
		backoff:   backoff,
		closeWait: closeWait,
	}
	go r.run(ctx)
	return r, nil
}

// Report implements [Reporter]. The event's slices must not be changed afterwards.
func (r *HTTPReporter) Report(e Event) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		r.dropped.Add(1)
		return
	}
	select {
	case r.queue <- e:
	default:
		r.dropped.Add(1)
	}
}

// Dropped returns the number of events that were dropped.
func (r *HTTPReporter) Dropped() int64 { return r.dropped.Load() }

// Close implements [Reporter]: it hands on what was taken, for three seconds at most; what is left then is dropped and
// counted. When it returns, nothing is posted any more. Its error is always nil: events are diagnosis and fail nothing.
func (r *HTTPReporter) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	limit := time.NewTimer(r.closeWait)
	defer limit.Stop()
	select {
	case <-r.stopped:
	case <-limit.C:
	}
	r.cancel()
	<-r.stopped
	r.client.CloseIdleConnections()
	return nil
}

func (r *HTTPReporter) run(ctx context.Context) {
	defer close(r.stopped)
	for e := range r.queue {
		r.send(ctx, r.batch(e))
	}
}

// batch takes what waits behind e.
func (r *HTTPReporter) batch(e Event) []Event {
	events := []Event{e}
	for len(events) < reporterBatch {
		select {
		case e, ok := <-r.queue:
			if !ok {
				return events
			}
			events = append(events, e)
		default:
			return events
		}
	}
	return events
}

// send posts the events until they are taken, refused, tried often enough, or ctx ends; it counts those that are dropped.
func (r *HTTPReporter) send(ctx context.Context, events []Event) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	lines := int64(0)
	for i := range events {
		if err := enc.Encode(&events[i]); err != nil { // a time beyond the year 9999
			r.dropped.Add(1)
			continue
		}
		lines++
	}
	for try := range reporterTries {
		if try > 0 {
			pause := time.NewTimer(r.backoff << (try - 1))
			select {
			case <-ctx.Done():
			case <-pause.C:
			}
			pause.Stop()
		}
		a := r.post(ctx, body.Bytes(), lines)
		if a.err == nil {
			r.dropped.Add(a.refused)
			return
		}
		if ctx.Err() != nil {
			break
		}
	}
	r.dropped.Add(lines)
}
