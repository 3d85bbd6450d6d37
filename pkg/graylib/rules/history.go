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
	if err := CheckTransition(nil, p.doc, Reading{At: v.At}); err != nil {
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
// [CheckTransition] holds against what a service has that was never away, whatever someone has published by hand since, and the
// new revision is higher than all that the history or the store knows. The notes of the result say what differs from the earlier revision. It may
// be called again after any error. Of several versions with the revision the newest good one is taken.
func Rollback(ctx context.Context, store Historian, revision int64) (Result, error) {
	p := newPublisher(store)
	var err error
	if p.clock, err = p.checkClock(ctx); err != nil {
		return Result{}, err
	}
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
	now := p.now()
	versions := withPublished(history, published, now)
	to := pick(versions, revision)
	if to == nil {
		return result, fmt.Errorf("revision %d: %w: it has %s (Nacos keeps 30 days by default)", revision, ErrNoVersion, revisions(history))
	}
	have := servicesHave(versions, now)
	next, notes, err := restored(to, have.last, have.highest+1, now)
	if err != nil {
		return result, err
	}
	doc, err := Parse(next)
	if err != nil {
		return result, err
	}
	if err := mayFollow(have.last, doc, "", now); err != nil {
		return result, err
	}
	clock, err := p.clock.judge(have.last, doc)
	if err != nil {
		return result, err
	}
	if err := store.Publish(ctx, next, sum); err != nil {
		return result, err
	}
	result = Result{Changed: true, Revision: doc.Revision, Previous: was.revision(), Content: next, Document: doc, Notes: slices.Concat(was.notes, notes, clock)}
	return result, p.confirm(ctx, next, doc.Revision)
}

// pick returns the newest good version of a revision, nil where there is none.
func pick(versions []Version, revision int64) []byte {
	for _, v := range versions {
		if v.Judge(); v.Problem == "" && v.Revision == revision {
			return v.Content
		}
	}
	return nil
}

// withPublished returns the history with what is published now at its head, where it isn't there yet.
func withPublished(history []Version, published []byte, now time.Time) []Version {
	if len(history) > 0 && bytes.Equal(history[0].Content, published) {
		return history
	}
	return append([]Version{{Content: published, At: now}}, history...)
}

// replayed is what the history tells of a service that was never away.
type replayed struct {
	last    *Document // what it has in force; nil = none
	text    []byte    // of last
	highest int64     // revision of the good documents, those that it refused included: one that started or was away may have another
	refused int       // how many versions it refused
}

// servicesHave goes through what was published, the newest first, as a service that was never away did.
func servicesHave(versions []Version, now time.Time) replayed {
	var have replayed
	for i, v := range slices.Backward(versions) {
		have.refused++
		if v.Judge(); v.Problem != "" {
			continue
		}
		doc, err := Parse(v.Content)
		if err != nil {
			continue
		}
		have.highest = max(have.highest, doc.Revision)
		replaced := now // until then it was judged again and again
		if i > 0 && !versions[i-1].At.IsZero() {
			replaced = versions[i-1].At
		}
		if CheckTransition(have.last, doc, Reading{At: replaced, Since: v.At}) == nil {
			have.last, have.text = doc, v.Content
			have.refused--
		}
	}
	return have
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

// restored makes the text of a revision that puts an earlier text in force after last, and says what it keeps of last.
func restored(earlier []byte, last *Document, revision int64, now time.Time) (text []byte, notes []string, err error) {
	doc, err := Parse(earlier)
	if err != nil {
		return nil, nil, err
	}
	want := *doc
	want.Revision = revision
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
