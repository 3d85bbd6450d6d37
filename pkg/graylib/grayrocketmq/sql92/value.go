package sql92

import (
	"cmp"
	"math"
	"strings"
)

// valueKind is the Java class that a value has in the broker.
type valueKind uint8

const (
	null    valueKind = iota
	boolean           // Boolean
	integer           // Integer, a literal that fits 32 bits
	long              // Long
	double            // Double
	text              // String
)

// value is a value of an expression. The zero value is NULL.
type value struct {
	kind  valueKind
	truth bool
	i     int64 // integer and long
	f     float64
	s     string
}

func truth(b bool) value { return value{kind: boolean, truth: b} }

func (v value) isNumber() bool { return v.kind == integer || v.kind == long || v.kind == double }

// negate is -v; what isn't a number becomes NULL.
func (v value) negate() value {
	switch v.kind {
	case integer, long: // literals have no sign, so none is the lowest integer
		return value{kind: v.kind, i: -v.i}
	case double:
		return value{kind: double, f: -v.f}
	default:
		return value{}
	}
}

// asDouble is a string or a number as a double.
func (v value) asDouble() (value, error) {
	switch v.kind {
	case text:
		f, ok := parseDouble(v.s)
		if !ok {
			return value{}, &ValueError{v.s, "a number"}
		}
		return value{kind: double, f: f}, nil
	case integer, long:
		return value{kind: double, f: float64(v.i)}, nil
	default:
		return v, nil
	}
}

// compare orders two values, neither of them NULL, as ComparisonExpression.__compare does: where the classes differ, a
// string becomes what stands beside it, and the smaller number becomes the larger.
func compare(l, r value) (int, error) {
	if l.kind == boolean && r.kind == text {
		return 0, &ValueError{l.show(), "a string"} // the broker casts the wrong side
	}
	var err error
	switch {
	case l.kind == text:
		l, err = convert(l.s, r.kind)
	case r.kind == text:
		r, err = convert(r.s, l.kind)
	}
	if err != nil {
		return 0, err
	}
	switch {
	case l.kind == text:
		return strings.Compare(l.s, r.s), nil
	case l.kind == boolean && r.kind == boolean:
		return cmp.Compare(number(l.truth), number(r.truth)), nil
	case l.kind == boolean || r.kind == boolean:
		return -1, nil
	case l.kind == double || r.kind == double:
		if l, err = l.asDouble(); err == nil {
			r, err = r.asDouble()
		}
		return compareDoubles(l.f, r.f), err
	}
	return cmp.Compare(l.i, r.i), nil
}

// convert reads a string as a value of another kind.
func convert(s string, to valueKind) (value, error) {
	switch to {
	case boolean:
		return truth(strings.EqualFold(s, "true")), nil
	case integer:
		if i, ok := parseInteger(s, math.MinInt32, math.MaxInt32); ok {
			return value{kind: integer, i: i}, nil
		}
		return value{}, &ValueError{s, "an integer of 32 bits"}
	case long:
		if i, ok := parseInteger(s, math.MinInt64, math.MaxInt64); ok {
			return value{kind: long, i: i}, nil
		}
		return value{}, &ValueError{s, "an integer of 64 bits"}
	case double:
		return value{kind: text, s: s}.asDouble()
	default:
		return value{kind: text, s: s}, nil
	}
}

// show is the value as an error names it.
func (v value) show() string {
	if v.truth {
		return "TRUE"
	}
	return "FALSE"
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareDoubles is Double.compareTo: NaN is the greatest and equals itself, and -0.0 is below 0.0.
func compareDoubles(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return cmp.Compare(bits(a), bits(b))
}

func bits(f float64) int64 {
	if math.IsNaN(f) {
		f = math.NaN() // one of them, as Double.doubleToLongBits has it
	}
	return int64(math.Float64bits(f))
}
