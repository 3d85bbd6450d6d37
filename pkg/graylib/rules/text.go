package rules

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// ErrLayout is wrapped where a document is laid out in a way that can't be edited by a program without losing what its
// author wrote; the message says what to write by hand.
var ErrLayout = errors.New("the document's layout can't be edited")

// textEditor changes a document's text in places that its tree points to, and leaves every other byte alone.
type textEditor struct {
	content []byte
	starts  []int // offsets of the lines
	eol     string
	root    *ast.MappingNode
	edits   []edit
}

// edit replaces content[from:to].
type edit struct {
	from, to int
	text     string
}

// newTextEditor returns an editor of a document that Parse takes.
func newTextEditor(content []byte) (*textEditor, error) {
	n, err := tree(content)
	if err != nil {
		return nil, err
	}
	root, ok := n.(*ast.MappingNode)
	if n == nil {
		root, ok = &ast.MappingNode{}, true
	}
	if !ok {
		return nil, fmt.Errorf("%w: it is no mapping", ErrLayout)
	}
	t := &textEditor{content: content, starts: []int{0}, eol: "\n", root: root}
	if bytes.HasPrefix(content, byteOrderMark) {
		t.starts[0] = len(byteOrderMark)
	}
	for i, c := range content {
		if c == '\n' {
			t.starts = append(t.starts, i+1)
		}
	}
	if len(t.starts) > 1 && t.starts[1] >= 2 && content[t.starts[1]-2] == '\r' {
		t.eol = "\r\n"
	}
	return t, nil
}

// bytes returns the text with all edits made.
func (t *textEditor) bytes() []byte {
	slices.SortStableFunc(t.edits, func(a, b edit) int { return a.from - b.from })
	var out bytes.Buffer
	at := 0
	for _, e := range t.edits {
		if e.from > at {
			out.Write(t.content[at:e.from])
		}
		out.WriteString(e.text)
		at = max(at, e.to)
	}
	out.Write(t.content[at:])
	return out.Bytes()
}

func (t *textEditor) replace(from, to int, text string) {
	t.edits = append(t.edits, edit{from, to, text})
}

// insertLines puts whole lines behind the line that holds the offset.
func (t *textEditor) insertLines(offset int, lines ...string) {
	text := strings.Join(lines, t.eol)
	if i := bytes.IndexByte(t.content[offset:], '\n'); i >= 0 {
		t.replace(offset+i+1, offset+i+1, text+t.eol)
		return
	}
	t.replace(len(t.content), len(t.content), t.eol+text)
}

// offset returns where a token begins.
func (t *textEditor) offset(tok *token.Token) int {
	if tok.Position.Line > len(t.starts) {
		return len(t.content)
	}
	at := t.starts[tok.Position.Line-1]
	for range tok.Position.Column - 1 {
		_, size := utf8.DecodeRune(t.content[at:])
		at += size
	}
	return at
}

// end returns where a value ends, comments behind it not included; false where that can't be told.
func (t *textEditor) end(n ast.Node) (int, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		if n.IsFlowStyle {
			return t.bracketEnd(n.End)
		}
		return t.endOfValue(n.Values[len(n.Values)-1])
	case *ast.SequenceNode:
		if n.IsFlowStyle {
			return t.bracketEnd(n.End)
		}
		return t.end(n.Values[len(n.Values)-1])
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return t.scalarEnd(n.GetToken())
	default:
		return 0, false
	}
}

func (t *textEditor) bracketEnd(bracket *token.Token) (int, bool) {
	if bracket == nil {
		return 0, false
	}
	return t.offset(bracket) + 1, true
}

// endOfValue returns where the value of a field ends: at the colon, where it has none.
func (t *textEditor) endOfValue(f *ast.MappingValueNode) (int, bool) {
	if end, ok := t.end(f.Value); ok || f.Value.Type() != ast.NullType {
		return end, ok
	}
	return t.offset(f.Start) + 1, true
}

