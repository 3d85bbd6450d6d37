package ownership

import (
	"testing"
	"time"
)

// TestReset: what has begun may finish, the offset that was set is the life's last commit, and the next life begins there.
func TestReset(t *testing.T) {
	now := time.Now()
	m := ownedAt(t, now, 10)
	handle(t, m, now, 10, 12)
	if !m.Begin(now, 12) {
		t.Fatal("message 12 could not begin")
	}
	life := m.Span()
	for _, offset := range []int64{9, 3} { // the last one counts
		if !m.Reset(now, offset) {
			t.Fatalf("a queue couldn't be reset to %d", offset)
		}
	}
	if a := m.Next(now); a.Kind != DoNothing || m.MayBegin(now) {
		t.Fatalf("with a message in flight the machine wants %+v, and may begin: %t", a, m.MayBegin(now))
	}
	m.Finish(life, 12)
	var done []Action
	for m.State() != Owned {
		a := m.Next(now)
		done = append(done, a)
		switch a.Kind {
		case DoCommit:
			m.CommitAnswered(a.Offset, nil)
		case DoUnlock:
			m.UnlockAnswered(now, nil)
		case DoLock:
			m.LockAnswered(now, now, true, nil)
		case DoRead:
			m.OffsetRead(now, 3, nil)
		default:
			t.Fatalf("in state %s the machine wants %+v", m.State(), a)
		}
	}
	if len(done) != 4 || done[0] != (Action{Kind: DoCommit, Offset: 3}) || done[1].Kind != DoUnlock {
		t.Errorf("done: %+v; want a commit of 3 alone, an unlock, a lock and a read", done)
	}
	handle(t, m, now, 3, 4)
	if a := m.Next(now); a.Kind != DoCommit || a.Offset != 4 {
		t.Errorf("the machine wants %+v, not a commit of 4", a)
	}
}

// TestResetOfALostQueue: who has lost the lock commits nothing, a reset neither.
func TestResetOfALostQueue(t *testing.T) {
	now := time.Now()
	m := ownedAt(t, now, 10)
	if !m.Begin(now, 10) {
		t.Fatal("message 10 could not begin")
	}
	life := m.Span()
	m.Reset(now, 3)
	m.Connection(now, false)
	m.Connection(now, true)
	m.Finish(life, 10)
	if m.roster.Read(now, []string{m.self}); m.Next(now).Kind != DoLock || m.resetting {
		t.Errorf("state %s, resetting %t: want the lock asked for, and nothing else", m.State(), m.resetting)
	}
}
