package graynacos

import "time"

// When the rules document is read (DESIGN.md, "Rules"): at the start; after a push at once, at 250 ms and at 1 s, since
// reads lag writes by up to 100 ms; every second for 10 s after a start, a change or a failure; every 10 s
// otherwise, since pushes get lost.
const (
	rereadSoon  = 250 * time.Millisecond
	rereadLater = time.Second
	pollFast    = time.Second
	pollSlow    = 10 * time.Second
	fastFor     = 10 * time.Second

	// minGap keeps reads below the client's own limit, 5 a second for one document and process (limiter.go), of which the
	// client itself takes one after a push.
	minGap = 250 * time.Millisecond
)

// schedule says when to read next. It is told the time and keeps none.
type schedule struct {
	last      time.Time // when the last read began; zero = never
	fastUntil time.Time
	due       []time.Time // after a push, in order
}

// pushed notes that the config centre announced a change. A newer push's reads take the place of an older one's: the
// first of them is due at once.
func (s *schedule) pushed(now time.Time) {
	s.due = []time.Time{now, now.Add(rereadSoon), now.Add(rereadLater)}
	s.fastUntil = now.Add(fastFor)
}

// read notes a read that began at a time, and whether it failed or found the document changed.
func (s *schedule) read(began time.Time, changed, failed bool) {
	if changed || failed || s.last.IsZero() {
		s.fastUntil = began.Add(fastFor)
	}
	s.last = began
	for len(s.due) > 0 && !s.due[0].After(began) {
		s.due = s.due[1:]
	}
}

// again asks for another read soon, after one that could not be made.
func (s *schedule) again(began time.Time) {
	if at := began.Add(minGap); len(s.due) == 0 || at.Before(s.due[0]) {
		s.due = append([]time.Time{at}, s.due...)
	}
}

// next returns when the next read is due; it may be in the past.
func (s *schedule) next(now time.Time) time.Time {
	if s.last.IsZero() {
		return now
	}
	at := s.last.Add(pollSlow)
	if s.last.Before(s.fastUntil) {
		at = s.last.Add(pollFast)
	}
	if len(s.due) > 0 && s.due[0].Before(at) {
		at = s.due[0]
	}
	if earliest := s.last.Add(minGap); at.Before(earliest) {
		at = earliest
	}
	return at
}
