package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// ErrUnconfirmed is wrapped where a document was published, but reading it back still gave an older one.
var ErrUnconfirmed = errors.New("published, but not visible yet")

// Times and bounds of publishing. Reads lag writes by some 100 ms, and Nacos's client reads a key 5 times a second at most.
const (
	readInterval   = 250 * time.Millisecond
	confirmTimeout = 5 * time.Second
	maxAttempts    = 8
)

// Result is what publishing came to.
type Result struct {
	Changed  bool      // false: the document said the same already, and nothing was published
	Revision int64     // in force now
	Previous int64     // what was in force before; 0 = nothing was
	Content  []byte    // the document in force, as published
	Document *Document // the same, read
	Notes    []string  // what the author should know, one line each
}

// Apply publishes a file's text as the next revision of the document: it reads the current one, prepares the text
// ([Prepare]), checks that it may follow ([CheckTransition]), publishes it by compare-and-set, and waits until it can be
// read back. Where someone else published in between, it starts anew: a file that names its revision is stale then, and
// refused. A file without a lane that is published is refused too, with [ErrLane]: [Drop] takes lanes out. On any error but
// [ErrUnconfirmed] nothing has been changed by Apply, unless the error is the store's own.
func Apply(ctx context.Context, store Store, content []byte) (Result, error) {
	return newPublisher(store).modify(ctx, func([]byte) ([]byte, error) { return content, nil })
}

// Modify publishes what change makes of the current document's text (nil = nothing is published). Where someone else
// published in between, change is called again with the newer text; so no change of either is lost. Like [Apply] it takes no
// lane out.
func Modify(ctx context.Context, store Store, change func(current []byte) ([]byte, error)) (Result, error) {
	return newPublisher(store).modify(ctx, change)
}

// Drop publishes the document without a lane that is being forgotten from until on ([DropLane]). Its caller has seen that nothing
// of the lane is left: its messages would be nobody's (design/messages.md, "A lane's life", step 4), and a document doesn't tell.
// The error wraps [ErrLane] before until is [ForgetDelay] past, [ErrRelisted] where the document says another time, and [ErrNoLane]
// or [ErrMarked].
func Drop(ctx context.Context, store Store, tag graylib.Tag, until time.Time) (Result, error) {
	p := newPublisher(store)
	p.leaves = tag
	return p.modify(ctx, func(current []byte) ([]byte, error) {
		doc, err := parseOrEmpty(current)
		if err != nil {
			return nil, err
		}
		if err := doc.Forgets(tag, until); err != nil {
			return nil, err
		}
		return DropLane(current, tag)
	})
}

type publisher struct {
	store  Store
	now    func() time.Time
	leaves graylib.Tag // the lane that may leave; empty = none
}

func newPublisher(store Store) publisher { return publisher{store: store, now: time.Now} }

func (p publisher) modify(ctx context.Context, change func(current []byte) ([]byte, error)) (Result, error) {
	for attempt := 1; ; attempt++ {
		result, err := p.once(ctx, change)
		if !errors.Is(err, ErrConflict) || attempt == maxAttempts {
			return result, err
		}
		if err := pause(ctx, readInterval); err != nil {
			return Result{}, err
		}
	}
}

func (p publisher) once(ctx context.Context, change func(current []byte) ([]byte, error)) (Result, error) {
	published, sum, err := p.store.Get(ctx)
	if err != nil {
		return Result{}, err
	}
	was := readPublished(published)
	content, err := change(was.text())
	if err != nil {
		return Result{}, err
	}
	result := Result{Revision: was.revision(), Previous: was.revision()}
	next, err := p.prepare(content, &was)
	if err != nil {
		return result, err
	}
	if next == nil {
		result.Content, result.Document = published, was.doc
		return result, nil
	}
	doc, err := Parse(next)
	if err != nil {
		return result, err
	}
	now, judged := p.now(), *doc
	if own, err := Parse(content); err == nil {
		judged.lines = own.lines // the author knows the lines of the file
	}
	if err := errors.Join(CheckTransition(was.doc, &judged, now), checkPublication(was.doc, &judged, p.leaves, now)); err != nil {
		return result, err
	}
	if err := p.store.Publish(ctx, next, sum); err != nil {
		return result, err
	}
	result = Result{Changed: true, Revision: doc.Revision, Previous: was.revision(), Content: next, Document: doc, Notes: was.notes}
	return result, p.confirm(ctx, next, doc.Revision)
}

