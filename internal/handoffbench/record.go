package handoffbench

import (
	"strconv"
	"strings"
	"sync"
	"time"
)

// delivery is one handler's begin.
type delivery struct {
	who    string
	at     time.Time
	retry  bool // from the group's retry topic
	queue  string
	offset int64
}

// record is what all processes together handled. It is safe for concurrent use.
type record struct {
	topic string

	mu      sync.Mutex
	by      map[string][]delivery // message id -> its deliveries, as they were read
	done    map[string]bool       // handled to the end
	since   time.Time             // the handoff that is watched: deliveries from then on…
	side    string                // …by processes whose name begins so
	first   map[string]time.Time  // queue -> the first of them
	changed chan struct{}         // closed and replaced when first or done has grown
}

func newRecord(topic string) *record {
	return &record{topic: topic, by: make(map[string][]delivery), done: make(map[string]bool), changed: make(chan struct{})}
}

// take takes in a line of a member's; other lines than those about messages are ignored.
func (r *record) take(who, line string) {
	f := strings.Fields(line)
	switch {
	case len(f) == 2 && f[0] == sayDone:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.done[f[1]] = true
		r.notify()
	case len(f) == 6 && f[0] == sayBegun:
		ns, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return
		}
		offset, err := strconv.ParseInt(f[4], 10, 64)
		if err != nil {
			return
		}
		r.begun(f[5], delivery{who: who, at: time.Unix(0, ns), retry: f[2] != r.topic, queue: f[3], offset: offset})
	}
}

func (r *record) begun(id string, d delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.by[id] = append(r.by[id], d)
	if r.first == nil || d.retry || d.at.Before(r.since) || !strings.HasPrefix(d.who, r.side) {
		return
	}
	if at, ok := r.first[d.queue]; !ok || d.at.Before(at) {
		r.first[d.queue] = d.at
		r.notify()
	}
}

// notify wakes waiters; the lock is held.
func (r *record) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// watch watches for a side's first messages from now on, and returns the time.
func (r *record) watch(side string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since, r.side, r.first = time.Now(), side, make(map[string]time.Time)
	return r.since
}

// seen returns the first message's time of each queue, and what is closed when there are more.
func (r *record) seen() (first []time.Time, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.first {
		first = append(first, at)
	}
	return first, r.changed
}

// left returns those of the messages that were not handled to the end, and what is closed when it may be fewer.
func (r *record) left(list []sent) (left []sent, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range list {
		if !r.done[s.id] {
			left = append(left, s)
		}
	}
	return left, r.changed
}
