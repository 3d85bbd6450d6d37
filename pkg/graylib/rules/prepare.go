package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// ErrStale is wrapped where a file was made of an older revision than the one that is published.
var ErrStale = errors.New("stale revision")

// Prepare makes of a file's text the text to publish after current (nil = nothing is published), keeping comments and
// layout. It sets the revision to current's plus one, and `listed` in each lane that lacks it: as current has it, and now
// for a lane that current doesn't list. It doesn't judge the transition; [CheckTransition] does.
//
// A file with a `revision` says which one it was made of: where that isn't current's, someone else published meanwhile,
// and the error wraps [ErrStale]. A file without one (or with 0) replaces whatever is published. Where nothing is
// published, the file's own revision plus one is taken, so that a document that was lost can be published again. Times
// `listed` of lanes that current doesn't know are refused, because the lane would claim messages that others have
// handled; where nothing is published, they are kept.
func Prepare(content []byte, current *Document, now time.Time) ([]byte, error) {
	doc, err := Parse(content)
	if err != nil {
		return nil, err
	}
	if current != nil && doc.Revision != 0 && doc.Revision != current.Revision {
		return nil, stale(doc, current.Revision)
	}
	base := doc.Revision
	if current != nil {
		base = current.Revision
	}
	return prepare(content, doc, current, base+1, now)
}

// stale returns the error of a file that was made of another revision than the one that is published.
func stale(doc *Document, published int64) error {
	return doc.at("revision", ErrStale, fmt.Sprintf("%d is stale, revision %d is published: take over what changed (`graychain rules get` shows it), or leave revision out to replace it",
		doc.Revision, published))
}

// prepare sets the revision and the times `listed`.
func prepare(content []byte, doc, current *Document, revision int64, now time.Time) ([]byte, error) {
	want := *doc
	want.Revision = revision
	want.Lanes = slices.Clone(doc.Lanes)
	var errs []error
	for i := range want.Lanes {
		l := &want.Lanes[i]
		known := -1
		if current != nil {
			known = current.laneIndex(l.Tag)
		}
		switch {
		case l.Listed.IsZero() && known >= 0:
			l.Listed = current.Lanes[known].Listed
			if l.Listed.IsZero() { // published by hand
				l.Listed = now.UTC().Truncate(time.Second)
			}
		case l.Listed.IsZero():
			l.Listed = now.UTC().Truncate(time.Second)
		case current != nil && known < 0:
			errs = append(errs, doc.at(fmt.Sprintf("lanes[%d].listed", i), ErrLane, fmt.Sprintf("is %s, but lane %s is not published yet; leave it out: publishing sets it", l.Listed.Format(timeLayout), l.Tag)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return edited(content, &want, func(t *textEditor) error {
		for i, l := range want.Lanes {
			if !doc.Lanes[i].Listed.IsZero() {
				continue
			}
			m, err := t.item("lanes", i)
			if err != nil {
				return err
			}
			if err := t.set(m, "listed", timeText(l.Listed), "tag"); err != nil {
				return err
			}
		}
		return t.set(t.root, "revision", strconv.FormatInt(revision, 10), "")
	})
}
