package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/graychain/graychain/pkg/graylib"
)

// Parse reads a document's text and checks all that can be checked of it alone. Unknown fields are refused. The error is
// an [*InvalidError] with all problems at once; where the text is no YAML at all, with the first.
//
// A lane may lack its time `listed`, and the revision may be missing: whether a document may be in force is asked of
// [CheckTransition].
func Parse(content []byte) (*Document, error) {
	doc, problems, err := read(content)
	if err != nil {
		return nil, err
	}
	if err := invalid(problems); err != nil {
		return nil, err
	}
	return doc, nil
}

// read reads as much of a document as can be read, and returns it with its problems. The error tells that nothing could
// be read.
func read(content []byte) (*Document, []Problem, error) {
	root, err := tree(content)
	if err != nil {
		return nil, nil, err
	}
	if root == nil || root.Type() == ast.NullType {
		return nil, nil, invalid([]Problem{{Message: "the document is empty"}})
	}
	d := &decoder{lines: map[string]int{}, bad: map[string]bool{}}
	doc := d.document(root)
	doc.lines = d.lines
	problems := d.problems
	for _, p := range validate(doc) {
		if !d.spoilt(p.Field) {
			problems = append(problems, p)
		}
	}
	return doc, problems, nil
}

// decoder makes a document of its tree, collecting what is wrong on the way.
type decoder struct {
	problems []Problem
	lines    map[string]int  // by field
	bad      map[string]bool // fields that couldn't be read: what else is said of them would mislead
}

func (d *decoder) fail(n ast.Node, field, format string, args ...any) {
	d.problems = append(d.problems, Problem{Line: line(n), Field: field, Message: fmt.Sprintf(format, args...)})
	d.bad[field] = true
}

// spoilt tells whether the field or something around it couldn't be read.
func (d *decoder) spoilt(field string) bool {
	for {
		if d.bad[field] {
			return true
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			return false
		}
		field = field[:i]
	}
}

// field is one field of a mapping and what reads it.
type field struct {
	name string
	read func(n ast.Node, path string)
}

// mapping reads a mapping's fields; unknown ones and repetitions are problems.
func (d *decoder) mapping(n ast.Node, path string, fields ...field) {
	m, ok := n.(ast.MapNode)
	if !ok || n.Type() == ast.AliasType || n.Type() == ast.AnchorType {
		d.fail(n, path, "is %s; want a mapping of %s", describe(n), fieldNames(fields))
		return
	}
	if path != "" {
		d.lines[path] = line(n)
	}
	seen := map[string]int{}
	for it := m.MapRange(); it.Next(); {
		key := it.Key()
		name, ok := scalarText(key)
		if !ok {
			d.fail(key, path, "is no field: %s; want %s", describe(key), fieldNames(fields))
			continue
		}
		at := join(path, name)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 {
			d.fail(key, join(path, clipName(name)), "unknown field; want %s", fieldNames(fields))
			continue
		}
		if first, twice := seen[name]; twice {
			d.fail(key, at, "stands here twice, first in line %d", first)
			continue
		}
		seen[name] = line(key)
		d.lines[at] = line(key)
		fields[i].read(it.Value(), at)
	}
}

// list reads a list's elements. An empty value (`lanes:`, with all its elements commented out) is an empty list.
func (d *decoder) list(n ast.Node, path string, element func(n ast.Node, path string)) {
	if n.Type() == ast.NullType {
		return
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, path, "is %s; want a list", describe(n))
		return
	}
	for i, v := range s.Values {
		at := path + "[" + strconv.Itoa(i) + "]"
		d.lines[at] = line(v)
		element(v, at)
	}
}

// text reads a string. Numbers and the like must be quoted, so that 007 or no mean what they look like.
func text[S ~string](d *decoder, to *S) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		switch n.(type) {
		case *ast.StringNode, *ast.LiteralNode:
			s, _ := scalarText(n)
			*to = S(s)
			if s == "" {
				d.fail(n, path, `is ""; want a text, or leave the field out`)
			}
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
			d.fail(n, path, "is %s; want a text: put it in quotes", describe(n))
		default:
			d.fail(n, path, "is %s; want a text", describe(n))
		}
	}
}

func (d *decoder) boolean(to *bool) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.fail(n, path, "is %s; want true or false", describe(n))
			return
		}
		*to = b.Value
	}
}

func (d *decoder) time(to *time.Time) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		const want = "want a time such as 2026-11-22T10:00:00Z, written by `graychain rules apply`"
		s, ok := n.(*ast.StringNode)
		if !ok {
			d.fail(n, path, "is %s; %s", describe(n), want)
			return
		}
		t, err := time.Parse(time.RFC3339Nano, s.Value)
		if err != nil {
			d.fail(n, path, "is %s; %s", describe(n), want)
			return
		}
		*to = t.UTC()
	}
}

