package rules

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// ErrNoVersion is wrapped where the history doesn't hold the revision that is asked for.
var ErrNoVersion = errors.New("no such revision in the history")

// Version is a document that was published once.
type Version struct {
	ID       string    // the store's own
	Content  []byte    // as it was published; nil = the document was deleted
	At       time.Time // when it was published or deleted; zero = before what the history keeps
	By       string    // user and address of who did it, as far as the store knows
	Revision int64     // 0 = none can be read
	Problem  string    // why services refused it, as far as the text tells; empty = it is good
}

// Historian is a [Store] that keeps what was published.
type Historian interface {
	Store
	// History returns what was published, the newest first, limit at most (0 = the store's own bound). The first one is
	// what is published now, unless it was deleted.
	History(ctx context.Context, limit int) ([]Version, error)
}

// Judge fills in what the text tells: its revision, and what is wrong with it.
func (v *Version) Judge() {
	v.Revision, v.Problem = 0, ""
	if len(bytes.TrimSpace(v.Content)) == 0 {
		v.Problem = "the document is empty or was deleted"
		return
	}
	p := readPublished(v.Content)
	v.Revision = p.revision()
	if p.broken {
		_, err := Parse(v.Content)
		v.Problem = firstProblem(err)
		return
	}
	if err := CheckTransition(nil, p.doc, v.At); err != nil {
		var bad *transitionError
		if errors.As(err, &bad) {
			v.Problem = bad.problem.String()
		}
	}
}

// Rollback publishes what an earlier revision said as the next one. Requests are coloured, messages are consumed and
// marked as it said. What decides who owns messages that were sent since is not turned back, so that none is lost or
// repeated:
//
//   - A lane that is listed now keeps its `listed`, and its `until` and state where it is being forgotten.
//   - A lane that the earlier revision doesn't know stays, retired: it colours nothing more, what it left over is consumed. So
//     does one that is being forgotten, until [Drop] takes it out.
//   - A lane that has been forgotten since is listed anew.
//
// [CheckTransition] holds against the highest revision that the history or the store knows: the services may have it,
// whatever someone has published by hand since. The notes of the result say what differs from the earlier revision. It may
// be called again after any error. Of several versions with the revision the newest good one is taken.
func Rollback(ctx context.Context, store Historian, revision int64) (Result, error) {
	p := newPublisher(store)
	for attempt := 1; ; attempt++ {
		result, err := p.rollback(ctx, store, revision)
		if !errors.Is(err, ErrConflict) || attempt == maxAttempts {
			return result, err
		}
		if err := pause(ctx, readInterval); err != nil {
			return Result{}, err
		}
	}
}

func (p publisher) rollback(ctx context.Context, store Historian, revision int64) (Result, error) {
	published, sum, err := store.Get(ctx)
	if err != nil {
		return Result{}, err
	}
	history, err := store.History(ctx, 0)
	if err != nil {
		return Result{}, err
	}
	was := readPublished(published)
	result := Result{Revision: was.revision(), Previous: was.revision()}
	to, last := pick(append([]Version{{Content: published}}, history...), revision)
	if to == nil {
		return result, fmt.Errorf("revision %d: %w: it has %s (Nacos keeps 30 days by default)", revision, ErrNoVersion, revisions(history))
	}
	now := p.now()
	next, notes, err := restored(to, last, now)
	if err != nil {
		return result, err
	}
	doc, err := Parse(next)
	if err != nil {
		return result, err
	}
	if err := errors.Join(CheckTransition(last, doc, now), checkPublication(last, doc, "", now)); err != nil {
		return result, err
	}
	if err := store.Publish(ctx, next, sum); err != nil {
		return result, err
	}
	result = Result{Changed: true, Revision: doc.Revision, Previous: was.revision(), Content: next, Document: doc, Notes: append(was.notes, notes...)}
	return result, p.confirm(ctx, next, doc.Revision)
}

// pick returns the newest good version of a revision, and the good document of the highest one.
func pick(versions []Version, revision int64) (to []byte, last *Document) {
	for _, v := range versions {
		v.Judge()
		if v.Problem != "" {
			continue
		}
		if v.Revision == revision && to == nil {
			to = v.Content
		}
		if last == nil || v.Revision > last.Revision {
			last, _ = Parse(v.Content)
		}
	}
	return to, last
}

// revisions lists the revisions of good versions, for people.
func revisions(history []Version) string {
	var have []int64
	for _, v := range history {
		if v.Problem == "" {
			have = append(have, v.Revision)
		}
	}
	if len(have) == 0 {
		return "none"
	}
	slices.Sort(have)
	have = slices.Compact(have)
	const most = 20
	var b bytes.Buffer
	if len(have) > most {
		fmt.Fprintf(&b, "%d older ones, ", len(have)-most)
		have = have[len(have)-most:]
	}
	for i, r := range have {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.FormatInt(r, 10))
	}
	return b.String()
}

// restored makes the text that puts an earlier text in force after last, and says what it keeps of last.
func restored(earlier []byte, last *Document, now time.Time) (text []byte, notes []string, err error) {
	doc, err := Parse(earlier)
	if err != nil {
		return nil, nil, err
	}
	want := *doc
	want.Revision = last.Revision + 1
	want.Lanes = slices.Clone(doc.Lanes)
	for i := range want.Lanes {
		l := &want.Lanes[i]
		k := last.laneIndex(l.Tag)
		switch {
		case k < 0:
			l.Listed, l.Until = now.UTC().Truncate(time.Second), time.Time{}
			notes = append(notes, fmt.Sprintf("lane %s had been forgotten since: it is listed anew", l.Tag))
		case !last.Lanes[k].Until.IsZero():
			is := last.Lanes[k]
			if l.State != is.State || !l.Until.Equal(is.Until) {
				notes = append(notes, fmt.Sprintf("lane %s is being forgotten: it stays %s", l.Tag, cmp.Or(is.State, graylib.LaneActive)))
			}
			l.Listed, l.Until, l.State = is.Listed, is.Until, is.State
		default:
			if !l.Until.IsZero() {
				notes = append(notes, fmt.Sprintf("lane %s was being forgotten then, and has been listed anew since: it stays listed", l.Tag))
			}
			l.Listed, l.Until = last.Lanes[k].Listed, time.Time{}
		}
	}
	var stay []Lane
	for _, is := range last.Lanes {
		if want.laneIndex(is.Tag) >= 0 {
			continue
		}
		stay = append(stay, Lane{Tag: is.Tag, Listed: is.Listed, State: graylib.LaneRetired, Until: is.Until})
		notes = append(notes, fmt.Sprintf("lane %s was listed since: it stays, retired, until it is forgotten", is.Tag))
	}
	text, err = edited(earlier, &want, func(t *textEditor) error {
		for i, l := range want.Lanes {
			m, err := t.item("lanes", i)
			if err != nil {
				return err
			}
			for _, f := range []struct{ name, value, was, after string }{
				{"listed", timeText(l.Listed), timeText(doc.Lanes[i].Listed), "tag"},
				{"state", string(l.State), string(doc.Lanes[i].State), "listed"},
				{"until", timeText(l.Until), timeText(doc.Lanes[i].Until), "tag"},
			} {
				switch {
				case f.value == f.was:
				case f.value == "":
					err = t.remove(m, f.name)
				default:
					err = t.set(m, f.name, f.value, f.after)
				}
				if err != nil {
					return err
				}
			}
		}
		return t.set(t.root, "revision", strconv.FormatInt(want.Revision, 10), "")
	})
	for _, l := range stay {
		if err == nil {
			text, err = AddLane(text, l)
		}
	}
	return text, notes, err
}
