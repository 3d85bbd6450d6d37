package grayrocketmq

import (
	"errors"
	"time"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// routeAgain is how soon the routes are read again where something says that they have changed. It also bounds how often.
const routeAgain = time.Second

// untilRoutes waits until the routes are to be read: a while, or less where a broker seems to be another machine now. It tells
// whether the member is still there.
func (m *laneMember) untilRoutes(wait time.Duration) bool {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.reroute:
		return sleep(m.ctx, min(routeAgain, wait))
	case <-m.ctx.Done():
		return false
	}
}

// locate takes in where a route says that a broker's master is; the lock is held. Where that isn't the machine to which the
// member is connected, and the next reading says the same, the connection is given up, as if it had been lost: the machine may
// well live on, but offsets and locks are at the new master, and messages too.
func (m *laneMember) locate(b *laneBroker, addr string) {
	b.addr = addr
	before := b.elsewhere
	if b.elsewhere = ""; b.session == nil || b.session.Addr() == addr {
		return
	}
	if before != addr {
		b.elsewhere = addr
		poke(m.reroute)
		return
	}
	m.c.log().Warn("another machine is a broker's master now: the connection to the one before is given up",
		"group", m.place.group, "broker", b.name, "before", b.session.Addr(), "now", addr)
	_ = b.session.Close()
}

// When a broker refuses pulls: it is told from the firstTold-th in a row on, and again after tellAgain.
const (
	firstTold = 4
	tellAgain = 10 * time.Minute
)

// refused takes in that so many pulls in a row have failed. What a broker says is the queue's state until it answers again, and
// logged once per reason. After the fourth, the eighth, and so on, the routes are read: another machine may be the master by now.
func (q *laneQueue) refused(err error, failed int) {
	log := q.m.c.log().With("group", q.m.place.group, "broker", q.b.name, "queue", q.q.String())
	log.Debug("a pull failed", "error", err)
	if errors.Is(err, remoting.ErrUnreachable) {
		return // the connection's business
	}
	reason := err.Error()
	if r := (*remoting.ResponseError)(nil); errors.As(err, &r) {
		reason = r.Reason()
	}
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	q.refusal = "the broker refuses pulls: " + reason
	if failed < firstTold || failed&(failed-1) != 0 {
		return
	}
	poke(q.m.reroute)
	if now := time.Now(); now.Sub(q.b.told[reason]) >= tellAgain {
		if q.b.told == nil || len(q.b.told) > 100 { // reasons may quote what changes
			q.b.told = make(map[string]time.Time)
		}
		q.b.told[reason] = now
		log.Warn("a broker refuses pulls; going on trying", "error", err)
	}
}

// answered takes in that a pull was answered after some that were not.
func (q *laneQueue) answered() {
	q.m.mu.Lock()
	defer q.m.mu.Unlock()
	q.refusal = ""
}
