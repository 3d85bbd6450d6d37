package sql92_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/sql92"
)

// props looks into a list of names and values.
func props(pairs ...string) sql92.Lookup {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

// What an expression makes of a message.
const (
	yes    = "delivered"
	no     = "not delivered"
	failed = "an error"
)

func outcome(t testing.TB, expression string, lookup sql92.Lookup) string {
	t.Helper()
	e, err := sql92.Parse(expression)
	if err != nil {
		t.Errorf("%q is refused: %v", expression, err)
		return ""
	}
	switch ok, err := e.Match(lookup); {
	case err != nil && (ok || !errors.Is(err, sql92.ErrValue)):
		t.Errorf("%q: %v, %v; want false and ErrValue", expression, ok, err)
		fallthrough
	case err != nil:
		return failed
	case ok:
		return yes
	}
	return no
}

// The properties of the tables: s and t are strings, n and m integers, f a double, yes a truth value; x is absent.
var sample = []string{"s", "blue", "t", "it's", "n", "7", "m", "-7", "big", "3000000000", "f", "1.5", "zero", "0", "yes", "True"}

// matches is what expressions make of the sample.
var matches = []struct{ expression, want string }{
	// Equality, of strings and of what is converted.
	{`s = 'blue'`, yes}, {`s = 'BLUE'`, no}, {`s <> 'red'`, yes}, {`s <> 'blue'`, no}, {`t = 'it''s'`, yes},
	{`n = 7`, yes}, {`n = '7'`, yes}, {`n = 7.0`, yes}, {`n = 7L`, yes}, {`m = -7`, yes}, {`7 = n`, yes}, {`s = s`, yes}, {`s = n`, no},
	{`f = 1.5`, yes}, {`f = .15E1`, yes}, {`f = 15.e-1`, yes}, {`big = 3000000000`, yes}, {`zero = 00`, yes},
	{`f = 1`, failed}, {`s = 7`, failed}, {`s = 7.5`, failed}, {`s = 7L`, failed}, {`big = 7`, failed}, {`big > 7L`, failed},
	{`big > 2147483648`, yes}, {`n < 2147483648`, yes},
	{`5 = 5.0`, yes}, {`2147483648 = 2147483648.0`, yes}, {`5 = 2147483648`, no}, {`2147483648 > 5`, yes}, {`5 <> 6`, yes},
	// Truth values.
	{`TRUE`, yes}, {`false`, no}, {`NULL`, no}, {`s`, no}, {`NOT s`, yes}, {`yes`, no}, {`x`, no}, {`NOT x`, no}, {`NOT NULL`, no},
	{`yes = TRUE`, yes}, {`s = TRUE`, no}, {`s = FALSE`, yes}, {`TRUE = yes`, failed}, {`TRUE = x`, no}, {`TRUE = TRUE`, yes},
	{`'true' = TRUE`, yes}, {`5 = TRUE`, no}, {`5 <> TRUE`, yes}, {`(s = 'blue') = TRUE`, yes}, {`(s = 'blue') = (n = 8)`, no},
	{`(s = 'blue') = 5`, no}, {`(s = 'blue') = s`, failed}, {`s = (s = 'blue')`, no},
	// Absent properties.
	{`x = 'a'`, no}, {`x <> 'a'`, no}, {`NOT (x = 'a')`, no}, {`x IS NULL`, yes}, {`x IS NOT NULL`, no}, {`s IS NULL`, no}, {`s IS NOT NULL`, yes},
	{`x IN ('a')`, no}, {`x NOT IN ('a')`, no}, {`x = y`, yes}, {`x <> y`, no}, {`s = x`, no}, {`s <> x`, yes}, {`x <> s`, no},
	{`x > 5`, no}, {`5 > x`, no}, {`x BETWEEN 1 AND 5`, no}, {`x NOT BETWEEN 1 AND 5`, no}, {`x > s`, no}, {`s > x`, no},
	{`(x = 'a') IS NULL`, yes}, {`x = 'a' IS NULL`, yes}, {`NULL IS NULL`, yes}, {`'a' IS NULL`, no}, {`5 IS NOT NULL`, yes},
	{`x IS NULL OR x NOT IN ('gray')`, yes},
	// Three values.
	{`x = 'a' OR s = 'blue'`, yes}, {`s = 'blue' OR x = 'a'`, yes}, {`x = 'a' OR s = 'red'`, no}, {`NOT (x = 'a' OR s = 'red')`, no},
	{`x = 'a' AND s = 'red'`, no}, {`NOT (x = 'a' AND s = 'red')`, yes}, {`NOT (x = 'a' AND s = 'blue')`, no},
	// An error isn't NULL: it reaches the top, unless it is never come to.
	{`s = 5 OR TRUE`, failed}, {`TRUE OR s = 5`, yes}, {`FALSE AND s = 5`, no}, {`x = 'a' AND s = 5`, failed}, {`x = -(s = 5)`, failed},
	{`x > -(s = 5)`, no}, {`NOT (s = 5)`, failed}, {`(s = 5) CONTAINS ''`, no}, {`(s = 5) CONTAINS 'a'`, failed}, {`(s = 5) IS NULL`, failed},
	// Orders.
	{`n > 6`, yes}, {`n >= 7`, yes}, {`n < 7`, no}, {`n <= 7`, yes}, {`6 < n`, yes}, {`f > 1.4`, yes}, {`f > 1`, failed}, {`n > 6.5`, yes},
	{`n > f`, yes}, {`f > n`, no}, {`s > n`, failed}, {`n > s`, failed}, {`m < 0`, yes}, {`m > -8`, yes}, {`zero > -1`, yes}, {`n > -s`, no},
	{`-n < 0`, no}, {`n = - -7`, yes}, {`m = -+7`, yes}, {`+n = 7`, yes}, {`-2147483648 < 0`, yes}, {`-.5 < 0`, yes},
	{`n BETWEEN 7 AND 7`, yes}, {`n NOT BETWEEN 7 AND 9`, no}, {`n NOT BETWEEN 8 AND 2`, yes}, {`n BETWEEN 1 AND -s`, no}, {`5 BETWEEN 1 AND n`, yes},
	{`n BETWEEN m AND big`, yes}, {`n BETWEEN -9 AND -12`, no}, {`s BETWEEN 1 AND 5`, failed},
	// Lists and parts of strings.
	{`s IN ('red', 'blue')`, yes}, {`s NOT IN ('red', 'blue')`, no}, {`(s) IN ('blue')`, yes}, {`+s IN ('blue')`, yes},
	{`s IN ('f', 'e', 'blue', 'd', 'c', 'b', 'a', 'a')`, yes}, {`n IN ('7.0')`, no},
	{`s CONTAINS 'lu'`, yes}, {`s NOT CONTAINS 'lu'`, no}, {`s STARTSWITH 'bl'`, yes}, {`s NOT STARTSWITH 'bl'`, no}, {`s ENDSWITH 'ue'`, yes}, {`s NOT ENDSWITH 'ue'`, no},
	{`x CONTAINS 'a'`, no}, {`x NOT CONTAINS 'a'`, no}, {`NOT (x CONTAINS 'a')`, yes}, {`s CONTAINS ''`, no}, {`s NOT CONTAINS ''`, no},
	{`s STARTSWITH ''`, no}, {`s NOT ENDSWITH ''`, no}, {`'blue' CONTAINS 'b'`, yes}, {`5 CONTAINS '5'`, no}, {`s CONTAINS 'b' CONTAINS 'b'`, no},
	// Precedence.
	{`TRUE OR TRUE AND FALSE`, yes}, {`(TRUE OR TRUE) AND FALSE`, no}, {`NOT FALSE AND FALSE`, no}, {`NOT s = 'blue'`, failed}, {`NOT x = 'blue'`, no},
	{`NOT (s = 'blue')`, no}, {`NOT NOT (s = 'blue')`, yes}, {`n = 7 = TRUE`, yes},
	// What stands behind.
	{`s = 'blue' what follows`, yes}, {`s-x = 'nothing'`, no}, {`s = 'blue') )`, yes}, {`zero = 007`, yes}, {`zero = 0x1F`, yes}, {`n = 7 8`, yes},
	{`s = 'blue' 'x' @`, yes}, {`n = 7 --`, yes}, {`n = 7 --1`, yes}, {`s.5`, no}, {`5 = 5L5`, yes},
	{`s = 'a'' OR s = 'b'`, no}, {`s LIKE 'b%'`, no},
	// Space and comments.
	{"\t\n\r\f s\n=\r'blue'", yes}, {"s -- = 'red'\n = 'blue'", yes}, {"s /* = 'red' **/ = 'blue'", yes}, {"s = --7", failed}, {"n = --7", yes},
	{"s = 'blue' -- the end\r", yes}, {"not(s='blue')or n between 7and 7", yes},
}

func TestMatch(t *testing.T) {
	for _, c := range matches {
		if got := outcome(t, c.expression, props(sample...)); got != c.want {
			t.Errorf("%-40s %s, want %s", c.expression, got, c.want)
		}
	}
}

// refusals are expressions that are refused, and a part of what is said.
var refusals = []struct{ expression, want string }{
	{``, `at character 1: found the end, want a name, a value or (`},
	{`  -- all comment` + "\n", `found the end`},
	{`a =`, `at character 4: found the end`},
	{`a = NULL`, `at character 3: nothing equals NULL; want IS NULL`},
	{`NULL <> a`, `nothing equals NULL`},
	{`a is 'gray'`, `at character 6: found "'gray'", want NULL`},
	{`a IS NOT 5`, `found "5", want NULL`},
	{`a != 5`, `at character 3: "!" begins nothing`},
	{`a == 5`, `at character 4: found "=", want a name, a value`},
	{`a = "x"`, `at character 5: "\"" begins nothing`},
	{`a = 'x`, `at character 5: "'" begins nothing`},
	{`a = 'x''`, `at character 8: "'" begins nothing`},
	{`grün = 5`, `at character 3: "ü" begins nothing`},
	{`a.b = 5`, `at character 2: "." begins nothing`},
	{`a = 'é' #`, `at character 9: "#" begins nothing`},
	{`a = 5 /* no end`, `at character 7: "/" begins nothing`},
	{`a > 'x'`, `at character 3: only numbers and properties can be ordered`},
	{`a > TRUE`, `only numbers and properties`}, {`NULL < 5`, `only numbers and properties`}, {`a > 5 > 4`, `only numbers and properties`},
	{`a CONTAINS 'x' > 5`, `only numbers and properties`}, {`a BETWEEN 'a' AND 'b'`, `only numbers and properties`},
	{`a BETWEEN 'a' AND 5`, `only numbers and properties`}, {`a BETWEEN NULL AND 5`, `only numbers and properties`}, {`'5' BETWEEN 1 AND 9`, `only numbers and properties`},
	{`a BETWEEN 5 AND 4`, `the first value of BETWEEN is above the second`}, {`a BETWEEN 5 AND 4.9`, `BETWEEN`}, {`a BETWEEN 3000000000 AND 4`, `BETWEEN`},
	{`a BETWEEN 1, 5`, `found ",", want AND`},
	{`TRUE = 5`, `TRUE and FALSE can't be compared`}, {`FALSE <> 'x'`, `TRUE and FALSE can't be compared`},
	{`a IN (5)`, `at character 7: found "5", want a string in single quotes`}, {`a IN ()`, `want a string`}, {`a IN ('x'`, `found the end, want )`},
	{`a IN ('x',)`, `found ")", want a string`}, {`'x' IN ('x')`, `IN stands behind a name only`}, {`NOT a IN ('x')`, `IN stands behind a name only`},
	{`a CONTAINS b`, `found "b", want a string`}, {`a NOT 5`, `found "5", want CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN behind NOT`},
	{`5`, `is no condition`}, {`'x'`, `is no condition`}, {`-a`, `is no condition`}, {`5 AND TRUE`, `is no condition`}, {`TRUE OR 'x'`, `is no condition`},
	{`NOT 5`, `is no condition`}, {`NOT -a`, `is no condition`},
	{`(a = 5`, `at character 7: found the end, want )`}, {`a = 5 AND`, `found the end`}, {`AND a`, `found "AND"`}, {`+`, `found the end`},
	{`a = 0.0`, `0.0 is out of range`}, {`a = 1e400`, `1e400 is out of range`}, {`a = 1e-400`, `out of range`}, {`a = 0e5`, `out of range`},
	{`a = 9223372036854775808`, `9223372036854775808 is above 9223372036854775807`},
	{"a = '\xff'", `it must be valid UTF-8`},
	{strings.Repeat(" ", sql92.MaxLength) + "a", `32769 bytes long; it may have 32768`},
	{strings.Repeat("(", sql92.MaxDepth+1) + "a" + strings.Repeat(")", sql92.MaxDepth+1), `nested more than 200 deep`},
	{strings.Repeat("NOT ", sql92.MaxDepth+1) + "a", `nested more than 200 deep`},
}

func TestParseRefuses(t *testing.T) {
	for _, c := range refusals {
		e, err := sql92.Parse(c.expression)
		if !errors.Is(err, sql92.ErrSyntax) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q gave %v, %v; want ErrSyntax with %q", c.expression, e, err, c.want)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%.60q: the error has several lines: %q", c.expression, err)
		}
	}
}

