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

// CheckTransition tells whether next may follow last, the last good document; nil stands for none. now is the time at
// which next was read. It is what every reader asks before it takes a document over, and every publisher before it
// publishes; all that is wrong is in the error, one line each.
//
//   - The revision must be higher than the last good one's, and at least 1.
//   - Every lane must have its time `listed`, which publishing writes.
//   - A lane that both documents list keeps its `listed`.
//   - A lane leaves when its `until` is [ForgetDelay] past. That nothing of it is left readers can't know: no publisher but
//     [Drop] takes a lane out.
//
// A reader that was away may have missed revisions in which a lane was forgotten, and perhaps listed anew. Forgetting
// takes one revision to set `until` and another to leave, listing anew a third. So where next is that many revisions
// higher, a lane that is gone or has a later `listed` is no reason to refuse; a publisher always adds one revision.
func CheckTransition(last, next *Document, now time.Time) error {
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
		missed := next.Revision - last.Revision
		for _, l := range last.Lanes {
			if err := followLane(l, next, missed, now); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// followLane tells whether next may say of a lane what it says. steps is how many revisions lie between.
func followLane(was Lane, next *Document, steps int64, now time.Time) error {
	toForget := int64(2) // revisions: until is set, the lane leaves
	if !was.Until.IsZero() {
		toForget = 1
	}
	i := next.laneIndex(was.Tag)
	if i < 0 {
		switch leaves := was.Until.Add(ForgetDelay); {
		case !was.Until.IsZero() && !now.Before(leaves), steps >= 2:
			return nil
		case was.Until.IsZero():
			return next.at("lanes", ErrLane, fmt.Sprintf("lane %s is missing, which was listed at %s and hasn't been forgotten; keep it: `graychain lanes retire %s` and then `graychain lanes forget %s` let it leave",
				was.Tag, was.Listed.Format(timeLayout), was.Tag, was.Tag))
		default:
			return next.at("lanes", ErrLane, fmt.Sprintf("lane %s is missing, which is being forgotten and may leave at %s; keep it: `graychain lanes forget %s` takes it out when it may", was.Tag, leaves.Format(timeLayout), was.Tag))
		}
	}
	is := next.Lanes[i]
	if is.Listed.IsZero() || was.Listed.IsZero() || is.Listed.Equal(was.Listed) {
		return nil
	}
	if is.Listed.After(was.Listed) && steps > toForget {
		return nil
	}
	return next.at(fmt.Sprintf("lanes[%d].listed", i), ErrLane, fmt.Sprintf("is %s, but lane %s was listed at %s; leave it as it was",
		is.Listed.Format(timeLayout), was.Tag, was.Listed.Format(timeLayout)))
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
			errs = append(errs, next.at(at+".until", ErrLane, fmt.Sprintf("lane %s has been forgotten at %s: it can be listed anew when it has left the document", l.Tag, was.Until.Format(timeLayout))))
		case !l.Until.IsZero() && !l.Until.After(now):
			errs = append(errs, next.at(at+".until", ErrLane, fmt.Sprintf("is %s, in the past: messages stored since then would change hands twice", l.Until.Format(timeLayout))))
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
