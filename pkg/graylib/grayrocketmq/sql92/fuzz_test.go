package sql92_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/sql92"
)

// Whatever is parsed, parsing ends without a panic and within the limits, errors are one line with the sentinel, the text
// that counts means the same as the whole, in parentheses too, and matching gives the same answer twice.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`a = 'x' AND NOT (b <> 'it''s' OR c IN ('1', '2'))`, `a BETWEEN -1 AND 2.5e3 OR a NOT BETWEEN 1 AND 5L`, `a CONTAINS 'x' IS NOT NULL`,
		"a -- c\n = /* d */ 007 garbage", `TRUE = a`, `((((a))))`, `+-+-a > .5`, `a = 'x''`, `a NOT`, `'`, `5.`, "\xff", `NULL IS NULL = FALSE`,
	} {
		f.Add(seed, "7", "blue")
	}
	f.Fuzz(func(t *testing.T, expression, a, b string) {
		e, err := sql92.Parse(expression)
		if err != nil {
			if !errors.Is(err, sql92.ErrSyntax) || strings.ContainsAny(err.Error(), "\n\r") || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q: error %q", expression, err)
			}
			return
		}
		if len(expression) > sql92.MaxLength || !utf8.ValidString(expression) {
			t.Fatalf("%q was accepted", expression)
		}
		lookup := props("a", a, "b", b)
		ok, matchErr := e.Match(lookup)
		if matchErr != nil && (ok || !errors.Is(matchErr, sql92.ErrValue)) {
			t.Fatalf("%q: %v, %v", expression, ok, matchErr)
		}
		if !strings.HasPrefix(expression, e.Text()) || !strings.HasSuffix(strings.TrimSpace(expression), e.Ignored()) {
			t.Fatalf("%q: text %q, ignored %q", expression, e.Text(), e.Ignored())
		}
		for _, again := range []string{expression, e.Text(), "(" + e.Text() + ")"} {
			same, err := sql92.Parse(again)
			if err != nil {
				if len(again) > sql92.MaxLength || strings.Contains(err.Error(), "nested more") {
					continue
				}
				t.Fatalf("%q is accepted, but %q gave %v", expression, again, err)
			}
			if got, gotErr := same.Match(lookup); got != ok || (gotErr == nil) != (matchErr == nil) {
				t.Fatalf("%q gave %v, %v, but %q %v, %v", expression, ok, matchErr, again, got, gotErr)
			}
		}
	})
}
