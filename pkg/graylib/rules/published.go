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

// published is what the store holds.
type published struct {
	content []byte
	doc     *Document // nil = nothing; of a broken document, what could be read of it
	broken  bool
	opaque  bool // broken, and its lanes couldn't be read
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

// recall looks up in the store's history what the services have, where what is published doesn't tell.
func (p publisher) recall(ctx context.Context, was *published) error {
	if was.doc != nil && !was.broken {
		return nil
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
	was.last, was.highest = servicesHave(history, p.now())
	was.why = err
	return nil
}

// replace is [Prepare] where nothing is published, or what is published is broken.
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
	case base == 0 && !p.broken:
		return prepare(content, doc, nil, 1, now)
	case base == 0:
		return nil, doc.at("revision", ErrRevision, "is missing, and what is published is too broken to look it up: write the last good revision, which the services' status tells")
	case p.last != nil:
		return prepare(content, doc, p.last, base+1, now)
	case (p.opaque || !p.broken) && !mayLose:
		return nil, p.unknown()
	case !p.broken:
		return prepare(content, doc, nil, base+1, now)
	}
	return p.repair(content, doc, base+1, now)
}

func (p *published) unknown() error {
	what, history := "nothing is published", "the history has no good document"
	if p.broken {
		what = "what is published is too broken to look them up"
	}
	if p.why != nil {
		history = fmt.Sprintf("the history can't be asked: %v", p.why)
	}
	return fmt.Errorf("%w: %s, and %s; where the file lists every lane that the services' status tells, with its time `listed`, publish it with `graychain rules apply --may-lose-lanes`",
		ErrLanesUnknown, what, history)
}

// repair makes the text that replaces a broken one, where the history doesn't tell what was before. The author may have fixed the
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
