package sql92

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// ErrSyntax is wrapped by the errors of [Parse], which quote the expression and name the place.
var ErrSyntax = errors.New("SQL92 expression refused")

// Parse reads an expression. It accepts what a broker accepts, up to [MaxLength] and [MaxDepth], and refuses what a broker
// refuses: a broker tells a client of it only when asked (CHECK_CLIENT_CONFIG), otherwise it delivers nothing.
func Parse(expression string) (*Expr, error) {
	switch {
	case len(expression) > MaxLength:
		return nil, fmt.Errorf("%w: %q: %d bytes long; it may have %d", ErrSyntax, excerpt(expression), len(expression), MaxLength)
	case !utf8.ValidString(expression):
		return nil, fmt.Errorf("%w: %q: it must be valid UTF-8", ErrSyntax, excerpt(expression))
	}
	p := parser{lex: lexer{src: expression}}
	p.advance()
	root := p.boolean(p.or())
	if p.err != nil {
		return nil, p.err
	}
	return &Expr{source: expression, used: p.used, root: root}, nil
}

// parser is the grammar of SelectorParser.jj by recursive descent, one method per rule. Its first error stays; after it the
// methods return a node that is good for nothing, and every token is the end.
type parser struct {
	lex   lexer
	token token // the next one
	used  int   // where the one before it ended
	depth int   // of nesting
	err   error // the first
}

// broken is what a method returns after an error.
var broken = &node{}

func (p *parser) advance() {
	p.used = p.token.to
	if p.err == nil {
		p.token = p.lex.next()
	}
	if p.token.kind == tokenBad {
		p.fail(p.token.from, "%s begins nothing; names consist of a-z, A-Z, 0-9, _ and $, strings stand in single quotes", p.found())
	}
}

// fail notes an error at a place in the source.
func (p *parser) fail(at int, format string, args ...any) *node {
	if p.err == nil {
		p.err = fmt.Errorf("%w: %q: at character %d: %s", ErrSyntax, excerpt(p.lex.src),
			utf8.RuneCountInString(p.lex.src[:at])+1, fmt.Sprintf(format, args...))
		p.token = token{kind: tokenEnd, from: at, to: at}
	}
	return broken
}

func (p *parser) want(what string) *node {
	return p.fail(p.token.from, "found %s, want %s", p.found(), what)
}

// found is the next token as an error names it.
func (p *parser) found() string {
	if p.token.kind == tokenEnd {
		return "the end"
	}
	_, size := utf8.DecodeRuneInString(p.lex.src[p.token.from:])
	return strconv.Quote(excerpt(p.lex.src[p.token.from:max(p.token.to, p.token.from+size)]))
}

// accept passes the next token if it is this word.
func (p *parser) accept(word string) bool {
	if !p.token.is(word) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) expect(word string) {
	if !p.accept(word) {
		p.want(word)
	}
}

// boolean is n where an expression must have a truth value: a name alone has one.
func (p *parser) boolean(n *node) *node {
	switch {
	case p.err != nil || n.isBoolean():
		return n
	case n.op == opProperty:
		return &node{op: opCast, left: n}
	}
	return p.fail(p.used, "what ends here is no condition; want a comparison, or a name alone")
}

func (p *parser) or() *node {
	n := p.and()
	for p.accept("OR") {
		right := p.and()
		n = &node{op: opOr, left: p.boolean(n), right: p.boolean(right)}
	}
	return n
}

func (p *parser) and() *node {
	n := p.equality()
	for p.accept("AND") {
		right := p.equality()
		n = &node{op: opAnd, left: p.boolean(n), right: p.boolean(right)}
	}
	return n
}

func (p *parser) equality() *node {
	n := p.comparison()
	for p.err == nil {
		at := p.token.from
		switch {
		case p.accept("="):
			n = p.equal(at, n, p.comparison())
		case p.accept("<>"):
			n = &node{op: opNot, left: p.equal(at, n, p.comparison())}
		case p.accept("IS"):
			negated := p.accept("NOT")
			p.expect("NULL")
			if n = (&node{op: opEqual, left: n, right: &node{op: opConst}}); negated {
				n = &node{op: opNot, left: n}
			}
		default:
			return n
		}
	}
	return n
}

// equal is what = and <> accept: not NULL, and no constant behind TRUE and FALSE but these.
func (p *parser) equal(at int, l, r *node) *node {
	for _, n := range []*node{l, r} {
		if n.op == opConst && n.value.kind == null && p.err == nil {
			return p.fail(at, "nothing equals NULL; want IS NULL or IS NOT NULL")
		}
	}
	if l.op == opConst && r.op == opConst && l.isBoolean() && !r.isBoolean() {
		return p.fail(at, "TRUE and FALSE can't be compared with this")
	}
	return &node{op: opEqual, left: l, right: r}
}