func TestNestedAsDeepAsPromised(t *testing.T) {
	for _, nest := range []string{"(", "NOT ", "+", "-"} {
		closing := ""
		if nest == "(" {
			closing = strings.Repeat(")", sql92.MaxDepth)
		}
		expression := "a = 7 OR " + strings.Repeat(nest, sql92.MaxDepth) + "a" + closing + " IS NULL"
		if got := outcome(t, expression, props("a", "7")); got != yes {
			t.Errorf("%.40q: %s", expression, got)
		}
	}
	long := strings.Repeat("a OR ", sql92.MaxLength/5-1) + "TRUE"
	if got := outcome(t, long, props("a", "7")); got != yes {
		t.Errorf("a chain of %d ORs: %s", sql92.MaxLength/5-1, got)
	}
}

func TestIgnored(t *testing.T) {
	for _, c := range []struct{ expression, text, ignored string }{
		{`gray-tag = 'x'`, `gray`, `-tag = 'x'`},
		{`a = 007`, `a = 0`, `07`},
		{` a = 5  /* said */ -- all` + "\n", ` a = 5`, ``},
		{`(a = 5) )`, `(a = 5)`, `)`},
		{`a LIKE 'x%'`, `a`, `LIKE 'x%'`},
		{`a IN ('x')`, `a IN ('x')`, ``},
	} {
		e, err := sql92.Parse(c.expression)
		if err != nil {
			t.Error(err)
			continue
		}
		if e.Text() != c.text || e.Ignored() != c.ignored || e.String() != c.expression {
			t.Errorf("%q: text %q, ignored %q, itself %q; want %q, %q and itself", c.expression, e.Text(), e.Ignored(), e, c.text, c.ignored)
		}
	}
}

