package ownership

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// The search below runs the shipped Machine, Roster, Span and Allocate of several members against a model of the broker
// (member list, lock table, committed offset of one queue), through every interleaving of what members and the world may
// do within a scenario's budgets. A decision and its execution at the broker are two steps, so that anything may come
// between them.

const messages = 2

var epoch = time.Unix(1_000_000, 0)

// life is one member in the model.
type life struct {
	id      string
	joined  bool
	left    bool
	crashed bool
	cut     bool // cut off: nothing it sends arrives; it may not know yet
	tainted bool // this life of the queue counts as crashed: what it has in its span may be repeated
	leaving bool
	mode    graylib.Mode
	roster  *Roster
	m       *Machine
	pending Action
	sentAt  time.Time
	pos     int64 // next offset to begin, in this life
	spanOf  *Span // the life that pos belongs to
}

func (l *life) alive() bool { return l.joined && !l.left && !l.crashed }

type world struct {
	now       time.Time
	members   []*life
	listed    map[string]bool // the broker's list
	holder    string
	lockedAt  time.Time
	committed int64
	begun     [messages]int
	finished  [messages]int
	excused   [messages]int // repeats that a crash allows
	mode      graylib.Mode
	budget    budget
	trace     *step
}

type budget struct{ crashes, cuts, modes, seconds, jumps, leaves, drops, fails int8 }

type step struct {
	text string
	prev *step
}