// scalarEnd returns where a scalar on one line ends.
func (t *textEditor) scalarEnd(tok *token.Token) (int, bool) {
	at := t.offset(tok)
	rest := t.content[at:]
	if i := bytes.IndexAny(rest, "\r\n"); i >= 0 {
		rest = rest[:i]
	}
	if len(rest) > 0 && (rest[0] == '\'' || rest[0] == '"') {
		for i := 1; i < len(rest); i++ {
			switch {
			case rest[0] == '"' && rest[i] == '\\', rest[0] == '\'' && bytes.HasPrefix(rest[i:], []byte("''")):
				i++
			case rest[i] == rest[0]:
				return at + i + 1, true
			}
		}
		return 0, false
	}
	if tok.Value == "" || !bytes.HasPrefix(rest, []byte(tok.Value)) {
		return 0, false
	}
	return at + len(tok.Value), true
}

// find returns the field of a mapping, nil where there is none.
func find(m *ast.MappingNode, key string) *ast.MappingValueNode {
	for _, f := range m.Values {
		if s, _ := scalarText(f.Key); s == key {
			return f
		}
	}
	return nil
}

// set gives a field of a mapping a new value, written on one line. A field that isn't there yet is put behind the field
// named after.
func (t *textEditor) set(m *ast.MappingNode, key, value, after string) error {
	if f := find(m, key); f != nil {
		end, ok := t.endOfValue(f)
		if !ok {
			return fmt.Errorf("%w: line %d: write %s: %s by hand", ErrLayout, line(f.Key), key, value)
		}
		from := t.offset(f.Start) + 1
		if old := t.content[from:end]; !bytes.ContainsAny(old, "\n#") && len(bytes.TrimSpace(old)) > 0 {
			t.replace(from+len(old)-len(bytes.TrimLeft(old, " \t")), end, value) // keeps the space in between
		} else {
			t.replace(from, end, " "+value)
		}
		return nil
	}
	text := key + ": " + value
	f := find(m, after)
	if f == nil {
		t.insertFirst(m, text)
		return nil
	}
	end, ok := t.endOfValue(f)
	switch {
	case m.IsFlowStyle && ok:
		t.replace(end, end, ", "+text)
	case ok:
		t.insertLines(end, indent(f)+text)
	default: // before the field, where the end of its value can't be told
		t.insertBefore(f, text, m.IsFlowStyle)
	}
	return nil
}

// insertFirst puts a field in front of all others of a mapping.
func (t *textEditor) insertFirst(m *ast.MappingNode, text string) {
	if len(m.Values) == 0 {
		at := t.offset(m.Start) + 1
		t.replace(at, at, text)
		return
	}
	t.insertBefore(m.Values[0], text, m.IsFlowStyle)
}

func (t *textEditor) insertBefore(f *ast.MappingValueNode, text string, flow bool) {
	at := t.offset(f.Key.GetToken())
	if flow {
		t.replace(at, at, text+", ")
	} else {
		t.replace(at, at, text+t.eol+indent(f))
	}
}

// remove takes a field out of a mapping.
func (t *textEditor) remove(m *ast.MappingNode, key string) error {
	i := slices.IndexFunc(m.Values, func(f *ast.MappingValueNode) bool { s, _ := scalarText(f.Key); return s == key })
	if i < 0 {
		return nil
	}
	f := m.Values[i]
	end, ok := t.endOfValue(f)
	start := t.offset(f.Key.GetToken())
	switch {
	case i == 0 && len(m.Values) > 1: // it may share its line with a dash or a brace
		t.replace(start, t.offset(m.Values[1].Key.GetToken()), "")
	case !ok || i == 0:
		return fmt.Errorf("%w: line %d: take %s out by hand", ErrLayout, line(f.Key), key)
	case m.IsFlowStyle:
		before, ok := t.endOfValue(m.Values[i-1])
		if !ok {
			return fmt.Errorf("%w: line %d: take %s out by hand", ErrLayout, line(f.Key), key)
		}
		t.replace(before, end, "")
	default:
		start -= f.Key.GetToken().Position.Column - 1
		if n := bytes.IndexByte(t.content[end:], '\n'); n >= 0 {
			end += n + 1
		} else {
			end = len(t.content)
		}
		t.replace(start, end, "")
	}
	return nil
}

