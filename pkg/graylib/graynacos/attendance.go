package graynacos

import (
	"time"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

// awayAfter is how long after an answered read a reader may have missed that a lane was forgotten. Forgetting takes that long from
// when `until` is published: one machine sets it by a clock that may be MaxSkew behind, another takes the lane out by one that may be
// MaxSkew ahead; 10 s are for what publishing takes, and for reads that lag. A reader that is there reads every 10 s ([pollSlow]), and
// what counts is when an answered read began, so that a slow answer isn't absence.
const awayAfter = rules.ForgetNotice + rules.ForgetDelay - 2*rules.MaxSkew - 10*time.Second

// attendance tells what a reader of documents may have missed. A read that finds a text that is refused is as good as any: whoever
// goes on reading has seen everything that stayed for long.
//
// It holds state and decides; it is told the time. Its user locks.
type attendance struct {
	heard  time.Time // when the newest read that was answered began; zero = none was
	since  time.Time // the same of the newest that gave another text than the newest does
	missed bool      // it was away after the document in force was last seen
}

// read notes a read that was answered, and whether it gave another text than the one before.
func (a *attendance) read(began time.Time, changed bool) {
	a.missed = a.awayAt(began)
	if changed {
		a.since = a.heard
	}
	a.heard = began
}

// confirmed notes that the newest read gave the document in force.
func (a *attendance) confirmed() { a.missed = false }

// reading is what is known at a time of the text that the newest read gave.
func (a *attendance) reading(now time.Time) rules.Reading { return reading(now, a.missed, a.since) }

// pushed is what is known at a time of a text that is pushed then.
func (a *attendance) pushed(now time.Time) rules.Reading {
	return reading(now, a.awayAt(now), a.heard)
}

func reading(now time.Time, missed bool, since time.Time) rules.Reading {
	if !since.IsZero() {
		since = since.Add(-staleFor) // it may have been published already
	}
	return rules.Reading{At: now, Missed: missed, Since: since}
}

// awayAt tells whether something may have been missed by a time. While a machine sleeps its monotonic clock may stand still.
func (a *attendance) awayAt(now time.Time) bool {
	return a.missed || a.heard.IsZero() || now.Sub(a.heard) >= awayAfter || now.Round(0).Sub(a.heard.Round(0)) >= awayAfter
}
