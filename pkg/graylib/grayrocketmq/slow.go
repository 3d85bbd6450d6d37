package grayrocketmq

import (
	"context"
	"sync"
	"time"
)

// slowWatch says in the log, and counts, when a handler runs longer than the drain limit: a stop or a handoff at that moment
// would not wait for it, and its messages would be handled again. Nothing ends the handler: consumer.WithConsumeTimeout, after
// which the client would hand the message to a second one beside it, applies where a consumer broadcasts alone.
//
// Handlers stand in the order in which they began, and one timer waits for the first one: most messages touch none.
type slowWatch struct {
	limit time.Duration

	mu          sync.Mutex
	first, last *watched
	armed       bool // the timer runs
}

// watched is a handler that runs.
type watched struct {
	m          *worker
	ctx        context.Context
	batch      []delivery
	began      time.Time
	prev, next *watched
	late       bool // it was said
}

// begin watches a handler that begins now; end must be called with what it returns.
func (s *slowWatch) begin(ctx context.Context, m *worker, batch []delivery) *watched {
	w := &watched{m: m, ctx: ctx, batch: batch, began: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.prev = s.last; s.last == nil {
		s.first = w
	} else {
		s.last.next = w
	}
	s.last = w
	if !s.armed {
		s.armed = true
		time.AfterFunc(s.limit, s.look)
	}
	return w
}

// end says that the handler has ended.
func (s *slowWatch) end(w *watched) {
	s.mu.Lock()
	if !w.late {
		s.remove(w)
	}
	late := w.late
	s.mu.Unlock()
	if late {
		w.m.c.log().InfoContext(w.ctx, "a handler that ran longer than the drain limit has ended", "group", w.m.place.group, "ids", ids(w.batch), "after", time.Since(w.began))
	}
}

// remove takes a handler out; the lock is held.
func (s *slowWatch) remove(w *watched) {
	if w.prev == nil {
		s.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		s.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
}

// look says which handlers have become late, and looks again when the next one may be.
func (s *slowWatch) look() {
	var late []*watched
	s.mu.Lock()
	for s.first != nil && time.Since(s.first.began) >= s.limit {
		w := s.first
		s.remove(w)
		w.late = true
		late = append(late, w)
	}
	if s.armed = s.first != nil; s.armed {
		time.AfterFunc(s.limit-time.Since(s.first.began), s.look)
	}
	s.mu.Unlock()
	for _, w := range late {
		w.m.tally.slow.Add(1)
		w.m.c.log().WarnContext(w.ctx, "a handler runs longer than the drain limit: a stop or a handoff now would not wait for it, and its messages would be handled again",
			"group", w.m.place.group, "topic", w.batch[0].msg.Topic, "ids", ids(w.batch), "limit", s.limit)
	}
}
