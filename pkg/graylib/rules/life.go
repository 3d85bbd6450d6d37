package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Why a step of a lane's life (design/messages.md, "A lane's life") can't be taken.
var (
	ErrNoLane     = errors.New("lane isn't listed")
	ErrNotRetired = errors.New("lane isn't retired")
	ErrMarked     = errors.New("lane is still given to messages by a mark")
	ErrRelisted   = errors.New("lane has been listed again meanwhile, and isn't forgotten")
)

// ForgetNotice is how long before its `until` a forgotten lane is published: long enough for every reader to know of it.
const ForgetNotice = 30 * time.Second

// Lane returns the lane with the tag. The error wraps [ErrNoLane] and names the lanes there are.
func (d *Document) Lane(tag graylib.Tag) (Lane, error) {
	if i := d.laneIndex(tag); i >= 0 {
		return d.Lanes[i], nil
	}
	tags := make([]string, len(d.Lanes))
	for i, l := range d.Lanes {
		tags[i] = string(l.Tag)
	}
	listed := "the rules list " + strings.Join(tags, ", ")
	if len(tags) == 0 {
		listed = "the rules list none"
	}
	return Lane{}, fmt.Errorf("%w: %q; %s", ErrNoLane, string(tag), listed)
}

// RetireLane returns the document's text with the lane retired: its entries colour nothing more, and its left-overs are
// consumed. Everything else stays byte for byte; a text that says so already is returned as it is.
func RetireLane(content []byte, tag graylib.Tag) ([]byte, error) {
	return changeLane(content, tag, func(l *Lane) error {
		l.State = graylib.LaneRetired
		return nil
	})
}

// ForgetLane returns the document's text with the lane's `until`: messages stored later are no longer its own. A lane that
// is being forgotten keeps its `until`. The error wraps [ErrNotRetired] where the lane still colours requests, and
// [ErrMarked] where a mark names it: the lane could not leave the document.
func ForgetLane(content []byte, tag graylib.Tag, until time.Time) ([]byte, error) {
	doc, err := parseOrEmpty(content)
	if err != nil {
		return nil, err
	}
	if err := doc.unmarked(tag); err != nil {
		return nil, err
	}
	return changeLane(content, tag, func(l *Lane) error {
		if l.State != graylib.LaneRetired {
			return fmt.Errorf("%w: %s; retire it first: `graychain lanes retire %s`", ErrNotRetired, tag, tag)
		}
		if l.Until.IsZero() {
			l.Until = until.UTC().Truncate(time.Second)
		}
		return nil
	})
}

// Forgets tells whether the document still forgets the lane from until on; nil = it does. The error wraps [ErrRelisted] or
// [ErrNoLane].
func (d *Document) Forgets(tag graylib.Tag, until time.Time) error {
	lane, err := d.Lane(tag)
	if err == nil && (!lane.Until.Equal(until) || lane.State != graylib.LaneRetired) {
		err = fmt.Errorf("%w: %s", ErrRelisted, tag)
	}
	return err
}

func (d *Document) unmarked(tag graylib.Tag) error {
	for i, m := range d.Marks {
		if m.Tag == tag {
			return d.at(fmt.Sprintf("marks[%d].tag", i), ErrMarked, fmt.Sprintf("is %s: take the mark out before the lane is forgotten", tag))
		}
	}
	return nil
}

// changeLane changes a lane's state and until in the document's text.
func changeLane(content []byte, tag graylib.Tag, change func(l *Lane) error) ([]byte, error) {
	doc, err := parseOrEmpty(content)
	if err != nil {
		return nil, err
	}
	was, err := doc.Lane(tag)
	if err != nil {
		return nil, err
	}
	is := was
	if err := change(&is); err != nil {
		return nil, err
	}
	if is.State == was.State && is.Until.Equal(was.Until) {
		return content, nil
	}
	i := doc.laneIndex(tag)
	want := *doc
	want.Lanes = slices.Clone(doc.Lanes)
	want.Lanes[i] = is
	return edited(content, &want, func(t *textEditor) error {
		m, err := t.item("lanes", i)
		if err != nil {
			return err
		}
		after := "tag"
		if !is.Listed.IsZero() {
			after = "listed"
		}
		set := []string{"state", string(is.State), "until", timeText(is.Until)}
		if find(m, "state") == nil { // both go behind the same field: the one put in last comes first
			set = []string{"until", timeText(is.Until), "state", string(is.State)}
		} else if find(m, "until") == nil {
			after = "state"
		}
		for f := 0; f < len(set); f += 2 {
			if set[f+1] == "" || set[f] == "state" && is.State == was.State || set[f] == "until" && is.Until.Equal(was.Until) {
				continue
			}
			if err := t.set(m, set[f], set[f+1], after); err != nil {
				return err
			}
		}
		return nil
	})
}

// DropLane returns the document's text without the lane, and without its tag in the lists messages[].ignore; an entry whose
// list becomes empty is in mode auto, as the list left the others. Everything else stays byte for byte, comments above the
// lane included. Whether the lane may leave is for [CheckTransition] to say, and for who knows what is left of it ([Drop]). The error wraps [ErrNoLane] or [ErrMarked].
func DropLane(content []byte, tag graylib.Tag) ([]byte, error) {
	doc, err := parseOrEmpty(content)
	if err != nil {
		return nil, err
	}
	if _, err := doc.Lane(tag); err != nil {
		return nil, err
	}
	if err := doc.unmarked(tag); err != nil {
		return nil, err
	}
	for _, c := range doc.Messages {
		if !slices.Contains(c.Ignore, tag) {
			continue
		}
		c.Ignore = slices.DeleteFunc(slices.Clone(c.Ignore), func(t graylib.Tag) bool { return t == tag })
		if len(c.Ignore) == 0 {
			c.Baseline, c.Ignore = graylib.ModeAuto, nil
		}
		if content, err = SetConsumer(content, c); err != nil {
			return nil, err
		}
	}
	if doc, err = Parse(content); err != nil {
		return nil, err
	}
	i := doc.laneIndex(tag)
	want := *doc
	want.Lanes = slices.Delete(slices.Clone(doc.Lanes), i, i+1)
	if len(want.Lanes) == 0 {
		want.Lanes = nil
	}
	return edited(content, &want, func(t *textEditor) error { return t.removeItem("lanes", i) })
}
