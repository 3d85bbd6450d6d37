package ownership

import (
	"fmt"
	"testing"
	"time"
)

// asker is a member that wants a queue which another one has locked: requests take a millisecond each.
type asker struct {
	t      *testing.T
	now    time.Time
	m      *Machine
	r      *Roster
	listed []string
	holder string
	asked  map[ActionKind]int
}

// newAsker has seen so many members one after the other, each of which is gone.
func newAsker(t *testing.T, gone int) *asker {
	const self = "h@a#-#standin#v1#self"
	a := &asker{t: t, now: time.Unix(1_000_000, 0), listed: []string{self}, asked: make(map[ActionKind]int)}
	a.r = NewRoster(60 * time.Second)
	a.m = NewMachine(self, Config{}, a.r)
	for i := range gone {
		a.r.Read(a.now, append([]string{lifeID(i)}, a.listed...))
		a.now = a.now.Add(time.Millisecond)
	}
	a.r.Read(a.now, a.listed)
	a.m.Want(a.now, true)
	return a
}

func lifeID(i int) string { return fmt.Sprintf("h@a#gray#own#v1#%d", (i*7919)%10_007) } // their order is not that of their names

// until runs until the lock was granted, or for a span.
func (a *asker) until(span time.Duration) (granted bool, took time.Duration) {
	began := a.now
	for a.now.Sub(began) < span {
		do := a.m.Next(a.now)
		sent := a.now
		a.asked[do.Kind]++
		a.now = a.now.Add(time.Millisecond)
		switch do.Kind {
		case DoLock:
			if a.holder == "" {
				return true, a.now.Sub(began)
			}
			a.m.LockAnswered(a.now, sent, false, nil)
		case DoReadList:
			a.r.Read(sent, a.listed)
			a.m.ListRead(a.now, nil)
		case DoUnlockFor:
			if a.holder == do.ID {
				a.holder = ""
			}
			a.m.UnlockForDone()
		case DoNothing:
			a.asked[do.Kind]--
			wake, due := a.m.Wake()
			if !due {
				a.t.Fatalf("a machine that wants a queue waits for nothing: %+v", a.m)
			}
			if wake.After(a.now) {
				a.now = wake
			}
		default:
			a.t.Fatalf("action %d", do.Kind)
		}
	}
	return false, a.now.Sub(began)
}

// A lane that was started and killed a hundred times leaves a hundred ids behind: the last one's lock is taken first.
func TestLockOfTheLastGoneIsTakenFirst(t *testing.T) {
	const gone = 100
	a := newAsker(t, gone)
	a.holder = lifeID(gone - 1)
	if granted, took := a.until(time.Minute); !granted || took > 5*time.Millisecond {
		t.Errorf("granted %v after %v with %v, want it after a lock, a list, an unlock and a lock", granted, took, a.asked)
	}
}

// Whoever of those that are gone held the lock, it is taken without a pause.
func TestLockOfAnyGoneIsTaken(t *testing.T) {
	const gone = 100
	for i := range gone {
		a := newAsker(t, gone)
		a.holder = lifeID(i)
		granted, took := a.until(time.Minute)
		if limit := (gone + 2*8) * int(time.Millisecond); !granted || took > time.Duration(limit) {
			t.Errorf("held by the %d. of %d: granted %v after %v with %v, want within %v", i+1, gone, granted, took, a.asked, time.Duration(limit))
		}
	}
}