// appendItem puts an element at the end of a list of the root mapping, which is made where it is missing. block holds
// the element's fields, one a line.
func (t *textEditor) appendItem(section string, block []string) error {
	flow := "{" + strings.Join(block, ", ") + "}"
	item := func(indent string) []string {
		lines := make([]string, len(block))
		for i, l := range block {
			lines[i] = indent + "  " + l
		}
		lines[0] = indent + "- " + block[0]
		return lines
	}
	f := find(t.root, section)
	if f == nil {
		if t.root.IsFlowStyle {
			at := t.offset(t.root.Start) + 1
			text := section + ": [" + flow + "]"
			if len(t.root.Values) > 0 {
				text += ", "
			}
			t.replace(at, at, text)
			return nil
		}
		lines := append([]string{section + ":"}, item("  ")...)
		if len(t.content) == 0 || bytes.HasSuffix(t.content, []byte("\n")) {
			t.replace(len(t.content), len(t.content), strings.Join(lines, t.eol)+t.eol)
		} else {
			t.insertLines(len(t.content), lines...)
		}
		return nil
	}
	list, ok := f.Value.(*ast.SequenceNode)
	end, known := t.endOfValue(f)
	switch {
	case !known:
		return fmt.Errorf("%w: line %d: add %s to %s by hand", ErrLayout, line(f.Key), flow, section)
	case ok && !list.IsFlowStyle:
		t.insertLines(end, item(strings.Repeat(" ", list.Start.Position.Column-1))...)
	case ok && len(list.Values) > 0:
		last, known := t.end(list.Values[len(list.Values)-1])
		if !known {
			return fmt.Errorf("%w: line %d: add %s to %s by hand", ErrLayout, line(f.Key), flow, section)
		}
		t.replace(last, last, ", "+flow)
	case t.root.IsFlowStyle:
		t.replace(t.offset(f.Start)+1, end, " ["+flow+"]")
	default: // empty: null or []
		t.replace(t.offset(f.Start)+1, end, "")
		t.insertLines(end, item(indent(f)+"  ")...)
	}
	return nil
}

// indent returns the white space in front of a field in a block.
func indent(f *ast.MappingValueNode) string {
	return strings.Repeat(" ", f.Key.GetToken().Position.Column-1)
}

// removeItem takes an element out of a list of the root mapping. Comments above it stay.
func (t *textEditor) removeItem(section string, i int) error {
	m, err := t.item(section, i)
	if err != nil {
		return err
	}
	f := find(t.root, section)
	list := f.Value.(*ast.SequenceNode) // or item would have failed
	end, ok := t.end(m)
	if !ok || len(m.Values) == 0 {
		return fmt.Errorf("%w: line %d: take the element out of %s by hand", ErrLayout, line(f.Key), section)
	}
	start := t.offset(m.Values[0].Key.GetToken())
	if m.IsFlowStyle {
		start = t.offset(m.Start)
	}
	switch {
	case list.IsFlowStyle && i > 0:
		before, ok := t.end(list.Values[i-1])
		if !ok {
			return fmt.Errorf("%w: line %d: take the element out of %s by hand", ErrLayout, line(f.Key), section)
		}
		t.replace(before, end, "")
	case list.IsFlowStyle && len(list.Values) > 1:
		next, ok := list.Values[1].(*ast.MappingNode)
		if !ok {
			return fmt.Errorf("%w: line %d: take the element out of %s by hand", ErrLayout, line(f.Key), section)
		}
		t.replace(start, t.offset(next.Start), "")
	case list.IsFlowStyle:
		t.replace(start, end, "")
	default: // whole lines, from the dash on
		dash := bytes.LastIndexByte(t.content[:start], '-')
		if dash < 0 {
			return fmt.Errorf("%w: line %d: take the element out of %s by hand", ErrLayout, line(f.Key), section)
		}
		from := bytes.LastIndexByte(t.content[:dash], '\n') + 1
		if n := bytes.IndexByte(t.content[end:], '\n'); n >= 0 {
			end += n + 1
		} else {
			end = len(t.content)
		}
		t.replace(from, end, "")
	}
	return nil
}
