package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

// benchRequest is a request like an adapter's: a few headers in a slice.
type benchRequest struct {
	headers [8][2]string
	body    []byte
}

func (r *benchRequest) Value(from graylib.From, key string, i int) (string, bool) {
	switch from {
	case graylib.FromHeader, graylib.FromQuery, graylib.FromCookie:
		for _, h := range r.headers {
			if h[0] == key {
				if i == 0 {
					return h[1], true
				}
				i--
			}
		}
	case graylib.FromPath:
		if i == 0 {
			return "/dubbo", true
		}
	case graylib.FromIP:
		if i == 0 {
			return "192.0.2.7", true
		}
	}
	return "", false
}

func (r *benchRequest) Body() []byte { return r.body }

func newBenchRequest() *benchRequest {
	r := &benchRequest{body: []byte(`{"user":{"name":"lisi"}}`)}
	for i := range r.headers {
		r.headers[i] = [2]string{fmt.Sprintf("x-header-%d", i), fmt.Sprintf("value-%d", i)}
	}
	return r
}

// benchRules holds 100 entries of one service over 10 lanes, none of which matches the request of the benchmarks.
func benchRules(tb testing.TB, conditions ...string) *Rules {
	var b strings.Builder
	b.WriteString("lanes:\n")
	n := 0
	for lane := range 10 {
		fmt.Fprintf(&b, "- tag: lane-%d\n  entries:\n", lane)
		for range 10 {
			fmt.Fprintf(&b, "  - {name: entry-%d, service: a, path: /dubbo, when: [%s]}\n", n, fmt.Sprintf(conditions[n%len(conditions)], n))
			n++
		}
	}
	return mustCompile(tb, b.String())
}

var benchConditions = map[string][]string{
	"equal": {`{from: header, key: x-header-1, op: "==", value: user-%d}`},
	"mixed": {
		`{from: header, key: x-header-1, op: "==", value: user-%d}`,
		`{from: query, key: x-header-3, op: in, value: [a-%[1]d, b-%[1]d, c-%[1]d]}`,
		`{from: cookie, key: x-header-5, op: prefix, value: none-%d}`,
		`{from: header, key: x-header-7, op: ">", value: %d}`,
		`{from: header, key: x-header-7, op: percent, value: 0}, {from: header, key: x-header-7, op: "==", value: '%d'}`,
		`{from: ip, op: in, value: [10.%d.0.0/16]}`,
		`{from: header, key: x-absent, op: exists}, {from: header, key: x-header-0, op: "==", value: '%d'}`,
	},
	"100-sources": {`{from: header, key: x-other-%d, op: "==", value: user}`},
}

func BenchmarkColour100EntriesOver10Lanes(b *testing.B) {
	for name, conditions := range benchConditions {
		b.Run(name, func(b *testing.B) {
			r, req := benchRules(b, conditions...), newBenchRequest()
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := r.Colour("a", req); ok {
					b.Fatal("coloured")
				}
			}
		})
	}
}

func BenchmarkColourNoEntries(b *testing.B) {
	r, req := benchRules(b, benchConditions["equal"]...), newBenchRequest()
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.Colour("b", req); ok {
			b.Fatal("coloured")
		}
	}
}

func BenchmarkParseAndCompile100Entries(b *testing.B) {
	var text []byte
	for _, l := range benchRules(b, benchConditions["mixed"]...).explained {
		var err error
		if text, err = AddLane(text, l); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		doc, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Compile(doc); err != nil {
			b.Fatal(err)
		}
	}
}

// TestEvaluatingAllocatesNothing holds every operator to it, on every source but the body.
func TestEvaluatingAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("regexp's pool allocates at random under the race detector")
	}
	conditions := append([]string{
		`{from: header, key: x-header-1, op: "!=", value: value-1}, {from: header, key: x-absent-%d, op: "!=", value: x}`,
		`{from: header, key: x-header-2, op: regex, value: 'user-(%d|x)+$'}`,
		`{from: header, key: x-header-2, op: in, value: [a, b, c, d, e, f, g, h, i, '%d']}`,
		`{from: header, key: x-header-2, op: "<", value: %d}`,
		`{from: method, op: "==", value: 'M%d'}`,
	}, benchConditions["mixed"]...)
	r := benchRules(t, conditions...)
	req := newBenchRequest()
	if n := testing.AllocsPerRun(100, func() {
		if d, ok := r.Colour("a", req); ok {
			t.Errorf("coloured: %+v", d)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
