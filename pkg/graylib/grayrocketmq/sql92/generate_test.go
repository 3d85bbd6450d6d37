package sql92_test

import (
	"math/rand/v2"
	"strings"
)

// generator makes expressions as trees of the grammar, sometimes of the wrong type and sometimes with a token too few, too
// many or out of place, and messages whose properties are what such expressions trip over.
type generator struct{ *rand.Rand }

var (
	names  = []string{"a", "b", "c", "d", "_e$1"}
	values = []string{
		"x", "X", "xy", "it's", "'", "true", "TRUE", "False", "null", "0", "-0", "+0", "1", "01", "-1", "7", "7.0", "7L", "+7", " 7", "7 ", "1.5", "-1.5", "1e2",
		"100", "2147483647", "2147483648", "-2147483648", "9223372036854775807", "9223372036854775808", "NaN", "-Infinity", "0x1p3", "8", "1d", ".5", "5.", ".",
		"-", "٣", "１２", "grün", "火", "\U0001F600", "a b", "1_000", "1e400", "4.9e-324",
	}
	strs     = []string{"x", "X", "xy", "y", "", "it''s", "''", "true", "false", "7", "1.5", "ü", "火", "\U0001F600", "a b", "-- no\n", "/*", "("}
	integers = []string{"0", "1", "7", "8", "100", "7L", "2147483647", "2147483648", "9223372036854775807", "3l", "12"}
	doubles  = []string{"7.0", "1.5", ".5", "5.", "1e2", "8.0E0", "1.7976931348623157e308", "4.9e-324", "9223372036854775807.0", "00.5"}
	bad      = []string{"0.0", "1e400", "9223372036854775808", "007", "0x1F", "NULL", "'", "\"x\"", "@", "5e", "grün", "a.b", "a-b", "LIKE", "!=", "==", ";"}
	spaces   = []string{" ", " ", " ", " ", "  ", "\n", "\t\r\f", " /* 'c' */ ", " -- c\n", "/***/"}
)

func (g generator) pick(from []string) string { return from[g.IntN(len(from))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g generator) messages(n int) [][]string {
	all := make([][]string, n)
	for i := range all {
		for _, name := range names {
			if g.chance(70) {
				all[i] = append(all[i], name, g.pick(values))
			}
		}
	}
	for i, v := range values { // each one at least once
		all[i%n] = append([]string{"a", v}, without(all[i%n], "a")...)
	}
	return all
}

func without(pairs []string, name string) []string {
	var rest []string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != name {
			rest = append(rest, pairs[i:i+2]...)
		}
	}
	return rest
}

func (g generator) expression() string {
	tokens := g.condition(g.IntN(4))
	if g.chance(20) {
		i := g.IntN(len(tokens))
		switch g.IntN(5) {
		case 0: // one too few
			tokens = append(tokens[:i:i], tokens[i+1:]...)
		case 1: // one too many
			tokens = append(append(tokens[:i:i], g.token()), tokens[i:]...)
		case 2: // another one
			tokens = append(append(tokens[:i:i], g.token()), tokens[i+1:]...)
		case 3: // something behind
			tokens = append(tokens, g.token(), g.token())
		case 4: // cut off
			tokens = tokens[:i+1]
		}
	}
	var b strings.Builder
	for i, t := range tokens {
		if i > 0 && !g.chance(5) {
			b.WriteString(g.pick(spaces))
		}
		b.WriteString(t)
	}
	return b.String()
}

func (g generator) token() string {
	return g.pick([]string{
		g.pick(names), g.str(), g.pick(integers), g.pick(doubles), g.pick(bad), "NOT", "AND", "OR", "IS", "IN", "BETWEEN", "CONTAINS", "NULL", "TRUE",
		"=", "<>", ">", "<=", "(", ")", ",", "+", "-", "--", "/*",
	})
}

func (g generator) str() string { return "'" + g.pick(strs) + "'" }

// word is a reserved word in some case.
func (g generator) word(w string) string {
	switch g.IntN(6) {
	case 0:
		return strings.ToLower(w)
	case 1:
		return w[:1] + strings.ToLower(w[1:])
	}
	return w
}

func (g generator) condition(depth int) []string {
	if depth > 0 {
		switch g.IntN(8) {
		case 0, 1, 2:
			return g.join(g.condition(depth-1), g.word("AND"), g.condition(depth-1))
		case 3, 4, 5:
			return g.join(g.condition(depth-1), g.word("OR"), g.condition(depth-1))
		case 6:
			return g.join(nil, g.word("NOT"), g.paren(g.condition(depth-1)))
		case 7:
			return g.paren(g.condition(depth - 1))
		}
	}
	left := g.operand()
	switch g.IntN(12) {
	case 0, 1:
		return g.join(left, g.pick([]string{"=", "<>"}), g.operand())
	case 2, 3:
		return g.join([]string{g.pick(names)}, g.pick([]string{"=", "<>"}), g.operand())
	case 4, 5, 6:
		return g.join(g.number(), g.pick([]string{">", ">=", "<", "<="}), g.number())
	case 7:
		return append(append(g.join(g.number(), g.not("BETWEEN"), g.number()), g.word("AND")), g.number()...)
	case 8:
		list := []string{g.pick(names), g.not("IN"), "(", g.str()}
		for range g.IntN(7) {
			list = append(list, ",", g.str())
		}
		return append(list, ")")
	case 9:
		return append(left, g.word("IS"), g.pick([]string{"NULL", "NOT NULL"}))
	case 10:
		return append(left, g.not(g.pick([]string{"CONTAINS", "STARTSWITH", "ENDSWITH"})), g.str())
	}
	return []string{g.pick([]string{g.pick(names), g.word("TRUE"), g.word("FALSE"), g.word("NULL")})}
}

func (g generator) not(w string) string {
	if g.chance(40) {
		return g.word("NOT") + " " + g.word(w)
	}
	return g.word(w)
}

func (g generator) join(left []string, op string, right []string) []string {
	return append(append(left[:len(left):len(left)], op), right...)
}

func (g generator) paren(inner []string) []string {
	return append(append([]string{"("}, inner...), ")")
}

// number is what may stand beside > and <, mostly.
func (g generator) number() []string {
	switch g.IntN(12) {
	case 0, 1, 2, 3:
		return []string{g.pick(names)}
	case 4, 5, 6:
		return []string{g.pick(integers)}
	case 7, 8:
		return []string{g.pick(doubles)}
	case 9, 10:
		return append([]string{g.pick([]string{"-", "-", "+"})}, g.number()...)
	}
	return g.operand()
}

// operand is anything that has a value.
func (g generator) operand() []string {
	switch g.IntN(20) {
	case 0, 1, 2, 3, 4:
		return []string{g.pick(names)}
	case 5, 6, 7, 8, 9:
		return []string{g.str()}
	case 10, 11, 12:
		return []string{g.pick(integers)}
	case 13, 14:
		return []string{g.pick(doubles)}
	case 15:
		return []string{g.pick([]string{g.word("TRUE"), g.word("FALSE"), g.pick(bad)})}
	case 16:
		return append([]string{g.pick([]string{"-", "+"})}, g.operand()...)
	case 17:
		return g.join(nil, g.word("NOT"), g.operand())
	}
	return g.paren(g.condition(0))
}
