package ownership

import (
	"time"
)

// LockAnswered takes in the answer to DoLock: granted, refused, or neither known (an error: the request may have
// been carried out).
func (m *Machine) LockAnswered(now, sentAt time.Time, granted bool, err error) {
	if m.busy != DoLock {
		if granted && m.state == Idle { // nobody wants it any more
			m.renewed, m.state = sentAt, Unlock
		}
		return
	}
	m.busy = DoNothing
	switch m.state {
	case Locking:
		m.firstLock(now, sentAt, granted, err)
	case Reading, Owned, Giving:
		switch {
		case granted:
			m.granted(sentAt)
			m.renewNext(now, sentAt)
		case err == nil:
			m.lose(now)
		default:
			m.renewAt = now.Add(m.config.Retry)
		}
	case Idle, Commit, Unlock, Lost:
	}
}

func (m *Machine) granted(sentAt time.Time) {
	m.renewed = sentAt
	if !sentAt.Before(m.beginFrom) {
		m.allowed = true
	}
}

// renewNext says when the lock that was granted is renewed. A broker that is slow with locks is left as long in peace as it took:
// what else there is to ask, commits above all, comes in between.
func (m *Machine) renewNext(now, sentAt time.Time) {
	m.renewAt = sentAt.Add(m.config.Renew)
	if earliest := now.Add(min(now.Sub(sentAt), m.config.BeginWithin/4)); m.renewAt.Before(earliest) {
		m.renewAt = earliest
	}
}

func (m *Machine) firstLock(now, sentAt time.Time, granted bool, err error) {
	switch {
	case granted && !m.wanted:
		m.renewed = sentAt
		m.state = Unlock
	case granted:
		m.state, m.allowed = Reading, false
		m.granted(sentAt)
		m.renewNext(now, sentAt)
	case !m.wanted && err == nil:
		m.state = Idle
	case !m.wanted:
		m.state = Unlock // it may have been granted
		m.renewed = sentAt
	case err != nil:
		m.backOff(now)
	default:
		m.refusedAt, m.retryAt = sentAt, now // the list is read first; what it shows decides
	}
}

// ListRead says that the roster has taken in a list; an error says that it hasn't.
func (m *Machine) ListRead(now time.Time, err error) {
	if m.busy == DoReadList {
		m.busy = DoNothing
	}
	if m.state != Locking || m.busy != DoNothing {
		return
	}
	if err != nil || !m.listed() {
		m.backOff(now)
	}
}

// refused decides what to do about a refused lock, by the list that was read since, by whomever.
func (m *Machine) refused(now time.Time) {
	m.refusedAt = time.Time{}
	if m.rules.unlockUnseen {
		m.onBehalf = []string{"*"}
		return
	}
	// Whoever was seen last most likely held it, and a lane that crashes again and again leaves many behind: one is
	// unlocked for, then twice as many as before each further try. After all of them the holder must be alive.
	if gone := m.roster.Gone(); m.tried < len(gone) && !now.Before(m.calmTill) {
		next := min(2*m.tried+1, len(gone))
		m.onBehalf, m.tried, m.retryAt = gone[m.tried:next], next, now
		return
	}
	m.backOff(now)
}

// backOff puts the next try off, by a share of what was waited so far: a handoff that takes long is asked for seldom, and what
// it takes beyond the other side's part stays in proportion to that.
func (m *Machine) backOff(now time.Time) {
	m.tried = 0
	m.retryAt = now.Add(min(max(now.Sub(m.lockingAt)/4, m.config.Retry), m.config.RetryMax))
}

// UnlockForDone says that an unlock on behalf of another was answered, or failed; the next try to lock tells.
func (m *Machine) UnlockForDone() {
	if m.busy == DoUnlockFor {
		m.busy = DoNothing
	}
}

// OffsetRead takes in the committed offset; known false says that none is stored, and start is where to begin then.
func (m *Machine) OffsetRead(now time.Time, committed int64, err error) {
	if m.busy != DoRead {
		return
	}
	m.busy = DoNothing
	if m.state != Reading || err != nil {
		return // still Reading: asked again
	}
	m.span = NewSpan(committed, m.config.Span)
	m.state = Owned
	if !m.wanted {
		m.give(now)
	}
}

// CommitAnswered takes in the answer to DoCommit.
func (m *Machine) CommitAnswered(offset int64, err error) {
	if m.busy != DoCommit {
		return
	}
	m.busy = DoNothing
	switch {
	case err != nil || m.span == nil:
	case m.resetting && m.state == Commit:
		m.resetting, m.state = false, Unlock // what the life itself would commit doesn't count any more
	default:
		m.span.Commit(offset)
	}
}

// UnlockAnswered takes in the answer to DoUnlock.
func (m *Machine) UnlockAnswered(now time.Time, err error) {
	if m.busy != DoUnlock {
		return
	}
	m.busy = DoNothing
	if m.state != Unlock || err != nil {
		return // asked again; an unlock of what isn't held changes nothing
	}
	m.state, m.span = Idle, nil
	if m.wanted {
		m.startLocking(now)
	}
}