// prepare returns the text to publish, nil where it is published already.
func (p publisher) prepare(content []byte, was *published) ([]byte, error) {
	if was.broken {
		return was.repair(content, p.now())
	}
	next, err := Prepare(content, was.doc, p.now())
	if err != nil || was.doc == nil {
		return next, err
	}
	doc, err := Parse(content)
	if err != nil {
		return nil, err
	}
	if again, err := prepare(content, doc, was.doc, was.doc.Revision, p.now()); err == nil && bytes.Equal(again, was.content) {
		return nil, nil
	}
	return next, nil
}

// confirm reads until the published text, or a later revision, comes back.
func (p publisher) confirm(ctx context.Context, content []byte, revision int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, confirmTimeout, fmt.Errorf("revision %d: %w after %v", revision, ErrUnconfirmed, confirmTimeout))
	defer cancel()
	for {
		got, _, err := p.store.Get(ctx)
		if err == nil && (bytes.Equal(got, content) || readPublished(got).revision() > revision) {
			return nil
		}
		if stop := pause(ctx, readInterval); stop != nil {
			if !errors.Is(stop, ErrUnconfirmed) {
				stop = fmt.Errorf("revision %d: %w: %w", revision, ErrUnconfirmed, stop)
			}
			if err != nil {
				return fmt.Errorf("%w: %w", stop, err)
			}
			return stop
		}
	}
}

// pause waits, and returns why the context ended where it does first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// published is what the store holds.
type published struct {
	content []byte
	doc     *Document // nil = nothing; of a broken document, what could be read of it
	broken  bool
	opaque  bool // broken, and its lanes couldn't be read
	notes   []string
}

var revisionLine = regexp.MustCompile(`(?m)^\x{feff}?revision:[ \t]*([0-9]{1,18})[ \t]*(?:#.*)?\r?$`)

// readPublished reads what is published; a broken document, that someone left there by hand, as far as it goes: its
// revision and its lanes' times must not be lost when it is replaced.
func readPublished(content []byte) published {
	p := published{content: content}
	if len(bytes.TrimSpace(content)) == 0 {
		return p
	}
	doc, problems, err := read(content)
	if err == nil && len(problems) == 0 {
		p.doc = doc
		return p
	}
	p.broken = true
	p.notes = []string{"what was published could not be read by anyone, and has been replaced: " + firstProblem(invalid(problems), err)}
	if err != nil {
		p.opaque, doc = true, &Document{}
	}
	lanes := doc.Lanes
	doc.Lanes = nil
	for _, l := range lanes {
		if l.Tag != graylib.Untagged && l.Tag.Valid() && !l.Listed.IsZero() && doc.laneIndex(l.Tag) < 0 {
			doc.Lanes = append(doc.Lanes, l)
		}
	}
	if m := revisionLine.FindSubmatch(content); doc.Revision <= 0 && m != nil {
		doc.Revision, _ = strconv.ParseInt(string(m[1]), 10, 64)
	}
	p.doc = doc
	return p
}

func firstProblem(errs ...error) string {
	for _, err := range errs {
		var bad *InvalidError
		if errors.As(err, &bad) {
			return bad.Problems[0].String()
		}
	}
	return "it is broken"
}

// text returns what is published, nil where nothing is.
func (p published) text() []byte {
	if p.doc == nil {
		return nil
	}
	return p.content
}

func (p published) revision() int64 {
	if p.doc == nil {
		return 0
	}
	return p.doc.Revision
}

// repair is [Prepare] where what is published is broken. The author may have fixed the very text, so lanes that couldn't
// be read keep the times that the file gives them.
func (p *published) repair(content []byte, now time.Time) ([]byte, error) {
	doc, err := Parse(content)
	if err != nil {
		return nil, err
	}
	if p.doc.Revision == 0 {
		p.doc.Revision = doc.Revision
	}
	switch {
	case p.doc.Revision == 0:
		return nil, doc.at("revision", ErrRevision, "is missing, and what is published is too broken to look it up: write the last good revision, which the services' status tells")
	case doc.Revision != 0 && doc.Revision != p.doc.Revision:
		return nil, stale(doc, p.doc.Revision)
	}
	if p.opaque {
		var errs []error
		for i, l := range doc.Lanes {
			if l.Listed.IsZero() {
				errs = append(errs, doc.at(fmt.Sprintf("lanes[%d].listed", i), ErrNotListed,
					fmt.Sprintf("is missing in lane %s, and what is published is too broken to look it up: copy the time from the text that `graychain rules get` shows", l.Tag)))
			}
		}
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
	}
	known := *p.doc
	for _, l := range doc.Lanes {
		if known.laneIndex(l.Tag) < 0 && !l.Listed.IsZero() {
			known.Lanes = append(slices.Clip(known.Lanes), l)
		}
	}
	return prepare(content, doc, &known, p.doc.Revision+1, now)
}
