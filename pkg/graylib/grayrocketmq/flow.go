package grayrocketmq

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/hooks"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// flow lets messages of one [broadcaster] through to their handlers, holds them back, and knows which are under way.
//
// The life of a queue in a member is the client's *primitive.MessageQueue: the client makes one for each time that the
// queue is assigned, and shows the same to the filter hook and to the handler.
type flow struct {
	mu      sync.Mutex
	closed  bool
	resume  chan struct{} // while suspended; closed by resuming
	lives   map[primitive.MessageQueue]*life
	running int
	changed chan struct{} // closed and replaced at each change that a waiter may wait for
}

// life is what became of a queue's messages since it was assigned.
type life struct {
	key     *primitive.MessageQueue
	pending map[int64]bool // pulled and not ended; true = begun
	begun   int64          // the highest offset that was begun, or -1
}

func newFlow() *flow {
	return &flow{lives: make(map[primitive.MessageQueue]*life), changed: make(chan struct{})}
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
		l = &life{key: mq, pending: make(map[int64]bool, len(msgs)), begun: -1}
		f.lives[*mq] = l
	}
	for _, m := range msgs {
		if _, ok := l.pending[m.QueueOffset]; !ok {
			l.pending[m.QueueOffset] = false
		}
	}
}

// handlers returns how many handlers run.
func (f *flow) handlers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
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
}

// end says that the handler has ended. It is called once.
func (t ticket) end() {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.f.running--
	if t.l != nil {
		delete(t.l.pending, t.offset)
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
