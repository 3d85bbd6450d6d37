package rules

import (
	"math"
	"strconv"
)

// number is a decimal number: exact where it is whole and fits 64 bits, so that long ids compare as what they are.
type number struct {
	whole   int64
	real    float64
	isWhole bool
}

// parseNumber reads a decimal number, such as -12, 3.5 or 1e3; anything else, infinities and hexadecimals included, is
// none. It allocates nothing.
func parseNumber(s string) (number, bool) {
	if !looksDecimal(s) {
		return number{}, false
	}
	// 18 digits always fit: a longer text isn't tried, because the standard library's errors allocate.
	if len(s) <= 18 {
		if n, ok := parseWhole(s); ok {
			return number{whole: n, real: float64(n), isWhole: true}, true
		}
	} else if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return number{whole: n, real: float64(n), isWhole: true}, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return number{}, false
	}
	return number{real: f}, true
}

func (a number) less(b number) bool {
	if a.isWhole && b.isWhole {
		return a.whole < b.whole
	}
	return a.real < b.real
}

// parseWhole reads an integer of at most 18 characters.
func parseWhole(s string) (int64, bool) {
	negative := false
	if s[0] == '-' || s[0] == '+' {
		negative, s = s[0] == '-', s[1:]
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// looksDecimal tells whether s is [+-]digits[.digits][e[+-]digits], with at least one digit before or after the point.
func looksDecimal(s string) bool {
	i, n := 0, len(s)
	sign := func() {
		if i < n && (s[i] == '+' || s[i] == '-') {
			i++
		}
	}
	run := func() (some bool) {
		for i < n && s[i] >= '0' && s[i] <= '9' {
			i, some = i+1, true
		}
		return some
	}
	sign()
	mantissa := run()
	if i < n && s[i] == '.' {
		i++
		mantissa = run() || mantissa
	}
	if !mantissa {
		return false
	}
	if i < n && (s[i] == 'e' || s[i] == 'E') {
		i++
		sign()
		if !run() {
			return false
		}
	}
	return i == n
}
