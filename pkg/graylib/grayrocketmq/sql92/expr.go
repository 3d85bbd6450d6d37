package sql92

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of [Parse]. A broker has none of its own: it refuses what overflows the stack of the thread that parses, and
// rejects every message where that happens while evaluating.
const (
	// MaxLength is the longest expression, in bytes.
	MaxLength = 32 << 10
	// MaxDepth is how deep parentheses and the operators NOT, + and - may nest, all counted. A 5.3.3 broker whose JVM has
	// its default stack took 400 parentheses and refused 800.
	MaxDepth = 200
)

// Lookup returns a message's property; ok is false where there is none.
type Lookup = func(name string) (value string, ok bool)

// Expr is a parsed expression. It never changes: any number of goroutines may use one.
type Expr struct {
	source string
	used   int
	root   *node
}

// String returns the expression as it was given to [Parse].
func (e *Expr) String() string { return e.source }

// Text returns the part of the source that has a meaning: without what is ignored behind it. It can stand in parentheses,
// where the source can't if something is ignored.
func (e *Expr) Text() string { return e.source[:e.used] }

// Ignored returns what stands behind the complete expression, without the space around it: the broker doesn't read it.
// It is empty for an expression that means what it says.
func (e *Expr) Ignored() string {
	rest := lexer{src: e.source, pos: e.used}
	if rest.next().kind == tokenEnd {
		return "" // space and comments
	}
	return strings.TrimSpace(e.source[e.used:])
}

// Match tells whether a broker would deliver a message with these properties. The error, a [*ValueError], says why the
// expression has no value for it; the broker logs such a message and doesn't deliver it, so the answer is false then.
// Match calls lookup in the calling goroutine only, possibly several times for a name, and allocates nothing unless it
// fails.
func (e *Expr) Match(lookup Lookup) (bool, error) {
	v, err := e.root.eval(lookup)
	if err != nil {
		return false, err
	}
	return v.kind == boolean && v.truth, nil
}

// ErrValue is wrapped by the errors of [Expr.Match].
var ErrValue = errors.New("SQL92 expression has no value for this message")

// ValueError says which value can't be compared with what stands beside it.
type ValueError struct {
	Value string // the property's value, or TRUE or FALSE
	Want  string // what it would have to be
}

// Error implements error.
func (e *ValueError) Error() string {
	return fmt.Sprintf("%s: %q is not %s", ErrValue, excerpt(e.Value), e.Want)
}

// Unwrap returns [ErrValue].
func (e *ValueError) Unwrap() error { return ErrValue }

// op is what a node does.
type op uint8

const (
	opConst      op = iota // value
	opProperty             // text is its name
	opCast                 // left, a property, as a boolean
	opNot                  // left
	opNegate               // left
	opAnd                  // left, right
	opOr                   // left, right
	opEqual                // left, right
	opGreater              // left, right; so the three below
	opGreaterEq            //
	opLess                 //
	opLessEq               //
	opIn                   // left, a property; list
	opContains             // left, text; so the two below
	opStartsWith           //
	opEndsWith             //
)

// node is one operation of a parsed expression.
type node struct {
	op          op
	negated     bool // of opIn, opContains, opStartsWith and opEndsWith
	text        string
	list        []string // sorted
	value       value
	left, right *node
}

// isBoolean tells whether the broker counts the node among its boolean expressions.
func (n *node) isBoolean() bool {
	switch n.op {
	case opConst:
		return n.value.kind == boolean || n.value.kind == null
	case opProperty, opNegate:
		return false
	}
	return true
}

// eval is the value of the node, in the broker's order of evaluation: an error on the right is none where the left decides.
func (n *node) eval(lookup Lookup) (value, error) {
	switch n.op {
	case opConst:
		return n.value, nil
	case opProperty:
		if s, ok := lookup(n.text); ok {
			return value{kind: text, s: s}, nil
		}
		return value{}, nil
	case opCast:
		if _, ok := lookup(n.left.text); ok {
			return value{kind: boolean}, nil // a property is a string, and no string is TRUE
		}
		return value{}, nil
	case opAnd, opOr:
		return n.evalLogic(lookup)
	case opEqual, opGreater, opGreaterEq, opLess, opLessEq:
		return n.evalComparison(lookup)
	}
	if n.op >= opContains && n.text == "" {
		return truth(false), nil // looking for "" finds nothing, whatever stands on the left
	}
	v, err := n.left.eval(lookup)
	if err != nil {
		return value{}, err
	}
	switch n.op {
	case opNot:
		if v.kind == boolean {
			v.truth = !v.truth
		}
		return v, nil
	case opNegate:
		return v.negate(), nil
	case opIn:
		if v.kind != text {
			return value{}, nil
		}
		_, found := slices.BinarySearch(n.list, v.s)
		return truth(found != n.negated), nil
	}
	if v.kind != text {
		return truth(false), nil
	}
	var found bool
	switch n.op {
	case opContains:
		found = strings.Contains(v.s, n.text)
	case opStartsWith:
		found = strings.HasPrefix(v.s, n.text)
	case opEndsWith:
		found = strings.HasSuffix(v.s, n.text)
	}
	return truth(found != n.negated), nil
}

// evalLogic is AND and OR: the first operand that decides does, and one that is NULL leaves the rest undecided.
func (n *node) evalLogic(lookup Lookup) (value, error) {
	deciding := n.op == opOr
	l, err := n.left.eval(lookup)
	if err != nil || l.kind == boolean && l.truth == deciding {
		return l, err
	}
	r, err := n.right.eval(lookup)
	if err != nil || r.kind == boolean && r.truth == deciding {
		return r, err
	}
	if l.kind == null || r.kind == null {
		return value{}, nil
	}
	return truth(!deciding), nil
}

// evalComparison is = and the four orders. Of an order, the right side isn't looked at where the left is NULL.
func (n *node) evalComparison(lookup Lookup) (value, error) {
	l, err := n.left.eval(lookup)
	if err != nil || l.kind == null && n.op != opEqual {
		return value{}, err
	}
	r, err := n.right.eval(lookup)
	if err != nil {
		return value{}, err
	}
	switch {
	case n.op == opEqual && r.kind == null:
		return truth(l.kind == null), nil // IS NULL
	case l.kind == null || r.kind == null:
		return value{}, nil
	}
	var order int
	if n.op != opEqual && l.kind == text && r.kind == text {
		if l, err = l.asDouble(); err == nil {
			r, err = r.asDouble()
		}
		if err != nil {
			return value{}, err
		}
	}
	if order, err = compare(l, r); err != nil {
		return value{}, err
	}
	switch n.op {
	case opGreater:
		return truth(order > 0), nil
	case opGreaterEq:
		return truth(order >= 0), nil
	case opLess:
		return truth(order < 0), nil
	case opLessEq:
		return truth(order <= 0), nil
	default:
		return truth(order == 0), nil
	}
}
