package graylib

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the reporter: about 8 MB of waiting events at 1 KB each; a batch goes out as soon as the one before is
// answered, so a lone event is on its way at once and a flood is sent in large batches.
const (
	reporterQueue   = 8192
	reporterBatch   = 512
	reporterTimeout = 3 * time.Second
	reporterClose   = 3 * time.Second
	reporterBackoff = 250 * time.Millisecond
	reporterTries   = 4
)

// HTTPReporter posts events to an observer as NDJSON. What doesn't fit into its queue, or is refused four times, is
// dropped and counted.
type HTTPReporter struct {
	url     string
	client  *http.Client
	queue   chan Event
	done    chan struct{}
	stopped chan struct{}
	once    sync.Once
	dropped atomic.Int64
}

// NewHTTPReporter starts a reporter to the observer at base, an http or https URL.
func NewHTTPReporter(base string) (*HTTPReporter, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, invalid(EnvObserver, base, "want a URL like http://127.0.0.1:20099")
	}
	r := &HTTPReporter{
		url:     strings.TrimSuffix(u.String(), "/") + ObserverPath,
		client:  &http.Client{Timeout: reporterTimeout},
		queue:   make(chan Event, reporterQueue),
		done:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	go r.run()
	return r, nil
}

// Report implements [Reporter].
func (r *HTTPReporter) Report(e Event) {
	select {
	case r.queue <- e:
	default:
		r.dropped.Add(1)
	}
}

// Dropped returns the number of events that were dropped.
func (r *HTTPReporter) Dropped() int64 { return r.dropped.Load() }

// Close implements [Reporter].
func (r *HTTPReporter) Close() error {
	r.once.Do(func() { close(r.done) })
	select {
	case <-r.stopped:
	case <-time.After(reporterClose):
	}
	r.client.CloseIdleConnections()
	return nil
}

func (r *HTTPReporter) run() {
	defer close(r.stopped)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case e := <-r.queue:
			r.send(ctx, r.batch(e))
		case <-r.done:
			for {
				select {
				case e := <-r.queue:
					r.send(ctx, r.batch(e))
				default:
					return
				}
			}
		}
	}
}

// batch takes what waits behind e.
func (r *HTTPReporter) batch(e Event) []Event {
	events := []Event{e}
	for len(events) < reporterBatch {
		select {
		case e := <-r.queue:
			events = append(events, e)
		default:
			return events
		}
	}
	return events
}

func (r *HTTPReporter) send(ctx context.Context, events []Event) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			r.dropped.Add(1)
		}
	}
	for try := range reporterTries {
		if r.post(ctx, body.Bytes()) {
			return
		}
		select {
		case <-r.done: // closing: one more try is made, without waiting
			if try > 0 {
				r.dropped.Add(int64(len(events)))
				return
			}
		case <-time.After(reporterBackoff << try):
		}
	}
	r.dropped.Add(int64(len(events)))
}

func (r *HTTPReporter) post(ctx context.Context, body []byte) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := r.client.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode/100 == 2
}
