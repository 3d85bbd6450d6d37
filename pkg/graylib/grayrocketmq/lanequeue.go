package grayrocketmq

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// laneQueue drives the machine of one queue of a lane's group. What the machine wants is done one after the other, by one
// goroutine; while the queue is owned, another one pulls and begins messages.
type laneQueue struct {
	m    *laneMember
	b    *laneBroker
	q    remoting.Queue
	kick chan struct{} // holds one: the machine has something to do, or may have
	room chan struct{} // holds one: a message that could not begin may, now

	// Under the member's lock.
	machine *ownership.Machine
	span    *ownership.Span    // of the life that is being pulled for
	stop    context.CancelFunc // ends that
	max     int64              // the offset that the queue's next message will have, as last seen
	wake    time.Time          // when run looks at the machine again by itself; zero = at once
	waiting string             // why the next message is held back; empty = it isn't
	missing time.Time          // since when its broker is missing in the topic's route; zero = it isn't
	gone    bool               // it has left the topic's route: nobody is to own it
	refusal string             // what the broker says instead of answering pulls; empty = it answers
	gave    bool               // the last life that ended was given up as planned
	forced  int                // of the machine's, those that were counted
}

// never is later than any time.
var never = time.Unix(1<<40, 0)

// sooner has the machine looked at where it has become due earlier than it is looked at anyway; the lock is held.
func (q *laneQueue) sooner() {
	if wake, due := q.machine.Wake(); due && wake.Before(q.wake) {
		poke(q.kick)
	}
}

// errorPause keeps what fails at once from being asked for in a loop.
const errorPause = 50 * time.Millisecond

func (q *laneQueue) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		q.m.mu.Lock()
		now := time.Now()
		action := q.machine.Next(now)
		q.follow()
		session := q.b.session
		wake, due := q.machine.Wake()
		if q.wake = wake; !due {
			q.wake = never
		}
		q.m.mu.Unlock()
		poke(q.room)
		if action.Kind != ownership.DoNothing {
			if err := q.do(session, action); err != nil && !sleep(q.m.ctx, errorPause) {
				return
			}
			continue
		}
		var after <-chan time.Time
		if due {
			timer.Reset(max(time.Until(wake), 0))
			after = timer.C
		}
		select {
		case <-q.m.ctx.Done():
			q.m.mu.Lock()
			q.span = nil
			if q.stop != nil {
				q.stop()
			}
			q.m.mu.Unlock()
			return
		case <-q.kick:
		case <-after:
		}
	}
}

// follow starts and ends pulling, as the machine says; the lock is held.
func (q *laneQueue) follow() {
	var span *ownership.Span
	if q.machine.State() == ownership.Owned {
		span = q.machine.Span()
	}
	q.count(span)
	if span == q.span {
		return
	}
	if q.stop != nil {
		q.stop()
		q.stop = nil
	}
	q.refusal = ""
	if q.span = span; span == nil || q.b.session == nil {
		return
	}
	ctx, stop := context.WithCancel(q.m.ctx)
	q.stop = stop
	session := q.b.session
	from := span.Committed()
	q.m.wg.Go(func() { q.pull(ctx, session, span, from) })
}

// count counts that pulling ends, begins, or both, and that a give did not wait; the lock is held.
func (q *laneQueue) count(span *ownership.Span) {
	if span != q.span && q.span != nil {
		state := q.machine.State()
		q.gave = state == ownership.Giving || state == ownership.Commit || state == ownership.Unlock
		switch {
		case q.gave:
			q.m.tally.given.Add(1)
		case state != ownership.Owned: // else it is begun anew at what the broker has
			q.m.tally.lost.Add(1)
		}
	}
	if span != q.span && span != nil {
		q.m.tally.taken.Add(1)
	}
	if n := q.machine.Forced(); n > q.forced {
		q.forced = n
		if q.gave {
			q.m.tally.forced.Add(1)
		}
	}
}

