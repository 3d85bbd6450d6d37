package grayrocketmq

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/hooks"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// flow lets messages of one member through to their handlers, holds them back, and knows which are under way.
//
// The life of a queue in a member is the client's *primitive.MessageQueue: the client makes one for each time that the
// queue is assigned, and shows the same to the filter hook and to the handler.
type flow struct {
	mu      sync.Mutex
	closed  bool
	resume  chan struct{} // while suspended; closed by resuming
	lives   map[primitive.MessageQueue]*life
	queues  map[string][]primitive.MessageQueue // by topic: what the client was assigned last
	running int
	changed chan struct{} // closed and replaced at each change that a waiter may wait for
}

// life is what became of a queue's messages since it was assigned.
type life struct {
	key      *primitive.MessageQueue
	pending  map[int64]bool // pulled and not finished; true = begun
	begun    int64          // the highest offset that was begun, or -1
	finished int64          // the highest offset that was finished, or -1
}

func newFlow() *flow {
	return &flow{
		lives: make(map[primitive.MessageQueue]*life), queues: make(map[string][]primitive.MessageQueue), changed: make(chan struct{}),
	}
}

// hook sees pulled messages before the client queues them for handlers. Where nothing may begin any more the pull ends
// here: to return nothing instead would let the client's offset move past the messages.
func (f *flow) hook(c *hooks.FilterMessageContext) ([]*primitive.MessageExt, error) {
	for {
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			runtime.Goexit()
		}
		resume := f.resume
		if resume == nil {
			f.pulled(c.MQ, c.Msg)
			f.mu.Unlock()
			return c.Msg, nil
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-resume:
		case <-changed:
		}
	}
}

// pulled notes messages; the lock is held.
func (f *flow) pulled(mq *primitive.MessageQueue, msgs []*primitive.MessageExt) {
	l := f.lives[*mq]
	if l == nil || l.key != mq {
		l = &life{key: mq, pending: make(map[int64]bool, len(msgs)), begun: -1, finished: -1}
		f.lives[*mq] = l
	}
	for _, m := range msgs {
		if _, ok := l.pending[m.QueueOffset]; !ok {
			l.pending[m.QueueOffset] = false
		}
	}
}

// assigned notes which queues of a topic the member has from now on. The lives of others end here: their handlers may finish,
// but the client commits nothing of theirs any more.
func (f *flow) assigned(topic string, queues []*primitive.MessageQueue) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]primitive.MessageQueue, len(queues))
	for i, q := range queues {
		list[i] = *q
	}
	f.queues[topic] = list
	for q := range f.lives {
		if q.Topic == topic && !slices.ContainsFunc(queues, func(mq *primitive.MessageQueue) bool { return *mq == q }) {
			delete(f.lives, q)
		}
	}
	if f.closed {
		f.notify()
	}
}

// held returns the queues that the client has, and how many handlers run.
func (f *flow) held() (queues []primitive.MessageQueue, running int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, list := range f.queues {
		queues = append(queues, list...)
	}
	return queues, f.running
}

// begin lets one message through. Once closed, only those below the highest that was begun pass: the client starts them
// out of order, and the committed offset can't step over one that was left out. The ticket's end must be called.
func (f *flow) begin(mq *primitive.MessageQueue, offset int64) (_ ticket, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lives[*mq]
	if l != nil && l.key != mq {
		l = nil // an earlier life of the queue, or a message given by hand from the broker's console
	}
	if f.closed && (l == nil || offset >= l.begun) {
		return ticket{}, false
	}
	if l != nil {
		l.pending[offset] = true
		l.begun = max(l.begun, offset)
	}
	f.running++
	return ticket{f: f, l: l, offset: offset}, true
}

// ticket is a message that has begun.
type ticket struct {
	f      *flow
	l      *life // nil: it counts for no queue's offset
	offset int64
	ended  bool
}

// current tells whether the message's queue is still the member's: what comes of the message counts.
func (t *ticket) current() bool {
	if t.l == nil {
		return false
	}
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	return t.f.lives[*t.l.key] == t.l
}

// closed tells whether nothing begins any more.
func (t *ticket) closed() bool {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	return t.f.closed
}

// end says that the handler has ended: done with the message, or without an outcome. Nothing is committed beyond the latter.
// The first call counts.
func (t *ticket) end(done bool) {
	if t.ended {
		return
	}
	t.ended = true
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.running--
	if t.l != nil && done {
		delete(t.l.pending, t.offset)
		t.l.finished = max(t.l.finished, t.offset)
	}
	if t.f.closed { // nobody waits before
		t.f.notify()
	}
}

// notify wakes waiters; the lock is held.
func (f *flow) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// suspend stops pulling: what is queued in the client is still handled.
func (f *flow) suspend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resume == nil {
		f.resume = make(chan struct{})
	}
}

// unsuspend goes on pulling.
func (f *flow) unsuspend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resume != nil {
		close(f.resume)
		f.resume = nil
	}
}

// close lets nothing more begin, but for what begin says.
func (f *flow) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.notify()
}

// stragglerWait bounds the wait for messages below the highest begun one that haven't begun: the client has started their
// goroutines already, unless it sleeps before it tries one again.
const stragglerWait = time.Second

// drain waits until all that may finish has, as long as ctx allows. It returns the number of handlers still running.
func (f *flow) drain(ctx context.Context) int {
	stragglers := time.NewTimer(stragglerWait)
	defer stragglers.Stop()
	waitForThem := true
	for {
		f.mu.Lock()
		running, behind, changed := f.running, f.behind(), f.changed
		f.mu.Unlock()
		if running == 0 && (!behind || !waitForThem) {
			return 0
		}
		select {
		case <-changed:
		case <-stragglers.C:
			waitForThem = false
		case <-ctx.Done():
			return running
		}
	}
}

// behind tells whether a message below the highest begun one hasn't begun; the lock is held.
func (f *flow) behind() bool {
	for _, l := range f.lives {
		for offset, begun := range l.pending {
			if !begun && offset < l.begun {
				return true
			}
		}
	}
	return false
}

// committable returns, of each queue that had a message finished, the offset up to which all is finished: the lowest
// unfinished one, or the one behind the highest finished.
func (f *flow) committable() map[primitive.MessageQueue]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := make(map[primitive.MessageQueue]int64, len(f.lives))
	for q, l := range f.lives {
		if l.finished < 0 {
			continue
		}
		next := l.finished + 1
		for offset := range l.pending {
			next = min(next, offset)
		}
		m[q] = next
	}
	return m
}
