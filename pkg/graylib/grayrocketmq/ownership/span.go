package ownership

import "slices"

// DefaultSpan is the default of a span's limit (G6).
const DefaultSpan = 64

// Span follows the messages of one queue, in one life of its ownership: which were begun and which finished, in any order,
// and what of it the broker knows. After a crash at most [Span.Len] messages are handled again.
//
// Offsets of a group's messages have gaps, since the broker filters; so the span counts messages, not offsets.
// A Span is not safe for concurrent use.
type Span struct {
	limit     int
	committed int64   // what the broker has acknowledged
	next      int64   // 1 beyond the highest offset begun, or passed over
	pending   []entry // begun and not covered by committed, in order of offset
	inFlight  int
}

type entry struct {
	offset    int64
	finished  bool
	abandoned bool // its handler ended without an outcome
}

func (e entry) inFlight() bool { return !e.finished && !e.abandoned }

// NewSpan starts a life at the committed offset that was read under the lock. A limit below 1 means [DefaultSpan].
func NewSpan(committed int64, limit int) *Span {
	if limit < 1 {
		limit = DefaultSpan
	}
	return &Span{limit: limit, committed: committed, next: committed}
}

// Len returns the number of messages that would be handled again if the process crashed now.
func (s *Span) Len() int { return len(s.pending) }

// InFlight returns the number of messages begun, and neither finished nor abandoned.
func (s *Span) InFlight() int { return s.inFlight }

// Committed returns what the broker has acknowledged.
func (s *Span) Committed() int64 { return s.committed }

// MayBegin tells whether one more message may begin within the limit.
func (s *Span) MayBegin() bool { return len(s.pending) < s.limit }

// Begin notes that the message's handler starts; false says that it must not, because the limit is reached or because the
// message is begun already or covered by a commit.
func (s *Span) Begin(offset int64) bool {
	if !s.MayBegin() || offset < s.committed {
		return false
	}
	i, found := s.find(offset)
	if found {
		return false
	}
	s.pending = slices.Insert(s.pending, i, entry{offset: offset})
	s.inFlight++
	s.next = max(s.next, offset+1)
	return true
}

// Finish notes that the message is done with: handled, or sent back. A message that isn't in flight is ignored.
func (s *Span) Finish(offset int64) {
	if i, found := s.find(offset); found && s.pending[i].inFlight() {
		s.pending[i].finished = true
		s.inFlight--
	}
}

// Abandon notes that the message's handler ended without an outcome. It is no longer in flight, and nothing is committed past
// it: in this life it doesn't begin again, whoever owns the queue next begins it. A message that isn't in flight is ignored.
func (s *Span) Abandon(offset int64) {
	if i, found := s.find(offset); found && s.pending[i].inFlight() {
		s.pending[i].abandoned = true
		s.inFlight--
	}
}

// Pass notes that nothing of the group's below offset is left to begin: what the broker's filter left out counts as done
// with. All below it that is the group's must have begun.
func (s *Span) Pass(offset int64) { s.next = max(s.next, offset) }

// Committable returns the offset that may be committed: the lowest unfinished message's, or 1 beyond the highest begun.
// It never lies below what is committed. Messages that lie between begun ones and were never begun must not exist: members
// begin in the order in which they pull.
func (s *Span) Committable() int64 {
	for _, e := range s.pending {
		if !e.finished {
			return max(e.offset, s.committed)
		}
	}
	return max(s.next, s.committed)
}

// Commit notes that the broker has acknowledged the offset. Older answers than the last are ignored.
func (s *Span) Commit(offset int64) {
	if offset <= s.committed {
		return
	}
	s.committed = offset
	s.next = max(s.next, offset)
	n := 0
	for n < len(s.pending) && s.pending[n].offset < offset {
		if s.pending[n].inFlight() {
			s.inFlight-- // committed past it: a forced handoff gave it up
		}
		n++
	}
	s.pending = slices.Delete(s.pending, 0, n)
}

// Due tells whether a commit should be sent: there is something to commit, and either nothing is in flight or half of
// the limit is used up. So a crash repeats little where the work is slow, and a quick queue commits once per half span.
func (s *Span) Due() bool { return (s.inFlight == 0 || s.Pressing()) && s.Committable() > s.committed }

// Pressing tells whether half of the limit is used up: a commit that is due can't wait.
func (s *Span) Pressing() bool { return len(s.pending)*2 >= s.limit }

func (s *Span) find(offset int64) (int, bool) {
	// Messages begin nearly in order: look from the end.
	for i := len(s.pending) - 1; i >= 0; i-- {
		switch o := s.pending[i].offset; {
		case o == offset:
			return i, true
		case o < offset:
			return i + 1, false
		}
	}
	return 0, false
}