// do does what the machine wants and feeds the answer in.
func (q *laneQueue) do(s *remoting.Session, a ownership.Action) error {
	ctx, group, queue := q.m.ctx, q.m.place.group, []remoting.Queue{q.q}
	sentAt := time.Now()
	answered := func(feed func(now time.Time)) {
		q.m.mu.Lock()
		defer q.m.mu.Unlock()
		feed(time.Now())
	}
	var err error
	switch a.Kind {
	case ownership.DoLock:
		var locked []remoting.Queue
		locked, err = s.Lock(ctx, s.Addr(), group, q.m.id, queue)
		answered(func(now time.Time) { q.machine.LockAnswered(now, sentAt, slices.Contains(locked, q.q), err) })
	case ownership.DoReadList:
		err = q.m.readList(q.b, s)
		answered(func(now time.Time) { q.machine.ListRead(now, err) })
	case ownership.DoUnlockFor:
		err = s.Unlock(ctx, s.Addr(), group, a.ID, queue)
		answered(func(time.Time) { q.machine.UnlockForDone() })
	case ownership.DoRead:
		var offset int64
		if offset, err = q.committed(ctx, s); err == nil {
			q.m.c.held.note(group, q.q, offset)
		}
		answered(func(now time.Time) { q.machine.OffsetRead(now, offset, err) })
	case ownership.DoCommit:
		if err = s.SetConsumerOffset(ctx, s.Addr(), group, q.q, a.Offset); err == nil {
			q.m.c.held.note(group, q.q, a.Offset)
		}
		answered(func(time.Time) { q.machine.CommitAnswered(a.Offset, err) })
	case ownership.DoUnlock:
		err = s.Unlock(ctx, s.Addr(), group, q.m.id, queue)
		answered(func(now time.Time) { q.machine.UnlockAnswered(now, err) })
	case ownership.DoNothing:
	}
	if err != nil && q.m.ctx.Err() == nil {
		q.m.c.log().Debug("a request for a queue of a lane's group failed", "group", group, "queue", q.q.String(), "error", err)
		if remoting.TimedOut(err) {
			// Whether the broker did it nobody knows, and whether it is there neither: begin anew. Until here a request waits longer than
			// a broker's pauses take; what begins meanwhile is bound by when the last granted renewal was sent, not answered.
			_ = s.Close()
		}
	}
	return err
}

// pullHold is how long a broker may hold a pull that finds nothing.
const pullHold = 15 * time.Second

// fetch pulls what begins at an offset, while the consumer isn't suspended, and tries again until there is an answer. The channel
// gets it, or nothing where ctx ends before.
func (q *laneQueue) fetch(ctx context.Context, s *remoting.Session, pos int64) <-chan remoting.Pulled {
	answer := make(chan remoting.Pulled, 1)
	q.m.wg.Go(func() {
		filter := remoting.Subscription{Topic: q.q.Topic, Expression: "*", Type: "TAG"}
		for failed := 0; q.m.unsuspended(ctx); {
			if !strings.HasPrefix(q.q.Topic, retryPrefix) {
				filter = q.m.filter(q.m.subscriptionTo(q.q.Topic)) // constant, but for a change between filter: server and client
			}
			r, err := s.Pull(ctx, remoting.Pull{Group: q.m.place.group, Queue: q.q, Offset: pos, Max: q.m.c.set.pullBatch, Hold: pullHold, Filter: filter})
			if err == nil {
				q.m.tally.pulledBytes.Add(int64(r.Bytes))
				if failed > 0 {
					q.answered()
				}
				if q.m.unsuspended(ctx) { // the broker may have held the pull since before
					answer <- r
				}
				return
			}
			if failed++; ctx.Err() == nil {
				q.refused(err, failed)
			}
			if !sleep(ctx, 2*errorPause) {
				return
			}
		}
	})
	return answer
}

// pull pulls and begins messages, in order, until ctx ends. While messages begin, those behind them are pulled.
func (q *laneQueue) pull(ctx context.Context, s *remoting.Session, span *ownership.Span, pos int64) {
	next := q.fetch(ctx, s, pos)
	for {
		var r remoting.Pulled
		select {
		case r = <-next:
		case <-ctx.Done():
			return
		}
		if r.Next < pos {
			if pos > r.Max {
				q.m.c.log().Error("the broker has lost messages of a queue: going on at what it has", "group", q.m.place.group, "queue", q.q.String(), "at", pos, "next", r.Next)
			}
			q.reset(r.Next)
			return
		}
		next = q.fetch(ctx, s, r.Next)
		if !q.beginAll(ctx, span, slices.DeleteFunc(r.Messages, func(m *primitive.MessageExt) bool { return m.QueueOffset < pos })) {
			return
		}
		q.m.mu.Lock()
		q.max = r.Max
		q.machine.Pass(span, r.Next)
		q.sooner()
		q.m.mu.Unlock()
		pos = r.Next
	}
}

// reset has the queue consumed from another offset on, further back than it is: what has begun may finish, then that offset is
// committed, and the queue is taken anew.
func (q *laneQueue) reset(offset int64) {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	log := q.m.c.log().With("group", q.m.place.group, "queue", q.q.String(), "offset", offset)
	switch {
	case q.machine.Reset(time.Now(), offset):
		log.Info("a queue is to go on at an offset that was set")
		poke(q.kick)
	case q.machine.Holds():
		log.Warn("an offset was set while the queue is changing hands: set it again if it isn't heeded")
	}
}

// reset has those of the queues that the member owns consumed from other offsets on.
func (m *laneMember) reset(to map[remoting.Queue]int64) {
	for queue, offset := range to {
		m.mu.Lock()
		q := m.queues[queue]
		m.mu.Unlock()
		if q != nil {
			q.reset(offset)
		}
	}
}

// holdBack notes why the queue's next message waits; empty = it doesn't.
func (q *laneQueue) holdBack(reason string) {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	q.waiting = reason
}