var orders = map[string]op{">": opGreater, ">=": opGreaterEq, "<": opLess, "<=": opLessEq}

func (p *parser) comparison() *node {
	n := p.unary()
	for p.err == nil {
		at := p.token.from
		if o, ok := orders[p.token.text]; ok && p.token.kind == tokenWord {
			p.advance()
			n = p.order(at, o, n, p.unary())
			continue
		}
		negated := p.accept("NOT")
		switch {
		case p.accept("CONTAINS"):
			n = &node{op: opContains, negated: negated, left: n, text: p.literal()}
		case p.accept("STARTSWITH"):
			n = &node{op: opStartsWith, negated: negated, left: n, text: p.literal()}
		case p.accept("ENDSWITH"):
			n = &node{op: opEndsWith, negated: negated, left: n, text: p.literal()}
		case p.accept("BETWEEN"):
			n = p.between(at, negated, n)
		case p.accept("IN"):
			n = p.in(at, negated, n)
		case negated:
			return p.want("CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN behind NOT")
		default:
			return n
		}
	}
	return n
}

// order is what >, >=, < and <= accept: numbers, names and signed values.
func (p *parser) order(at int, o op, l, r *node) *node {
	for _, n := range []*node{l, r} {
		if p.err == nil && (n.op == opConst && !n.value.isNumber() || n.isBoolean() && n.op != opConst) {
			return p.fail(at, "only numbers and properties can be ordered")
		}
	}
	return &node{op: o, left: l, right: r}
}

func (p *parser) between(at int, negated bool, n *node) *node {
	low := p.unary()
	p.expect("AND")
	high := p.unary()
	if negated {
		return &node{op: opOr, left: p.order(at, opLess, n, low), right: p.order(at, opGreater, n, high)}
	}
	both := &node{op: opAnd, left: p.order(at, opGreaterEq, n, low), right: p.order(at, opLessEq, n, high)}
	if p.err == nil && low.op == opConst && high.op == opConst {
		if order, err := compare(high.value, low.value); err != nil || order < 0 {
			return p.fail(at, "the first value of BETWEEN is above the second")
		}
	}
	return both
}

func (p *parser) in(at int, negated bool, n *node) *node {
	p.expect("(")
	list := []string{p.literal()}
	for p.accept(",") {
		list = append(list, p.literal())
	}
	p.expect(")")
	if p.err == nil && n.op != opProperty {
		return p.fail(at, "IN stands behind a name only")
	}
	slices.Sort(list)
	return &node{op: opIn, negated: negated, left: n, list: slices.Compact(list)}
}

// literal is a string where nothing else may stand.
func (p *parser) literal() string {
	s := p.token.text
	if p.token.kind != tokenString {
		p.want("a string in single quotes")
		return ""
	}
	p.advance()
	return s
}

// nested counts a level while f reads what is in it.
func (p *parser) nested(f func() *node) *node {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		return p.fail(p.token.from, "nested more than %d deep", MaxDepth)
	}
	return f()
}

func (p *parser) unary() *node {
	switch {
	case p.accept("+"):
		return p.nested(p.unary)
	case p.accept("-"):
		return &node{op: opNegate, left: p.nested(p.unary)}
	case p.accept("NOT"):
		return &node{op: opNot, left: p.boolean(p.nested(p.unary))}
	}
	return p.primary()
}

func (p *parser) primary() *node {
	t := p.token
	switch t.kind {
	case tokenString:
		p.advance()
		return constant(value{kind: text, s: t.text})
	case tokenName:
		p.advance()
		return &node{op: opProperty, text: t.text}
	case tokenInteger:
		i, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			return p.fail(t.from, "%s is above %d", excerpt(t.text), math.MaxInt64)
		}
		p.advance()
		if i <= math.MaxInt32 {
			return constant(value{kind: integer, i: i})
		}
		return constant(value{kind: long, i: i})
	case tokenDouble:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil || f == 0 {
			return p.fail(t.from, "%s is out of range: doubles are from %g to %g", excerpt(t.text), math.SmallestNonzeroFloat64, math.MaxFloat64)
		}
		p.advance()
		return constant(value{kind: double, f: f})
	}
	switch {
	case p.accept("TRUE"):
		return constant(truth(true))
	case p.accept("FALSE"):
		return constant(truth(false))
	case p.accept("NULL"):
		return constant(value{})
	case p.accept("("):
		n := p.nested(p.or)
		p.expect(")")
		return n
	}
	return p.want("a name, a value or (")
}

func constant(v value) *node { return &node{op: opConst, value: v} }

// excerpt keeps what a line of an error has room for.
func excerpt(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
