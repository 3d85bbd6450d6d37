package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// ErrUnconfirmed is wrapped where a document was published, but reading it back still gave an older one.
var ErrUnconfirmed = errors.New("published, but not visible yet")

// ErrLanesUnknown is wrapped where nobody can tell which lanes the services have: what is published doesn't say it, and the store
// has no history that does.
var ErrLanesUnknown = errors.New("nobody can tell which lanes the services have")

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

// Option sets one thing of [Apply].
type Option func(*publisher)

// MayLoseLanes lets [Apply] publish where it would return [ErrLanesUnknown]. What waits for a lane that the services have and the file
// lacks, or lists at another time, is lost; services that were not away refuse such a file.
func MayLoseLanes() Option { return func(p *publisher) { p.mayLose = true } }

// Apply publishes a file's text as the next revision of the document: it reads the current one, prepares the text
// ([Prepare]), checks that it may follow ([CheckTransition]), publishes it by compare-and-set, and waits until it can be
// read back. Where someone else published in between, it starts anew: a file that names its revision is stale then, and
// refused. A file without a lane that is published is refused too, with [ErrLane]: [Drop] takes lanes out; and so is what
// writes a lane's times, or takes one out, where this machine's clock is wrong ([Clocked]). On any error but [ErrUnconfirmed] nothing has been changed by Apply, unless the error is the store's own.
//
// Where nothing is published, a text that nobody can read, or one that services refuse (someone left it there by hand), the file follows
// what the services have by the store's history ([Historian]). A text that is good by itself is taken for what they have where the
// history can't be had. Where that doesn't tell either, the error wraps [ErrLanesUnknown], but for a file without a revision that is to be
// the very first document: services that have any refuse it.
func Apply(ctx context.Context, store Store, content []byte, opts ...Option) (Result, error) {
	p := newPublisher(store)
	for _, set := range opts {
		set(&p)
	}
	return p.modify(ctx, func([]byte) ([]byte, error) { return content, nil })
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
	store   Store
	now     func() time.Time
	leaves  graylib.Tag // the lane that may leave; empty = none
	mayLose bool        // publish though nobody can tell which lanes the services have
	clock   clock
}

func newPublisher(store Store) publisher { return publisher{store: store, now: time.Now} }

func (p publisher) modify(ctx context.Context, change func(current []byte) ([]byte, error)) (Result, error) {
	var err error
	if p.clock, err = p.checkClock(ctx); err != nil { // it may take seconds: before any time is told
		return Result{}, err
	}
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
	if err := p.recall(ctx, &was); err != nil {
		return Result{}, err
	}
	content, err := change(was.text())
	if err != nil {
		return Result{}, was.explain(err)
	}
	result := Result{Revision: was.revision(), Previous: was.revision()}
	next, err := p.prepare(content, &was)
	if err != nil {
		return result, was.explain(err)
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
	if err := mayFollow(was.known(), &judged, p.leaves, now); err != nil {
		return result, was.explain(err)
	}
	notes, err := p.clock.judge(was.known(), doc)
	if err != nil {
		return result, err
	}
	if err := p.store.Publish(ctx, next, sum); err != nil {
		return result, err
	}
	result = Result{Changed: true, Revision: doc.Revision, Previous: was.revision(), Content: next, Document: doc, Notes: append(was.notes, notes...)}
	return result, p.confirm(ctx, next, doc.Revision)
}

// prepare returns the text to publish, nil where it is published already.
func (p publisher) prepare(content []byte, was *published) ([]byte, error) {
	if was.broken || was.doc == nil || was.refused != nil {
		return was.replace(content, p.mayLose, p.now())
	}
	next, err := Prepare(content, was.doc, p.now())
	if err != nil {
		return nil, err
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
