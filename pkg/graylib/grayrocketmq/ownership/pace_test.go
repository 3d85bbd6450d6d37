package ownership

import (
	"testing"
	"time"
)

// ownedAt returns a machine that owns its queue from now on, at an offset.
func ownedAt(t *testing.T, now time.Time, offset int64) *Machine {
	t.Helper()
	me := "h@" + InstanceName("a", "gray", Own, []string{"t"}, "1")
	r := NewRoster(time.Minute)
	r.Read(now, []string{me})
	m := NewMachine(me, Config{}, r)
	m.Want(now, true)
	for m.State() != Owned {
		switch a := m.Next(now); a.Kind {
		case DoLock:
			m.LockAnswered(now, now, true, nil)
		case DoRead:
			m.OffsetRead(now, offset, nil)
		default:
			t.Fatalf("in state %s the machine wants %+v", m.State(), a)
		}
	}
	return m
}

// handle begins and finishes messages.
func handle(t *testing.T, m *Machine, now time.Time, from, to int64) {
	t.Helper()
	for o := from; o < to; o++ {
		if !m.Begin(now, o) {
			t.Fatalf("message %d could not begin: span %d", o, m.Span().Len())
		}
		m.Finish(m.Span(), o)
	}
}

// TestCommitsArePaced: the first commit goes out at once; the next one that isn't pressing waits, and Wake tells until when; half of
// the span doesn't wait, nor does a queue that is given.
func TestCommitsArePaced(t *testing.T) {
	now := time.Now()
	pace := Config{}.WithDefaults().Pace
	m := ownedAt(t, now, 0)
	commit := func(want int64) {
		t.Helper()
		if wake, due := m.Wake(); !due || wake.After(now) {
			t.Fatalf("Wake() = %v, %v: want at once", wake, due)
		}
		if a := m.Next(now); a.Kind != DoCommit || a.Offset != want {
			t.Fatalf("the machine wants %+v, not a commit of %d", a, want)
		}
		m.CommitAnswered(want, nil)
	}
	waits := func(until time.Time) {
		t.Helper()
		if a := m.Next(now); a.Kind != DoNothing {
			t.Fatalf("the machine wants %+v", a)
		}
		if wake, due := m.Wake(); !due || !wake.Equal(until) {
			t.Fatalf("Wake() = %v, %v: want %v", wake, due, until)
		}
	}
	handle(t, m, now, 0, 1)
	commit(1)
	sent := now
	now = now.Add(pace / 2)
	handle(t, m, now, 1, 3)
	waits(sent.Add(pace))
	now = sent.Add(pace)
	commit(3)
	sent = now
	now = now.Add(pace / 4)
	handle(t, m, now, 3, 3+DefaultSpan/2-1)
	waits(sent.Add(pace))
	handle(t, m, now, 3+DefaultSpan/2-1, 3+DefaultSpan/2)
	commit(3 + DefaultSpan/2)
	handle(t, m, now, 3+DefaultSpan/2, 4+DefaultSpan/2)
	m.Want(now, false)
	commit(4 + DefaultSpan/2)
}

// TestWakeOfWhatIsGiven: the last handler's end is what a queue that is given, or was lost, waits for.
func TestWakeOfWhatIsGiven(t *testing.T) {
	now := time.Now()
	for name, end := range map[string]func(m *Machine){
		"given": func(m *Machine) { m.Want(now, false) },
		"lost":  func(m *Machine) { m.Connection(now, false) },
	} {
		m := ownedAt(t, now, 0)
		life := m.Span()
		for o := range int64(2) {
			m.Begin(now, o)
		}
		end(m)
		m.Finish(life, 0)
		if wake, due := m.Wake(); !due || !wake.After(now) {
			t.Errorf("%s, one handler runs: Wake() = %v, %v", name, wake, due)
		}
		m.Abandon(life, 1)
		if wake, due := m.Wake(); !due || wake.After(now) {
			t.Errorf("%s, no handler runs: Wake() = %v, %v: want at once", name, wake, due)
		}
	}
}

// TestSlowLocksStarveNoCommit: however long the broker takes to answer renewals, commits go out between them, and messages go on.
func TestSlowLocksStarveNoCommit(t *testing.T) {
	for _, slow := range []time.Duration{time.Millisecond, 1100 * time.Millisecond, 5 * time.Second, 20 * time.Second} {
		now := time.Now()
		m := ownedAt(t, now, 0)
		var handled, committed int64
		for end := now.Add(10 * time.Minute); now.Before(end); {
			for m.Begin(now, handled) {
				m.Finish(m.Span(), handled)
				handled++
			}
			switch a := m.Next(now); a.Kind {
			case DoLock:
				sentAt := now
				now = now.Add(slow)
				m.LockAnswered(now, sentAt, true, nil)
			case DoCommit:
				committed = a.Offset
				now = now.Add(time.Millisecond)
				m.CommitAnswered(a.Offset, nil)
			case DoNothing:
				now = now.Add(10 * time.Millisecond)
			default:
				t.Fatalf("locks that take %v: in state %s the machine wants %+v", slow, m.State(), a)
			}
		}
		if rounds := int64(10*time.Minute/(3*slow+time.Second)) * DefaultSpan / 2; committed < rounds {
			t.Errorf("locks that take %v: %d committed and %d handled in 10 minutes, want at least %d", slow, committed, handled, rounds)
		}
	}
}
