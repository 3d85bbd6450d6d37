package sql92

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// parseInteger is Integer.valueOf and Long.valueOf: an optional sign, then digits of any script (of Unicode's first plane)
// and nothing else.
func parseInteger(s string, lowest, highest int64) (int64, bool) {
	negative := strings.HasPrefix(s, "-")
	if negative || strings.HasPrefix(s, "+") {
		s = s[1:]
	}
	if s == "" {
		return 0, false
	}
	var n int64 // counted below zero, where there is one number more
	for _, r := range s {
		d, ok := digit(r)
		if !ok || n < (math.MinInt64+d)/10 {
			return 0, false
		}
		n = n*10 - d
	}
	if negative {
		return n, n >= lowest
	}
	return -n, n >= -highest // -n of the lowest is wrong, and refused
}

// digit is Character.digit in base 10. Of each script the ten digits follow one another.
func digit(r rune) (int64, bool) {
	if '0' <= r && r <= '9' {
		return int64(r - '0'), true
	}
	if r < 0x80 || r > 0xffff {
		return 0, false
	}
	for _, t := range unicode.Nd.R16 {
		if r <= rune(t.Hi) {
			return int64(r-rune(t.Lo)) % 10, r >= rune(t.Lo)
		}
	}
	return 0, false
}

// parseDouble is Double.valueOf: a decimal or hexadecimal number in Java's form, with space and control characters around
// it and one of f, F, d and D behind it. What is too large is infinite.
func parseDouble(s string) (float64, bool) {
	s = strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
	sign, rest := "", s
	if s != "" && (s[0] == '+' || s[0] == '-') {
		sign, rest = s[:1], s[1:]
	}
	switch {
	case rest == "NaN":
		return math.NaN(), true
	case rest == "Infinity" && sign == "-":
		return math.Inf(-1), true
	case rest == "Infinity":
		return math.Inf(1), true
	}
	digits := strings.TrimRight(rest, "fFdD")
	hex := len(rest) > 1 && rest[0] == '0' && rest[1]|0x20 == 'x'
	if hex {
		digits = rest // f and d are digits there, but not behind the exponent
		if i := strings.LastIndexAny(rest, "pP"); i >= 0 {
			digits = rest[:i] + strings.TrimRight(rest[i:], "fFdD")
		}
	}
	if len(rest)-len(digits) > 1 || !isFloat(digits, hex) {
		return 0, false
	}
	f, err := strconv.ParseFloat(sign+digits, 64)
	return f, err == nil || math.IsInf(f, 0)
}

// isFloat tells whether s has the form of an unsigned number, as Java wants it: of a hexadecimal one 0x, digits with at
// most one point among them, and an exponent with p; of a decimal one the same without 0x, the exponent with e or none.
func isFloat(s string, hex bool) bool {
	mark, isDigit := byte('e'), isDecimal
	if hex {
		s, mark, isDigit = s[2:], 'p', isHexadecimal
	}
	count, points, i := 0, 0, 0
	for ; i < len(s) && (isDigit(s[i]) || s[i] == '.'); i++ {
		if s[i] == '.' {
			points++
		} else {
			count++
		}
	}
	if count == 0 || points > 1 {
		return false
	}
	if i == len(s) {
		return !hex
	}
	if s[i]|0x20 != mark {
		return false
	}
	exponent := s[i+1:]
	if exponent != "" && (exponent[0] == '+' || exponent[0] == '-') {
		exponent = exponent[1:]
	}
	for i := range len(exponent) {
		if !isDecimal(exponent[i]) {
			return false
		}
	}
	return exponent != ""
}

func isDecimal(c byte) bool { return '0' <= c && c <= '9' }

func isHexadecimal(c byte) bool {
	return isDecimal(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
}