// A holder that is alive is asked in proportion to how long it takes, however many others are gone, and its giving is noticed
// within a quarter of that.
func TestLivingHolderIsNotPressed(t *testing.T) {
	for _, gone := range []int{0, 1, 10} {
		a := newAsker(t, gone)
		a.holder = "h@a#-#standin#v1#other"
		a.listed = append(a.listed, a.holder)
		held := 20 * time.Second
		if granted, _ := a.until(held); granted {
			t.Fatal("granted while it is held")
		}
		if n := a.asked[DoLock]; n < 20 || n > 60*(1+gone) {
			t.Errorf("%d gone: %d requests for the lock in %v: %v", gone, n, held, a.asked)
		}
		a.holder = ""
		if granted, took := a.until(time.Minute); !granted || took > 2*time.Second {
			t.Errorf("%d gone: granted %v %v after it was given", gone, granted, took)
		}
	}
	for _, held := range []time.Duration{4 * time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond} {
		a := newAsker(t, 0)
		a.holder = "h@a#-#standin#v1#other"
		a.listed = append(a.listed, a.holder)
		_, over := a.until(held)
		a.holder = ""
		if granted, took := a.until(time.Minute); !granted || over-held+took > held/4+5*time.Millisecond {
			t.Errorf("held for %v: granted %v after another %v", held, granted, over-held+took)
		}
	}
}

// A member that was cut off and is back: by a list read before, its first lock may be unlocked on its behalf, and while it settles
// another may take the queue, go on, and give it back, so that the renewal is granted. What it reads must be read after that.
func TestOffsetIsReadAfterSettling(t *testing.T) {
	a := newAsker(t, 0)
	a.m.Connection(a.now, false)
	a.m.Connection(a.now, true)
	a.r.Read(a.now, a.listed)
	back := a.now
	for !a.m.MayBegin(a.now) {
		sent := a.now
		switch do := a.m.Next(a.now); do.Kind {
		case DoLock:
			a.now = a.now.Add(time.Millisecond)
			a.m.LockAnswered(a.now, sent, true, nil)
		case DoRead:
			if since := sent.Sub(back); since < 2*time.Second {
				t.Fatalf("the offset is read %v after the connection came back, before the member settled", since)
			}
			a.m.OffsetRead(a.now, 5, nil)
		case DoNothing:
			wake, due := a.m.Wake()
			if !due || wake.Sub(back) > 10*time.Second {
				t.Fatalf("nothing is begun: next at %v (%v), state %v", wake, due, a.m.State())
			}
			a.now = wake
		default:
			t.Fatalf("action %d", do.Kind)
		}
	}
	if !a.m.Begin(a.now, 5) {
		t.Error("the message at the offset doesn't begin")
	}
	// One that is no longer wanted while it settles gives the lock back without having read or committed anything.
	a = newAsker(t, 0)
	a.m.Connection(a.now, false)
	a.m.Connection(a.now, true)
	a.r.Read(a.now, a.listed)
	if do := a.m.Next(a.now); do.Kind != DoLock {
		t.Fatalf("action %d, want a lock", do.Kind)
	}
	a.m.LockAnswered(a.now, a.now, true, nil)
	a.m.Want(a.now, false)
	if do := a.m.Next(a.now); do.Kind != DoUnlock {
		t.Errorf("action %d of a queue that isn't wanted any more, want an unlock", do.Kind)
	}
}

// A lock that is granted when nobody waits for the answer any more is given back: it would keep the others out until it lapses.
func TestLateGrantIsUnlocked(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	me := "h@" + InstanceName("a", "gray", Own, []string{"t"}, "1")
	r := NewRoster(time.Minute)
	r.Read(now, []string{me})
	m := NewMachine(me, Config{}, r)
	m.Want(now, true)
	if a := m.Next(now); a.Kind != DoLock {
		t.Fatalf("the machine wants %+v, not a lock", a)
	}
	sent := now
	m.Connection(now, false)
	m.Connection(now, true)
	m.Want(now, false)
	now = now.Add(time.Second)
	m.LockAnswered(now, sent, true, nil)
	if a := m.Next(now); a.Kind != DoUnlock {
		t.Fatalf("in state %s the machine wants %+v, not an unlock", m.State(), a)
	}
	m.UnlockAnswered(now, nil)
	if !m.Settled() {
		t.Errorf("state %s after the unlock, want %s", m.State(), Idle)
	}
}
