package ownership

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A reference that keeps everything and computes from the definitions.
type reference struct {
	limit     int
	committed int64
	begun     map[int64]bool // offset -> finished
	abandoned map[int64]bool
	order     []int64
}

func (r *reference) uncovered() []int64 {
	var out []int64
	for _, o := range r.order {
		if o >= r.committed {
			out = append(out, o)
		}
	}
	return out
}

func (r *reference) committable() int64 {
	top := r.committed
	offsets := slices.Sorted(slices.Values(r.uncovered()))
	for _, o := range offsets {
		if !r.begun[o] {
			return o
		}
		top = o + 1
	}
	return top
}

func TestSpanAgreesWithItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(0, 1000).Draw(t, "start")
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		s := NewSpan(start, limit)
		r := &reference{limit: limit, committed: start, begun: map[int64]bool{}, abandoned: map[int64]bool{}}
		next := start
		t.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				next += rapid.Int64Range(0, 5).Draw(t, "gap") // the broker filters: offsets have gaps
				want := len(r.uncovered()) < limit
				if got := s.Begin(next); got != want {
					t.Fatalf("Begin(%d) = %v, want %v", next, got, want)
				}
				if want {
					r.begun[next] = false
					r.order = append(r.order, next)
					next++
				}
			},
			"finish": func(t *rapid.T) {
				var open []int64
				for _, o := range r.uncovered() {
					if !r.begun[o] && !r.abandoned[o] {
						open = append(open, o)
					}
				}
				if len(open) == 0 {
					t.Skip("nothing in flight")
				}
				o := rapid.SampledFrom(open).Draw(t, "offset")
				s.Finish(o)
				r.begun[o] = true
			},
			"abandon": func(t *rapid.T) {
				var open []int64
				for _, o := range r.uncovered() {
					if !r.begun[o] && !r.abandoned[o] {
						open = append(open, o)
					}
				}
				if len(open) == 0 {
					t.Skip("nothing in flight")
				}
				o := rapid.SampledFrom(open).Draw(t, "offset")
				s.Abandon(o)
				r.abandoned[o] = true
			},
			"commit": func(t *rapid.T) {
				s.Commit(s.Committable())
				r.committed = r.committable()
			},
			"begin twice": func(t *rapid.T) {
				if u := r.uncovered(); len(u) > 0 && s.Begin(u[0]) {
					t.Fatalf("message %d began twice", u[0])
				}
			},
			"": func(t *rapid.T) {
				if got, want := s.Committable(), r.committable(); got != want {
					t.Fatalf("Committable() = %d, want %d", got, want)
				}
				if got, want := s.Len(), len(r.uncovered()); got != want || got > limit {
					t.Fatalf("Len() = %d, want %d, limit %d", got, want, limit)
				}
				inFlight := 0
				for _, o := range r.uncovered() {
					if !r.begun[o] && !r.abandoned[o] {
						inFlight++
					}
				}
				if s.InFlight() != inFlight {
					t.Fatalf("InFlight() = %d, want %d", s.InFlight(), inFlight)
				}
				if s.Due() && s.Committable() <= s.Committed() {
					t.Fatal("a commit is due that commits nothing")
				}
			},
		})
	})
}

func TestSpanNeverBlocksForever(t *testing.T) {
	s := NewSpan(0, 4)
	for o := range int64(1000) {
		if !s.Begin(o) {
			t.Fatalf("message %d can't begin: span %d, committed %d", o, s.Len(), s.Committed())
		}
		s.Finish(o)
		if s.Due() {
			s.Commit(s.Committable())
		}
	}
}

// TestAbandonedMessageIsNotCommitted: neither what begins or finishes behind an abandoned message nor what is passed lets a
// commit go past it.
func TestAbandonedMessageIsNotCommitted(t *testing.T) {
	s := NewSpan(10, 4)
	for _, offset := range []int64{12, 15, 16} {
		s.Begin(offset)
	}
	s.Finish(12)
	s.Abandon(15)
	s.Abandon(15) // once
	s.Finish(15)  // not in flight: ignored
	s.Finish(16)
	s.Pass(30)
	if got := s.Committable(); got != 15 {
		t.Errorf("Committable() = %d, want 15: it must be handled by the next owner", got)
	}
	if got := s.InFlight(); got != 0 {
		t.Errorf("InFlight() = %d, want 0: nobody finishes an abandoned message", got)
	}
	if s.Begin(15) {
		t.Error("an abandoned message began again in the same life")
	}
	s.Commit(15)
	if got := s.Len(); got != 2 || s.Due() {
		t.Errorf("after the commit Len() = %d, want 2, and Due() = %v, want false", got, s.Due())
	}
}

func BenchmarkSpan(b *testing.B) {
	s := NewSpan(0, 64)
	b.ReportAllocs()
	for o := int64(0); b.Loop(); o++ {
		s.Begin(o)
		s.Finish(o)
		if s.Due() {
			s.Commit(s.Committable())
		}
	}
}

// TestAbandonedWhileGiving: a message whose handler came to no outcome is not waited for, and not committed, also where what was
// pulled is noted as seen to after that.
func TestAbandonedWhileGiving(t *testing.T) {
	now := time.Now()
	m := ownedAt(t, now, 5)
	life := m.Span()
	for _, offset := range []int64{5, 6} {
		if !m.Begin(now, offset) {
			t.Fatalf("%d could not begin", offset)
		}
	}
	m.Finish(life, 5)
	m.Want(now, false)
	if a := m.Next(now); a.Kind != DoNothing {
		t.Fatalf("a message is in flight, and the machine wants %+v", a)
	}
	m.Abandon(life, 6)
	m.Pass(life, 7)
	if a := m.Next(now); a.Kind != DoCommit || a.Offset != 6 {
		t.Errorf("the machine wants %+v, want to commit 6", a)
	}
}