func (d *decoder) document(n ast.Node) *Document {
	doc := &Document{}
	d.mapping(n, "",
		field{"revision", func(n ast.Node, path string) {
			v, err := strconv.ParseInt(n.GetToken().Value, 10, 64)
			if _, ok := n.(*ast.IntegerNode); !ok || err != nil {
				d.fail(n, path, "is %s; want a whole number from 0", describe(n))
				return
			}
			doc.Revision = v
		}},
		field{"lanes", func(n ast.Node, path string) {
			d.list(n, path, func(n ast.Node, path string) { doc.Lanes = append(doc.Lanes, d.lane(n, path)) })
		}},
		field{"messages", func(n ast.Node, path string) {
			d.list(n, path, func(n ast.Node, path string) { doc.Messages = append(doc.Messages, d.consumer(n, path)) })
		}},
		field{"marks", func(n ast.Node, path string) {
			d.list(n, path, func(n ast.Node, path string) { doc.Marks = append(doc.Marks, d.mark(n, path)) })
		}},
	)
	return doc
}

func (d *decoder) lane(n ast.Node, path string) (l Lane) {
	d.mapping(n, path,
		field{"tag", text(d, &l.Tag)},
		field{"listed", d.time(&l.Listed)},
		field{"state", text(d, &l.State)},
		field{"until", d.time(&l.Until)},
		field{"propagate", func(n ast.Node, path string) {
			l.Propagate = new(bool)
			d.boolean(l.Propagate)(n, path)
		}},
		field{"colourFromNode", d.boolean(&l.ColourFromNode)},
		field{"entries", func(n ast.Node, path string) {
			d.list(n, path, func(n ast.Node, path string) { l.Entries = append(l.Entries, d.entry(n, path)) })
		}},
	)
	return l
}

func (d *decoder) entry(n ast.Node, path string) (e Entry) {
	d.mapping(n, path,
		field{"name", text(d, &e.Name)},
		field{"service", text(d, &e.Service)},
		field{"path", text(d, &e.Path)},
		field{"match", text(d, &e.Match)},
		field{"when", d.when(&e.When)},
	)
	return e
}

func (d *decoder) consumer(n ast.Node, path string) (c Consumer) {
	d.mapping(n, path,
		field{"consumer", text(d, &c.Consumer)},
		field{"group", text(d, &c.Group)},
		field{"topic", text(d, &c.Topic)},
		field{"baseline", text(d, &c.Baseline)},
		field{"ignore", func(n ast.Node, path string) {
			d.list(n, path, func(n ast.Node, path string) {
				var tag graylib.Tag
				text(d, &tag)(n, path)
				c.Ignore = append(c.Ignore, tag)
			})
			if len(c.Ignore) == 0 && !d.bad[path] {
				d.fail(n, path, "is empty; want the tags of the lanes to ignore, or leave the field out")
			}
		}},
		field{"filter", text(d, &c.Filter)},
	)
	return c
}

func (d *decoder) mark(n ast.Node, path string) (m Mark) {
	d.mapping(n, path,
		field{"producer", text(d, &m.Producer)},
		field{"topic", text(d, &m.Topic)},
		field{"tag", text(d, &m.Tag)},
		field{"when", d.when(&m.When)},
	)
	return m
}

func (d *decoder) when(to *[]Condition) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		d.list(n, path, func(n ast.Node, path string) { *to = append(*to, d.condition(n, path)) })
	}
}

func (d *decoder) condition(n ast.Node, path string) (c Condition) {
	d.mapping(n, path,
		field{"from", text(d, &c.From)},
		field{"key", text(d, &c.Key)},
		field{"op", text(d, &c.Op)},
		field{"value", func(n ast.Node, path string) { c.Value = d.value(n, path) }},
	)
	// Only the text tells a list of one from a single value.
	at := join(path, "value")
	if len(c.Value) == 1 && !d.spoilt(at) {
		if takesList := c.Op == OpIn || c.Op == OpNotIn; takesList != d.isList(at) {
			var want = "one value, not a list"
			if takesList {
				want = fmt.Sprintf("a list, such as [%s]", c.Value[0])
			}
			d.problems = append(d.problems, Problem{Line: d.lines[at], Field: at, Message: fmt.Sprintf("is %s; %s takes %s", quote(c.Value[0]), c.Op, want)})
			d.bad[at] = true
		}
	}
	return c
}

// isList tells whether a field's value was written as a list: its elements have lines.
func (d *decoder) isList(path string) bool { return d.lines[path+"[0]"] != 0 }

// value reads what a condition compares with: scalars as they are written, so that 007 stays 007.
func (d *decoder) value(n ast.Node, path string) Value {
	if n.Type() != ast.SequenceType {
		if s, ok := scalarText(n); ok {
			return Value{s}
		}
		d.fail(n, path, `is %s; want a text, a number or a list of them ("" is the empty text)`, describe(n))
		return nil
	}
	v := Value{}
	d.list(n, path, func(n ast.Node, path string) {
		s, ok := scalarText(n)
		if !ok {
			d.fail(n, path, "is %s; want a text or a number", describe(n))
		}
		v = append(v, s)
	})
	return v
}

// scalarText returns a scalar as it is written, without quotes; false where the node is none, or is null.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	default:
		return "", false
	}
}

// join returns the name of a field in a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// clipName bounds an unknown field's name in a message, which is quoted where it is odd.
func clipName(name string) string {
	if len(name) <= 40 && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || strings.ContainsRune(" .[]:\"", r) }) && name != "" {
		return name
	}
	return quote(name)
}

func fieldNames(fields []field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return oneOf(names)
}
