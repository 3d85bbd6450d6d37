package rules

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/graychain/graychain/pkg/graylib"
)

// Consumer returns the entry of messages with exactly this consumer, group and topic (empty = not narrowed).
func (d *Document) Consumer(service, group, topic string) (Consumer, bool) {
	for _, c := range d.Messages {
		if c.Consumer == service && c.Group == group && c.Topic == topic {
			return c, true
		}
	}
	return Consumer{}, false
}

// SetConsumer returns the document's text with c among its messages: the entry with the same consumer, group and topic
// gets c's baseline and ignore, and its filter where it has one; where there is no such entry, one is added. Everything
// else stays byte for byte, comments included. The text is returned as it is where it says so already.
//
// A text without a document (empty, or comments alone) counts as one that says nothing.
func SetConsumer(content []byte, c Consumer) ([]byte, error) {
	doc, err := parseOrEmpty(content)
	if err != nil {
		return nil, err
	}
	want := *doc
	want.Messages = slices.Clone(doc.Messages)
	i := slices.IndexFunc(want.Messages, func(o Consumer) bool {
		return o.Consumer == c.Consumer && o.Group == c.Group && o.Topic == c.Topic
	})
	if i >= 0 {
		if c.Filter == "" {
			c.Filter = want.Messages[i].Filter
		}
		if reflect.DeepEqual(want.Messages[i], c) {
			return content, nil
		}
		want.Messages[i] = c
	} else {
		want.Messages = append(want.Messages, c)
	}
	return edited(content, &want, func(t *textEditor) error {
		if i < 0 {
			return t.appendItem("messages", consumerFields(c))
		}
		m, err := t.item("messages", i)
		if err != nil {
			return err
		}
		after := "consumer"
		for _, f := range []struct{ name, value string }{
			{"group", ""}, {"topic", ""}, {"baseline", string(c.Baseline)}, {"ignore", tagList(c.Ignore)}, {"filter", string(c.Filter)},
		} {
			is := find(m, f.name)
			switch {
			case f.name == "group" || f.name == "topic":
			case f.value == "" && is != nil:
				err = t.remove(m, f.name)
			case f.value != "":
				err = t.set(m, f.name, f.value, after)
			}
			if err != nil {
				return err
			}
			if is != nil && (f.value != "" || f.name == "group" || f.name == "topic") {
				after = f.name
			}
		}
		return nil
	})
}

// AddLane returns the document's text with the lane l behind its other lanes. Everything else stays byte for byte. A text
// without a document counts as one that says nothing.
func AddLane(content []byte, l Lane) ([]byte, error) {
	doc, err := parseOrEmpty(content)
	if err != nil {
		return nil, err
	}
	want := *doc
	want.Lanes = append(slices.Clone(doc.Lanes), l)
	return edited(content, &want, func(t *textEditor) error { return t.appendItem("lanes", laneFields(l)) })
}

// parseOrEmpty is Parse, where a text without a document is good too.
func parseOrEmpty(content []byte) (*Document, error) {
	if root, err := tree(content); err == nil && root == nil {
		return &Document{}, nil
	}
	return Parse(content)
}

// edited changes a document's text, and makes sure that it then says what is wanted and nothing else.
func edited(content []byte, want *Document, change func(t *textEditor) error) ([]byte, error) {
	if err := invalid(validate(want)); err != nil {
		return nil, err
	}
	t, err := newTextEditor(content)
	if err != nil {
		return nil, err
	}
	if err := change(t); err != nil {
		return nil, err
	}
	out := t.bytes()
	got, err := Parse(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	if !same(got, want) {
		return nil, fmt.Errorf("%w: change it by hand", ErrLayout)
	}
	return out, nil
}

// same tells whether two documents say the same, apart from where it is written.
func same(a, b *Document) bool {
	x, y := *a, *b
	x.lines, y.lines = nil, nil
	for _, d := range []*Document{&x, &y} {
		d.Lanes = slices.Clone(d.Lanes)
		for i := range d.Lanes {
			d.Lanes[i].Listed = d.Lanes[i].Listed.UTC()
			d.Lanes[i].Until = d.Lanes[i].Until.UTC()
		}
	}
	return reflect.DeepEqual(x, y)
}

// item returns an element of a list of the root mapping.
func (t *textEditor) item(section string, i int) (*ast.MappingNode, error) {
	if f := find(t.root, section); f != nil {
		if list, ok := f.Value.(*ast.SequenceNode); ok && i < len(list.Values) {
			if m, ok := list.Values[i].(*ast.MappingNode); ok {
				return m, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: %s[%d] isn't where it should be", ErrLayout, section, i)
}

func consumerFields(c Consumer) []string {
	return fields("consumer", scalar(c.Consumer), "group", scalar(c.Group), "topic", scalar(c.Topic),
		"baseline", string(c.Baseline), "ignore", tagList(c.Ignore), "filter", string(c.Filter))
}

func laneFields(l Lane) []string {
	propagate, node, entries := "", "", ""
	if l.Propagate != nil {
		propagate = strconv.FormatBool(*l.Propagate)
	}
	if l.ColourFromNode {
		node = "true"
	}
	if len(l.Entries) > 0 {
		var list []string
		for _, e := range l.Entries {
			list = append(list, "{"+strings.Join(fields("name", scalar(e.Name), "service", scalar(e.Service), "path", scalar(e.Path),
				"match", string(e.Match), "when", conditions(e.When)), ", ")+"}")
		}
		entries = "[" + strings.Join(list, ", ") + "]"
	}
	return fields("tag", scalar(string(l.Tag)), "listed", timeText(l.Listed), "state", string(l.State), "until", timeText(l.Until),
		"propagate", propagate, "colourFromNode", node, "entries", entries)
}

func conditions(when []Condition) string {
	var list []string
	for _, c := range when {
		value := ""
		if len(c.Value) > 0 {
			texts := make([]string, len(c.Value))
			for i, v := range c.Value {
				texts[i] = strconv.Quote(v)
			}
			value = texts[0]
			if c.Op == OpIn || c.Op == OpNotIn {
				value = "[" + strings.Join(texts, ", ") + "]"
			}
		}
		list = append(list, "{"+strings.Join(fields("from", string(c.From), "key", scalar(c.Key), "op", strconv.Quote(string(c.Op)), "value", value), ", ")+"}")
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// fields returns "name: value" for each pair whose value isn't empty.
func fields(pairs ...string) (out []string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, pairs[i]+": "+pairs[i+1])
		}
	}
	return out
}

// scalar writes a text so that YAML reads it as that text: plain where it is a simple word that means nothing else.
func scalar(s string) string {
	plain := s != "" && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z' || s[0] == '/')
	for i := range len(s) {
		c := s[i]
		plain = plain && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/' || c == '.')
	}
	switch strings.ToLower(s) {
	case "":
		return ""
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		plain = false
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

func tagList(tags []graylib.Tag) string {
	if len(tags) == 0 {
		return ""
	}
	texts := make([]string, len(tags))
	for i, t := range tags {
		texts[i] = scalar(string(t))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}