// numbers is what Java reads from a property v beside a number, by java.lang.Integer, Long and Double of JDK 17. w is NaN,
// z is 0.
var numbers = []struct{ value, expression, want string }{
	{"+7", `v = 7`, yes}, {"-7", `v = -7`, yes}, {"007", `v = 7`, yes}, {" 7", `v = 7`, failed}, {"7 ", `v = 7`, failed}, {"", `v = 7`, failed},
	{"+", `v = 7`, failed}, {"-", `v = 7`, failed}, {"--7", `v = 7`, failed}, {"7L", `v = 7`, failed}, {"0x7", `v = 7`, failed}, {"1_0", `v = 10`, failed},
	{"2147483647", `v > 0`, yes}, {"2147483648", `v > 0`, failed}, {"-2147483648", `v < 0`, yes}, {"-2147483649", `v < 0`, failed},
	{"9223372036854775807", `v > 2147483648`, yes}, {"9223372036854775808", `v > 2147483648`, failed}, {"-9223372036854775808", `v < 2147483648`, yes},
	{"-9223372036854775809", `v < 2147483648`, failed}, {"99999999999999999999", `v > 2147483648`, failed},
	{"٣", `v = 3`, yes}, {"１２", `v = 12`, yes}, {"৭", `v = 7`, yes}, {"𝟕", `v = 7`, failed}, {"²", `v = 2`, failed}, {"7\xff", `v = 7`, failed},
	{"7", `v = 7.0`, yes}, {" \t7\n", `v = 7.0`, yes}, {"\u00a07", `v = 7.0`, failed}, {"7f", `v = 7.0`, yes}, {"7D", `v = 7.0`, yes}, {"7fd", `v = 7.0`, failed},
	{"7l", `v = 7.0`, failed}, {"+7.", `v = 7.0`, yes}, {".7e1", `v = 7.0`, yes}, {"7e", `v = 7.0`, failed}, {"7e+", `v = 7.0`, failed}, {".", `v = 7.0`, failed},
	{"", `v = 7.0`, failed}, {" ", `v = 7.0`, failed}, {"+", `v = 7.0`, failed}, {"+-7", `v = 7.0`, failed}, {"7.0.0", `v = 7.0`, failed}, {"1_0", `v = 10.0`, failed},
	{"٣", `v = 3.0`, failed}, {"e5", `v = 7.0`, failed}, {"f", `v = 7.0`, failed}, {"0x", `v = 7.0`, failed}, {"0x1p", `v = 7.0`, failed},
	{"0x7p0", `v = 7.0`, yes}, {"0X.7P4d", `v = 7.0`, yes}, {"0x7.p0", `v = 7.0`, yes}, {"0x.p0", `v = 7.0`, failed}, {"0x7", `v = 7.0`, failed}, {"0xfp0f", `v = 15.0`, yes},
	{"-0x7p+0", `v = -7.0`, yes}, {"0x7g", `v = 7.0`, failed}, {"0x1_0p0", `v = 16.0`, failed},
	{"1e400", `v > 1e300`, yes}, {"-1e400", `v < 1.0`, yes}, {"1e99999999999", `v > 1e300`, yes}, {"1e-99999999999", `v < 1e-300`, yes}, {"0x1p99999", `v > 1e300`, yes},
	{"NaN", `v > 1e300`, yes}, {"-NaN", `v > 1e300`, yes}, {"nan", `v > 1e300`, failed}, {"Infinity", `v > 1e300`, yes}, {"-Infinity", `v < 1.0`, yes},
	{"Inf", `v > 1e300`, failed}, {"infinity", `v > 1e300`, failed}, {"NaN", `v = w`, yes}, {"NaN", `v >= w`, yes}, {"-0.0", `v < z`, yes}, {"0.0", `v > z`, no},
	{"0.1", `v = 0.1`, yes}, {"0.10000000000000001", `v = 0.1`, yes}, {"9007199254740993", `v = 9007199254740992.0`, yes},
}

func TestNumbersInProperties(t *testing.T) {
	for _, c := range numbers {
		if got := outcome(t, c.expression, props("v", c.value, "w", "NaN", "z", "0")); got != c.want {
			t.Errorf("v = %q: %s: %s, want %s", c.value, c.expression, got, c.want)
		}
	}
}

func TestMatchAllocatesNothing(t *testing.T) {
	e, err := sql92.Parse(`(a = 'x' OR n > 5.5 AND n NOT BETWEEN 7 AND -m) AND s IN ('q', 'r', 's') AND NOT (s CONTAINS 'z') AND x IS NULL`)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"a": "y", "n": "6", "s": "r"}
	n := testing.AllocsPerRun(100, func() {
		lookup := func(name string) (string, bool) { v, ok := values[name]; return v, ok }
		if ok, err := e.Match(lookup); err != nil || !ok {
			t.Errorf("%v, %v", ok, err)
		}
	})
	if n != 0 {
		t.Errorf("Match allocates %v times", n)
	}
}
