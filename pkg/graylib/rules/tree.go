package rules

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a document's text. The parser's time grows with the square of the nesting and of a mapping's width, so both
// are bounded before it runs; a document of ours nests nine levels deep and has mappings of at most eight fields.
const (
	// MaxSize is the greatest size of a document in bytes. It stays well below the 10 MB that a stock Nacos takes, and
	// holds some 2,500 entries.
	MaxSize  = 256 << 10
	maxDepth = 32
	maxWidth = 64
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// tree parses a document's text into its root node; nil where the text holds nothing but comments. Lines of the nodes
// are lines of the text, columns count characters from 1.
func tree(content []byte) (root ast.Node, err error) {
	if len(content) > MaxSize {
		return nil, invalid([]Problem{{Message: fmt.Sprintf("%d bytes, at most %d are read", len(content), MaxSize)}})
	}
	if !utf8.Valid(content) {
		at := 0
		for r, size := utf8.DecodeRune(content); r != utf8.RuneError || size != 1; r, size = utf8.DecodeRune(content[at:]) {
			at += size
		}
		return nil, invalid([]Problem{{Line: 1 + bytes.Count(content[:at], []byte("\n")), Message: fmt.Sprintf("is not UTF-8: byte %#02x", content[at])}})
	}
	// The parser counts the line ends of Windows twice and takes a byte order mark for a key.
	text := strings.ReplaceAll(string(bytes.TrimPrefix(content, byteOrderMark)), "\r\n", "\n")
	// A text on which the parser breaks must not take the service with it.
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, invalid([]Problem{{Message: "not YAML that can be read: " + clip(fmt.Sprint(p))}})
		}
	}()
	tokens := lexer.Tokenize(text)
	if p, bad := bounded(tokens); bad {
		return nil, invalid([]Problem{p})
	}
	file, err := parser.Parse(tokens, parser.ParseComments, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, invalid([]Problem{syntaxProblem(err)})
	}
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			return nil, invalid([]Problem{{Line: line(doc.Body), Message: "a second YAML document begins here; there may be one"}})
		}
		root = doc.Body
	}
	return root, nil
}

// bounded looks for the nesting and the width that the parser shouldn't meet.
func bounded(tokens token.Tokens) (Problem, bool) {
	type open struct{ column, fields int }
	var (
		blocks   []open // collections by indentation
		brackets []int  // fields of the collections in brackets
		chain    int    // anchors and tags in a row
	)
	problem := func(t *token.Token, format string, limit int) (Problem, bool) {
		return Problem{Line: t.Position.Line, Message: fmt.Sprintf(format, limit)}, true
	}
	for _, t := range tokens {
		switch t.Type {
		case token.TagType, token.AnchorType, token.MappingKeyType:
			if chain++; chain > maxDepth {
				return problem(t, "nested more than %d levels deep", maxDepth)
			}
			continue
		case token.SequenceStartType, token.MappingStartType:
			brackets = append(brackets, 0)
		case token.SequenceEndType, token.MappingEndType:
			brackets = brackets[:max(0, len(brackets)-1)]
		case token.MappingValueType, token.SequenceEntryType:
			field := t.Type == token.MappingValueType
			if len(brackets) > 0 {
				if brackets[len(brackets)-1]++; field && brackets[len(brackets)-1] > maxWidth {
					return problem(t, "a mapping with more than %d fields", maxWidth)
				}
				break
			}
			column := t.Position.Column
			if field && t.Prev != nil {
				column = t.Prev.Position.Column // the key's
			}
			for len(blocks) > 0 && blocks[len(blocks)-1].column > column {
				blocks = blocks[:len(blocks)-1]
			}
			if len(blocks) == 0 || blocks[len(blocks)-1].column != column {
				blocks = append(blocks, open{column: column})
			}
			top := &blocks[len(blocks)-1]
			if top.fields++; !field {
				top.fields = 0
			} else if top.fields > maxWidth {
				return problem(t, "a mapping with more than %d fields", maxWidth)
			}
		}
		chain = 0
		if len(blocks)+len(brackets) > maxDepth {
			return problem(t, "nested more than %d levels deep", maxDepth)
		}
	}
	return Problem{}, false
}

// syntaxProblem makes the parser's error a problem.
func syntaxProblem(err error) Problem {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		p := Problem{Message: "not YAML: " + clip(syntax.Message)}
		if syntax.Token != nil && syntax.Token.Position != nil {
			p.Line = syntax.Token.Position.Line
		}
		return p
	}
	return Problem{Message: "not YAML: " + clip(err.Error())}
}

// clip makes one line of bounded length of what the parser says: it quotes the text.
func clip(s string) string {
	const limit = 160
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}

// line returns a node's line, 0 where it has none.
func line(n ast.Node) int {
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0
	}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		return line(m.Values[0].Key) // its own token is a colon, that may stand on another line
	}
	return n.GetToken().Position.Line
}

// describe says what a node is, for messages.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a YAML type tag"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return "the boolean " + n.GetToken().Value
	case *ast.StringNode:
		return quote(n.Value)
	case *ast.LiteralNode:
		return quote(n.Value.Value)
	default:
		return "a " + strings.ToLower(n.Type().String())
	}
}
