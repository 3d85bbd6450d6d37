package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrInvalid is wrapped by every [InvalidError].
var ErrInvalid = errors.New("invalid rules document")

// Problem is one thing that is wrong with a document.
type Problem struct {
	Line    int    `json:"line,omitempty"`  // of the text, from 1; 0 = unknown (a document made in Go)
	Field   string `json:"field,omitempty"` // for example lanes[0].entries[1].when[0].op; empty = the document itself
	Message string `json:"message"`         // what is wrong, with the value, and what it may be
}

// String returns the problem as one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// InvalidError holds all problems of a document, in the order of their lines. It wraps [ErrInvalid].
type InvalidError struct {
	Problems []Problem
}

// Error returns one line per problem.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns [ErrInvalid].
func (e *InvalidError) Unwrap() error { return ErrInvalid }

// invalid returns the problems as an error, or nil where there are none.
func invalid(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &InvalidError{Problems: problems}
}

// quote returns what a message shows of a value: quoted, and bounded.
func quote[S ~string](s S) string {
	const limit = 80
	if len(s) > limit {
		return fmt.Sprintf("%.*q…", limit, string(s))
	}
	return fmt.Sprintf("%q", string(s))
}

// oneOf returns "one of a, b, c".
func oneOf[S ~string](values []S) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	if len(texts) == 1 {
		return texts[0]
	}
	return "one of " + strings.Join(texts, ", ")
}