func (s *step) String() string {
	var lines []string
	for ; s != nil; s = s.prev {
		lines = append(lines, s.text)
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

func (w *world) clone() *world {
	c := *w
	c.listed = maps.Clone(w.listed)
	c.members = make([]*life, len(w.members))
	for i, l := range w.members {
		n := *l
		r := *l.roster
		r.seen = maps.Clone(l.roster.seen)
		n.roster = &r
		m := *l.m
		m.roster = &r
		if l.m.span != nil {
			s := *l.m.span
			s.pending = slices.Clone(l.m.span.pending)
			m.span = &s
			if l.spanOf == l.m.span {
				n.spanOf = &s
			}
		}
		n.m = &m
		c.members[i] = &n
	}
	return &c
}

// key is the canonical form of a state: times relative to now, in milliseconds.
func (w *world) key() [16]byte {
	h := fnv.New128a()
	var buf [8]byte
	num := func(vs ...int64) {
		for _, v := range vs {
			binary.LittleEndian.PutUint64(buf[:], uint64(v))
			_, _ = h.Write(buf[:])
		}
	}
	at := func(t time.Time) {
		if t.IsZero() {
			num(-1 << 40)
			return
		}
		num(max(w.now.Sub(t), -200*time.Second, min(w.now.Sub(t), 200*time.Second)).Milliseconds())
	}
	bit := func(bs ...bool) {
		v := int64(0)
		for _, b := range bs {
			v <<= 1
			if b {
				v |= 1
			}
		}
		num(v)
	}
	str := func(s string) { num(int64(len(s))); _, _ = h.Write([]byte(s)) }
	str(w.holder)
	if w.holder != "" {
		at(w.lockedAt)
	}
	num(w.committed)
	for i := range messages {
		num(int64(w.begun[i]), int64(w.finished[i]), int64(w.excused[i]))
	}
	str(string(w.mode))
	b := w.budget
	num(int64(b.crashes), int64(b.cuts), int64(b.modes), int64(b.seconds), int64(b.jumps), int64(b.leaves), int64(b.drops), int64(b.fails))
	for _, l := range w.members {
		m := l.m
		bit(l.joined, l.left, l.crashed, l.cut, l.tainted, l.leaving, w.listed[l.id], m.wanted, m.connected, m.allowed, m.settling)
		if !m.backAt.IsZero() && (m.settling || w.now.Before(m.beginFrom)) {
			bit(m.roster.ReadAt().Before(m.backAt))
			at(m.beginFrom)
		}
		if l.left || l.crashed {
			continue
		}
		str(string(l.mode))
		num(int64(m.state), int64(m.busy), int64(l.pending.Kind), l.pending.Offset, l.pos, int64(m.forced))
		str(l.pending.ID)
		if l.pending.Kind != DoNothing {
			at(l.sentAt)
		}
		if m.Holds() {
			bit(w.now.Before(m.commitAt))
			at(m.renewed)
			at(m.renewAt)
			at(m.beginFrom)
		}
		if m.state == Giving || m.state == Lost {
			at(m.drainTill)
		}
		if m.state == Locking {
			at(m.retryAt) // lockingAt makes no difference: tries are a second apart here, at least and at most
			at(m.refusedAt)
			num(int64(m.tried))
			for _, id := range m.onBehalf {
				str(id)
			}
		}
		if w.now.Before(m.calmTill) {
			at(m.calmTill)
		}
		if m.span != nil {
			num(m.span.committed, m.span.next, int64(len(m.span.pending)))
			for _, e := range m.span.pending {
				bit(e.finished, e.abandoned)
				num(e.offset)
			}
		} else {
			num(-7)
		}
		at(l.roster.readAt)
		for _, id := range slices.Sorted(maps.Keys(l.roster.seen)) {
			str(id)
			bit(l.roster.Lists(id))
		}
		for _, id := range l.roster.Gone() { // in the order in which it is unlocked for them
			str(id)
		}
	}
	var k [16]byte
	h.Sum(k[:0])
	return k
}

type violation string

func (w *world) fail(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

// settle lets a member decide, as its driver does after each input.
func (w *world) settle(l *life) {
	if !l.alive() {
		return
	}
	before, forced := l.m.span, l.m.forced
	if l.pending.Kind == DoNothing || l.m.busy == DoNothing {
		l.pending = Action{}
		if a := l.m.Next(w.now); a.Kind != DoNothing {
			l.pending, l.sentAt = a, w.now
		}
	}
	if l.m.forced > forced && !l.tainted { // a handler outlasted the drain limit: its message may be repeated
		for _, e := range before.pending {
			if e.offset >= before.Committable() && !e.abandoned {
				w.excused[e.offset]++
			}
		}
	}
	if l.m.span != before && l.m.span == nil {
		l.tainted = false
	}
	if l.m.state == Lost {
		l.tainted = true
	}
	if l.leaving && l.m.state == Idle {
		l.left = true
		delete(w.listed, l.id)
	}
}

// reallocate recomputes what a member wants.
func (w *world) reallocate(l *life) {
	if l.leaving {
		l.m.Want(w.now, false)
		return
	}
	q := []Queue{{Topic: "t", Broker: "b"}}
	got, err := Allocate(l.id, l.roster.IDs(), l.mode, q)
	if err != nil {
		w.fail("allocate: %v", err)
	}
	l.m.Want(w.now, len(got) == 1)
}

func (w *world) readList(l *life, sentAt time.Time) {
	l.roster.Read(sentAt, slices.Sorted(maps.Keys(w.listed)))
}

// execute carries out a member's pending action at the broker, and delivers the answer.
func (w *world) execute(l *life) {
	a := l.pending
	l.pending = Action{}
	switch a.Kind {
	case DoLock:
		granted := w.holder == "" || w.holder == l.id || w.now.Sub(w.lockedAt) > l.m.config.LockLife
		if granted {
			w.holder, w.lockedAt = l.id, w.now
		}
		l.m.LockAnswered(w.now, l.sentAt, granted, nil)
	case DoReadList:
		sent := w.now.Add(time.Microsecond) // after the refusal, which may bear the same time in the model
		w.readList(l, sent)
		w.reallocate(l)
		l.m.ListRead(w.now, nil)
	case DoUnlockFor:
		if w.holder == a.ID || a.ID == "*" {
			w.holder = ""
		}
		l.m.UnlockForDone()
	case DoRead:
		l.m.OffsetRead(w.now, w.committed, nil)
		l.pos, l.spanOf, l.tainted = w.committed, l.m.span, false
	case DoCommit:
		if a.Offset < w.committed {
			w.fail("G6: %s moved the committed offset back from %d to %d", l.id, w.committed, a.Offset)
		}
		for o := range a.Offset {
			if w.finished[o] == 0 {
				w.fail("G5: %s committed %d although message %d was finished by nobody", l.id, a.Offset, o)
			}
		}
		w.committed = a.Offset
		l.m.CommitAnswered(a.Offset, nil)
	case DoUnlock:
		if w.holder == l.id {
			w.holder = ""
		}
		l.m.UnlockAnswered(w.now, nil)
	case DoNothing:
	}
}

// check holds the invariants of every state.
func (w *world) check() {
	begins := ""
	for _, l := range w.members {
		if l.alive() && l.m.MayBegin(w.now) {
			if begins != "" {
				w.fail("mutual exclusion: %s and %s may both begin", begins, l.id)
			}
			begins = l.id
		}
	}
	for o := range messages {
		if w.begun[o] > 1+w.excused[o] {
			w.fail("G6: message %d was begun %d times, %d excused", o, w.begun[o], w.excused[o])
		}
	}
}

// taint says that what the member has in its span may be repeated.
func (w *world) taint(l *life) {
	if l.m.span != nil && !l.tainted {
		for _, e := range l.m.span.pending {
			if !e.abandoned { // that was excused then
				w.excused[e.offset]++
			}
		}
	}
	l.tainted = true
}

// steps returns every state that can follow.
func (w *world) steps() []*world {
	var out []*world
	try := func(text string, f func(n *world)) {
		n := w.clone()
		n.trace = &step{text: text, prev: w.trace}
		defer func() {
			if r := recover(); r != nil {
				v, ok := r.(violation)
				if !ok {
					panic(r)
				}
				panic(violation(string(v) + "\n" + n.trace.String()))
			}
		}()
		f(n)
		for _, l := range n.members {
			n.settle(l)
		}
		n.check()
		out = append(out, n)
	}
	busy := false
	for i, l := range w.members {
		if !l.joined {
			try(l.id+" joins", func(n *world) {
				m := n.members[i]
				m.joined, m.mode = true, n.mode
				n.readList(m, n.now)
				n.reallocate(m)
			})
			continue
		}
		if !l.alive() {
			continue
		}
		if l.pending.Kind != DoNothing && !l.cut {
			busy = true
			try(fmt.Sprintf("%s: %s %s %d", l.id, actionNames[l.pending.Kind], l.pending.ID, l.pending.Offset), func(n *world) { n.execute(n.members[i]) })
		}
		if m := l.m; m.span != nil && l.spanOf == m.span {
			if l.pos < messages && m.MayBegin(w.now) {
				try(fmt.Sprintf("%s begins %d", l.id, l.pos), func(n *world) {
					s := n.members[i]
					if !s.m.Begin(n.now, s.pos) {
						n.fail("Begin refused what MayBegin allowed")
					}
					n.begun[s.pos]++
					if s.tainted {
						n.excused[s.pos]++
					}
					s.pos++
				})
			}
			for j, e := range m.span.pending {
				// A handler fails, and isn't called again in this life. In order nothing behind its message has begun; others are abandoned
				// where the life is lost, alone.
				last := !slices.ContainsFunc(m.span.pending[j+1:], func(e entry) bool { return !e.abandoned })
				if e.inFlight() && (m.state == Giving && last || m.state == Lost) && w.budget.fails > 0 {
					try(fmt.Sprintf("%s abandons %d", l.id, e.offset), func(n *world) {
						n.budget.fails--
						s := n.members[i]
						s.m.Abandon(s.m.span, e.offset)
						s.m.Pass(s.m.span, s.pos)
						if !s.tainted {
							n.excused[e.offset]++
						}
					})
				}
				if e.inFlight() {
					try(fmt.Sprintf("%s finishes %d", l.id, e.offset), func(n *world) {
						n.members[i].m.span.Finish(e.offset)
						n.finished[e.offset]++
					})
				}
			}
		}
		if l.m.Holds() && w.now.Before(l.m.commitAt) {
			try(l.id+" may commit again", func(n *world) { n.members[i].m.commitAt = time.Time{} })
		}
		if !l.cut && !l.leaving && !slices.Equal(l.roster.IDs(), slices.Sorted(maps.Keys(w.listed))) {
			try(l.id+" sees the list", func(n *world) {
				n.readList(n.members[i], n.now)
				n.reallocate(n.members[i])
			})
		}
		if l.mode != w.mode && !l.leaving {
			try(l.id+" sees mode "+string(w.mode), func(n *world) {
				n.members[i].mode = n.mode
				n.reallocate(n.members[i])
			})
		}
		if w.budget.leaves > 0 && !l.leaving {
			try(l.id+" stops", func(n *world) {
				n.budget.leaves--
				n.members[i].leaving = true
				n.reallocate(n.members[i])
			})
		}
		if w.budget.crashes > 0 {
			try(l.id+" crashes", func(n *world) {
				n.budget.crashes--
				n.taint(n.members[i])
				n.members[i].crashed = true
				delete(n.listed, n.members[i].id)
			})
		}
		if w.budget.drops > 0 && !l.cut {
			try(l.id+" loses its connection", func(n *world) {
				n.budget.drops--
				s := n.members[i]
				n.taint(s)
				s.pending = Action{}
				delete(n.listed, s.id)
				s.m.Connection(n.now, false)
			})
		}
		if !l.m.connected && !l.cut {
			try(l.id+" is connected again", func(n *world) {
				n.members[i].m.Connection(n.now, true)
			})
		}
		if l.m.connected && !l.cut && !w.listed[l.id] {
			busy = true // heartbeats go out at once
			try(l.id+" is listed", func(n *world) { n.listed[l.id] = true })
		}
		if w.budget.cuts > 0 && !l.cut && l.m.connected {
			try(l.id+" is cut off", func(n *world) {
				n.budget.cuts--
				n.taint(n.members[i])
				n.members[i].cut = true
			})
		}
		if l.cut {
			try(l.id+" is no longer cut off, connection lost", func(n *world) {
				s := n.members[i]
				s.cut = false
				s.pending = Action{}
				delete(n.listed, s.id)
				s.m.Connection(n.now, false)
			})
		}
	}
	if w.budget.modes > 0 {
		try("mode changes", func(n *world) {
			n.budget.modes--
			if n.mode == graylib.ModeAuto {
				n.mode = graylib.ModeIgnore
			} else {
				n.mode = graylib.ModeAuto
			}
		})
	}
	if !busy { // requests take less than a second
		if w.budget.seconds > 0 {
			try("1 s passes", func(n *world) { n.budget.seconds--; n.now = n.now.Add(time.Second) })
		}
		if w.budget.jumps > 0 {
			try("31 s pass", func(n *world) { n.budget.jumps--; n.now = n.now.Add(31 * time.Second) })
		}
	}
	return out
}

var actionNames = [...]string{"nothing", "lock", "read list", "unlock for", "read offset", "commit", "unlock"}

// converge runs a state on fairly and without further faults, and tells whether all messages get consumed.
func (w *world) converge() bool {
	n := w.clone()
	n.budget = budget{}
	n.mode = graylib.ModeAuto
	for range 400 {
		idle := true
		for _, l := range n.members {
			if !l.joined {
				l.joined, l.mode = true, n.mode
				n.listed[l.id] = true
			}
			if !l.alive() {
				continue
			}
			if l.cut {
				l.cut, l.pending = false, Action{}
				delete(n.listed, l.id)
				l.m.Connection(n.now, false)
			}
			if !l.m.connected {
				n.listed[l.id] = true
				l.m.Connection(n.now, true)
			}
			n.listed[l.id] = true
			l.mode = n.mode
			n.readList(l, n.now)
			n.reallocate(l)
			n.settle(l)
			for l.alive() && l.pending.Kind != DoNothing {
				n.execute(l)
				n.settle(l)
				if l.pending.Kind == DoLock && l.m.state == Locking || l.pending.Kind == DoReadList {
					break
				}
				idle = false
			}
			if s := l.m.span; s != nil && l.spanOf == s && l.alive() {
				for _, e := range slices.Clone(s.pending) {
					if e.inFlight() {
						s.Finish(e.offset)
						n.finished[e.offset]++
						idle = false
					}
				}
				for l.pos < messages && l.m.Begin(n.now, l.pos) {
					l.pos++
					idle = false
				}
			}
			n.settle(l)
		}
		done := n.committed == messages
		someone := false
		for _, l := range n.members {
			m, err := ParseMember(l.id)
			someone = someone || l.alive() && !l.leaving && err == nil && m.Wants("t")
		}
		if done || !someone {
			return true
		}
		if idle {
			n.now = n.now.Add(time.Second)
		}
	}
	w.trace = &step{text: fmt.Sprintf("…and then nothing more happens: holder %q, committed %d", n.holder, n.committed), prev: w.trace}
	return false
}
