package sql92

import "strings"

// tokenKind is what the lexer tells apart; operators and reserved words have the spelling as their text instead.
type tokenKind uint8

const (
	tokenEnd  tokenKind = iota
	tokenBad            // no token begins here
	tokenWord           // a reserved word, text in capitals, or an operator
	tokenName
	tokenString  // text is what it says, the quotes gone
	tokenInteger // text without its l or L
	tokenDouble
)

type token struct {
	kind     tokenKind
	text     string
	from, to int // where it stands, in bytes
}

// is tells whether the token is a reserved word or an operator.
func (t token) is(word string) bool { return t.kind == tokenWord && t.text == word }

// lexer reads tokens from the left; it never looks at what the parser doesn't ask for, because the broker doesn't either.
type lexer struct {
	src string
	pos int
}

// reserved are the words that can't be names, in whatever case.
var reserved = map[string]bool{
	"NOT": true, "AND": true, "OR": true, "BETWEEN": true, "IN": true, "TRUE": true, "FALSE": true, "NULL": true, "IS": true,
	"CONTAINS": true, "STARTSWITH": true, "ENDSWITH": true,
}

const longestReserved = len("STARTSWITH")

// next reads a token: the longest that begins here, behind space and comments.
func (l *lexer) next() token {
	l.skip()
	from := l.pos
	if from == len(l.src) {
		return token{tokenEnd, "", from, from}
	}
	switch c := l.src[from]; {
	case isNameStart(c):
		return l.name()
	case isDecimal(c) || c == '.':
		return l.number()
	case c == '\'':
		return l.string()
	}
	for _, op := range []string{"<>", ">=", "<=", "=", ">", "<", "(", ",", ")", "+", "-"} {
		if strings.HasPrefix(l.src[from:], op) {
			return l.take(tokenWord, op, from+len(op))
		}
	}
	return l.take(tokenBad, "", from+1)
}

func (l *lexer) take(k tokenKind, text string, to int) token {
	t := token{k, text, l.pos, to}
	l.pos = to
	return t
}

// skip passes space and comments. A line comment has an end of line; without one its dashes are operators.
func (l *lexer) skip() {
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		switch {
		case strings.IndexByte(" \t\n\r\f", rest[0]) >= 0:
			l.pos++
			continue
		case strings.HasPrefix(rest, "--"):
			if end := strings.IndexAny(rest, "\n\r"); end >= 0 {
				l.pos += end + 1
				continue
			}
		case strings.HasPrefix(rest, "/*"):
			if end := strings.Index(rest[2:], "*/"); end >= 0 {
				l.pos += 2 + end + 2
				continue
			}
		}
		return
	}
}

func isNameStart(c byte) bool { return c == '_' || c == '$' || 'a' <= c|0x20 && c|0x20 <= 'z' }

func (l *lexer) name() token {
	to := l.pos + 1
	for to < len(l.src) && (isNameStart(l.src[to]) || isDecimal(l.src[to])) {
		to++
	}
	name := l.src[l.pos:to]
	if len(name) <= longestReserved {
		if word := strings.ToUpper(name); reserved[word] {
			return l.take(tokenWord, word, to)
		}
	}
	return l.take(tokenName, name, to)
}

// number reads an integer (0, or digits that begin with another, and an l or L) or a double: whichever is longer. So 007 is
// three integers.
func (l *lexer) number() token {
	digits := func(at int) int {
		for at < len(l.src) && isDecimal(l.src[at]) {
			at++
		}
		return at
	}
	whole := digits(l.pos)
	to := whole
	if to < len(l.src) && l.src[to] == '.' {
		to = digits(to + 1)
	}
	isDouble := to > whole && to-l.pos > 1
	if to == whole || isDouble {
		if end := l.exponent(to, digits); end > to {
			to, isDouble = end, true
		}
	}
	switch {
	case isDouble:
		return l.take(tokenDouble, l.src[l.pos:to], to)
	case whole == l.pos: // a point alone
		return l.take(tokenBad, "", l.pos+1)
	case l.src[l.pos] == '0':
		return l.take(tokenInteger, "0", l.pos+1)
	case whole < len(l.src) && l.src[whole]|0x20 == 'l':
		return l.take(tokenInteger, l.src[l.pos:whole], whole+1)
	default:
		return l.take(tokenInteger, l.src[l.pos:whole], whole)
	}
}

// exponent returns where the exponent at this place ends, or the place where there is none.
func (l *lexer) exponent(at int, digits func(int) int) int {
	if at == len(l.src) || l.src[at]|0x20 != 'e' {
		return at
	}
	first := at + 1
	if first < len(l.src) && (l.src[first] == '+' || l.src[first] == '-') {
		first++
	}
	if end := digits(first); end > first {
		return end
	}
	return at
}

// string reads a string: up to the last quote that isn't one of a pair. In a string that is never closed behind a pair, the
// pair's first quote closes it.
func (l *lexer) string() token {
	for at := l.pos + 1; ; {
		i := strings.IndexByte(l.src[at:], '\'')
		if i < 0 {
			break
		}
		at += i + 1
		if at == len(l.src) || l.src[at] != '\'' {
			return l.quoted(at)
		}
		at++
	}
	// Never closed. The longest string that there is ends at the last pair's first quote.
	if i := strings.LastIndex(l.src[l.pos+1:], "''"); i >= 0 {
		return l.quoted(l.pos + 1 + i + 1)
	}
	return l.take(tokenBad, "", l.pos+1)
}

func (l *lexer) quoted(to int) token {
	return l.take(tokenString, strings.ReplaceAll(l.src[l.pos+1:to-1], "''", "'"), to)
}
