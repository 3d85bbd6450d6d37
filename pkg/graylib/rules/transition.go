package rules

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Why a document may not follow the one in force. Each is wrapped by the errors of [CheckTransition] and [Apply].
var (
	ErrRevision  = errors.New("revision is not higher than the one in force")
	ErrNotListed = errors.New("lane without the time it was listed")
	ErrLane      = errors.New("lane changed in a way that would lose or repeat its messages")
)

// ForgetDelay is how long after its `until` a lane stays in the document at least: by then no message stored before
// `until` is on its way to a consumer that doesn't know of it (design/messages.md).
const ForgetDelay = 30 * time.Second

// MaxSkew is how far apart the clocks of publishers, of the config centre, of brokers and of services may be: a lane's
// messages are told from others by time, and its boundary lies 30 s before its listing (design/messages.md).
const MaxSkew = 15 * time.Second

// publishingTakes is more than there can be between the time that a publisher reads on its clock and its document being published.
const publishingTakes = 10 * time.Second

// Reading is what a reader of documents knows of the one that it judges.
type Reading struct {
	At     time.Time // now
	Missed bool      // documents may have been published, and replaced, that the reader never saw
	Since  time.Time // a time at which the document wasn't published yet; zero = unknown
}

// CheckTransition tells whether next may follow last, the last good document; nil stands for none. It is what every reader asks
// before it takes a document over, and every publisher before it publishes; all that is wrong is in the error, one line each.
//
//   - The revision must be higher than the last good one's, and at least 1.
//   - Every lane must have its time `listed`, which publishing writes.
//   - A lane that both documents list keeps its `listed`.
//   - A lane leaves when its `until` is [ForgetDelay] past; then it may also have been listed anew since. That nothing of it is
//     left readers can't know: no publisher but [Drop] takes a lane out.
//   - An `until` is published [ForgetNotice] before, and changed no later than [ForgetDelay] after it: otherwise messages that
//     were stored meanwhile would be nobody's, or two's. Clocks may differ by [MaxSkew].
//
// A reader that was away may have missed revisions in which a lane was forgotten, and perhaps listed anew. Forgetting
// takes one revision to set `until` and another to leave, listing anew a third. So where next is that many revisions
// higher, a lane that is gone or has a later `listed` is no reason for it to refuse. Who missed nothing, a publisher above all,
// isn't so lenient, however high the revision is.
func CheckTransition(last, next *Document, r Reading) error {
	var errs []error
	if next.Revision < 1 {
		errs = append(errs, next.at("revision", ErrRevision, "is missing: publish with `graychain rules apply`, which sets it"))
	} else if last != nil && next.Revision <= last.Revision {
		errs = append(errs, next.at("revision", ErrRevision, fmt.Sprintf("is %d, not higher than the last good document's %d; publish with `graychain rules apply`, which sets it", next.Revision, last.Revision)))
	}
	for i, l := range next.Lanes {
		if l.Listed.IsZero() {
			errs = append(errs, next.at(fmt.Sprintf("lanes[%d].listed", i), ErrNotListed, fmt.Sprintf("is missing in lane %s: publish with `graychain rules apply`, which sets it", l.Tag)))
		}
	}
	if last != nil {
		steps := next.Revision - last.Revision
		for _, l := range last.Lanes {
			if err := followLane(l, next, steps, r); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// followLane tells whether next may say of a lane what it says. steps is how many revisions lie between.
func followLane(was Lane, next *Document, steps int64, r Reading) error {
	leaves := was.Until.Add(ForgetDelay)
	mayLeave := !was.Until.IsZero() && !r.At.Before(leaves)
	i := next.laneIndex(was.Tag)
	if i < 0 {
		switch {
		case mayLeave, r.Missed && steps >= 2: // until is set, the lane leaves
			return nil
		case was.Until.IsZero():
			return next.at("lanes", ErrLane, fmt.Sprintf("lane %s is missing, which was listed at %s and hasn't been forgotten; keep it: `graychain lanes retire %s` and then `graychain lanes forget %s` let it leave",
				was.Tag, was.Listed.Format(timeLayout), was.Tag, was.Tag))
		default:
			return next.at("lanes", ErrLane, fmt.Sprintf("lane %s is missing, which is being forgotten and may leave at %s; keep it: `graychain lanes forget %s` takes it out when it may", was.Tag, leaves.Format(timeLayout), was.Tag))
		}
	}
	is := next.Lanes[i]
	if is.Listed.IsZero() || was.Listed.IsZero() {
		return nil
	}
	if is.Listed.Equal(was.Listed) {
		return followUntil(was, next, i, r)
	}
	anew := mayLeave && steps >= 2 && !is.Listed.Before(was.Until) // the lane leaves, and is listed
	if r.Missed {
		anew = steps >= 3 || steps == 2 && !was.Until.IsZero()
	}
	if anew && is.Listed.After(was.Listed) {
		return nil
	}
	return next.at(fmt.Sprintf("lanes[%d].listed", i), ErrLane, fmt.Sprintf("is %s, but lane %s was listed at %s; leave it as it was",
		is.Listed.Format(timeLayout), was.Tag, was.Listed.Format(timeLayout)))
}

// followUntil tells whether lane i of next may have its `until`.
func followUntil(was Lane, next *Document, i int, r Reading) error {
	is := next.Lanes[i]
	if is.Until.Equal(was.Until) || r.Missed || r.Since.IsZero() {
		return nil
	}
	field := fmt.Sprintf("lanes[%d].until", i)
	switch {
	case !was.Until.IsZero() && !r.Since.Before(was.Until.Add(ForgetDelay+MaxSkew)):
		return next.at(field, ErrLane, forgottenAlready(was))
	case !is.Until.IsZero() && is.Until.Before(r.Since.Add(ForgetNotice-MaxSkew-publishingTakes)):
		return next.at(field, ErrLane, fmt.Sprintf("is %s, less than %v after it was published: messages of lane %s that were stored since then would be nobody's; take it out, `graychain lanes forget %s` sets it",
			is.Until.Format(timeLayout), ForgetNotice, was.Tag, was.Tag))
	}
	return nil
}

func forgottenAlready(was Lane) string {
	return fmt.Sprintf("lane %s has been forgotten at %s: it can be listed anew when it has left the document", was.Tag, was.Until.Format(timeLayout))
}

// mayFollow tells whether a publisher may publish next where services have last. leaves is the lane that may leave ("" = none).
func mayFollow(last, next *Document, leaves graylib.Tag, now time.Time) error {
	return errors.Join(CheckTransition(last, next, Reading{At: now}), checkPublication(last, next, leaves, now))
}

// checkPublication tells what only a publisher can be held to: it knows the document that its own replaces, and the time. No
// lane may leave but leaves ("" = none), of which the caller knows that nothing is left; one that [CheckTransition] holds back
// anyhow is left to that.
func checkPublication(current, next *Document, leaves graylib.Tag, now time.Time) error {
	var errs []error
	if current != nil {
		for _, was := range current.Lanes {
			if was.Tag == leaves || next.laneIndex(was.Tag) >= 0 || was.Until.IsZero() || now.Before(was.Until.Add(ForgetDelay)) {
				continue
			}
			errs = append(errs, next.at("lanes", ErrLane, fmt.Sprintf("lane %s is missing, which is being forgotten; keep it: `graychain lanes forget %s` takes it out once nothing of it is left", was.Tag, was.Tag)))
		}
	}
	for i, l := range next.Lanes {
		at := fmt.Sprintf("lanes[%d]", i)
		var was Lane
		if current != nil {
			if j := current.laneIndex(l.Tag); j >= 0 {
				was = current.Lanes[j]
			}
		}
		if l.Listed.After(now.Add(time.Minute)) {
			errs = append(errs, next.at(at+".listed", ErrLane, fmt.Sprintf("is %s, in the future; leave it out: publishing sets it", l.Listed.Format(timeLayout))))
		}
		switch {
		case l.Until.Equal(was.Until):
		case !was.Until.IsZero() && !now.Before(was.Until.Add(ForgetDelay)):
			errs = append(errs, next.at(at+".until", ErrLane, forgottenAlready(was)))
		case !l.Until.IsZero() && l.Until.Before(now.Add(ForgetNotice-time.Second)):
			errs = append(errs, next.at(at+".until", ErrLane, fmt.Sprintf("is %s, less than %v from now: messages stored by then would be nobody's; leave it out, `graychain lanes forget %s` sets it", l.Until.Format(timeLayout), ForgetNotice, l.Tag)))
		}
	}
	return errors.Join(errs...)
}

// laneIndex returns where the lane with the tag stands, or -1.
func (d *Document) laneIndex(tag graylib.Tag) int {
	return slices.IndexFunc(d.Lanes, func(l Lane) bool { return l.Tag == tag })
}

// at returns a transition's problem as an error that wraps the cause.
func (d *Document) at(field string, cause error, message string) error {
	return &transitionError{Problem{Line: d.line(field), Field: field, Message: message}, cause}
}

type transitionError struct {
	problem Problem
	cause   error
}

func (e *transitionError) Error() string { return e.problem.String() }
func (e *transitionError) Unwrap() error { return e.cause }
