package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// published is what the store holds.
type published struct {
	content []byte
	doc     *Document // nil = nothing; of a broken document, what could be read of it
	broken  bool
	opaque  bool  // broken, and its lanes couldn't be read
	refused error // why services don't have it in force, though it is a document; nil = they do, as far as is known
	notes   []string

	// By the history, looked up where the text doesn't tell:
	last    *Document // what a service has that was never away; nil = unknown
	highest int64     // of the revisions that services may have; 0 = unknown
	why     error     // why they are unknown; nil = the history has no good document
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

// known returns the document that the next one has to follow, nil where there is none.
func (p published) known() *Document {
	if p.last != nil {
		return p.last
	}
	return p.doc
}

// errNoHistory says that the store keeps none.
var errNoHistory = errors.New("it keeps no history")

// How much of the history is looked at first, and for how long, where what is published is good by itself: a store may ask for each
// version.
const (
	lookBack       = 10
	historyTimeout = 5 * time.Second
)

// recall looks up in the store's history what the services have, where that isn't what is published: nothing is, a text that nobody
// can read, or one that someone left there by hand and that services refuse.
func (p publisher) recall(ctx context.Context, was *published) error {
	if was.doc != nil && !was.broken {
		was.refused = CheckTransition(nil, was.doc, Reading{At: p.now()})
		if was.refused == nil {
			return p.compare(ctx, was)
		}
	}
	store, ok := p.store.(Historian)
	if !ok {
		was.why = errNoHistory
		return nil
	}
	history, err := store.History(ctx, 0)
	if err != nil && ctx.Err() != nil {
		return err
	}
	have := servicesHave(history, p.now())
	was.last, was.highest, was.why = have.last, have.highest, err
	was.note()
	return nil
}

// compare looks up whether services have what is published and good by itself. Where the history can't be had they are taken to.
func (p publisher) compare(ctx context.Context, was *published) error {
	store, ok := p.store.(Historian)
	if !ok || p.mayLose || p.clock.unknown != "" { // who can't be asked for the time can't be asked for the history
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	var have replayed
	for _, limit := range []int{lookBack, 0} {
		history, err := store.History(asking, limit)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			was.notes = append(was.notes, fmt.Sprintf("whether services have what was published couldn't be looked up in the history: %v", err))
			return nil
		}
		now := p.now().Add(MaxSkew) // a lane that has left may be taken for gone by some services, and not yet by others
		have = servicesHave(withPublished(history, was.content, p.now()), now)
		whole := limit == 0 || len(history) < limit
		if bytes.Equal(have.text, was.content) && (whole || have.refused == 0) { // services that took one after the other have the last
			return nil
		}
		if whole {
			break
		}
	}
	was.last, was.highest = have.last, have.highest
	if was.refused = CheckTransition(was.last, was.doc, Reading{At: p.now()}); was.refused == nil {
		was.refused = errors.New("it came without the notice that forgetting a lane takes")
	}
	was.note()
	return nil
}

// note tells of a document that services refuse.
func (p *published) note() {
	if p.refused != nil {
		p.notes = []string{"what was published was refused by services, and has been replaced: " + firstLine(p.refused)}
	}
}

// explain adds to an error that services refuse what is published.
func (p *published) explain(err error) error {
	if err == nil || p.refused == nil || p.last == nil {
		return err
	}
	return fmt.Errorf("%w\nservices refuse what is published, and have revision %d: `graychain rules rollback --to %d` puts that in force again (%s)",
		err, p.last.Revision, p.last.Revision, firstLine(p.refused))
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// replace is [Prepare] where nothing is published, or what is published is broken or refused by services.
func (p *published) replace(content []byte, mayLose bool, now time.Time) ([]byte, error) {
	doc, err := Parse(content)
	if err != nil {
		return nil, err
	}
	if said := p.revision(); said != 0 && doc.Revision != 0 && doc.Revision != said {
		return nil, stale(doc, said)
	}
	if doc.Revision != 0 && doc.Revision < p.highest {
		return nil, doc.at("revision", ErrStale, fmt.Sprintf("%d is stale, revision %d was published last: take over what changed (`graychain rules history --revision %d` shows it), or leave revision out to replace it",
			doc.Revision, p.highest, p.highest))
	}
	base := max(p.revision(), p.highest, doc.Revision)
	if p.broken && p.doc.Revision == 0 {
		p.doc.Revision = base
	}
	switch {
	case base == 0 && !p.broken && (p.refused == nil || p.why == nil || mayLose):
		return prepare(content, doc, nil, 1, now)
	case base == 0 && !p.broken:
		return nil, p.unknown()
	case base == 0:
		return nil, doc.at("revision", ErrRevision, "is missing, and what is published is too broken to look it up: write the last good revision, which `graychain rules status` tells")
	case p.last != nil:
		return prepare(content, doc, p.last, base+1, now)
	case (p.opaque || !p.broken) && !mayLose:
		return nil, p.unknown()
	case p.doc == nil:
		return prepare(content, doc, nil, base+1, now)
	}
	return p.repair(content, doc, base+1, now)
}

func (p *published) unknown() error {
	what, history := "nothing is published", "the history has no good document"
	switch {
	case p.broken:
		what = "what is published is too broken to look them up"
	case p.refused != nil:
		what = "services refuse what is published (" + firstLine(p.refused) + ")"
	}
	if p.why != nil {
		history = fmt.Sprintf("the history can't be asked: %v", p.why)
	}
	return fmt.Errorf("%w: %s, and %s; where the file lists every lane of the document that a service keeps in its state folder ($GRAY_STATE), with its time `listed`, publish it with `graychain rules apply --may-lose-lanes`",
		ErrLanesUnknown, what, history)
}

// repair makes the text that replaces a broken or refused one, where the history doesn't tell what was before. The author may have fixed the
// very text, so lanes that couldn't be read keep the times that the file gives them.
func (p *published) repair(content []byte, doc *Document, revision int64, now time.Time) ([]byte, error) {
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
	return prepare(content, doc, &known, revision, now)
}
