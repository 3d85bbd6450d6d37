package rules

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

var (
	drawnKeys   = []string{"k1", "k2", "k3"}
	drawnValues = []string{"", "a", "ab", "b", "1", "2.5", "-3", "10.0.0.1", "10.0.0.2"}
	drawnPaths  = []string{"/", "/a", "/a/b", "/b"}
)

func drawValue(t *rapid.T) string { return rapid.SampledFrom(drawnValues).Draw(t, "value") }

func drawCondition(t *rapid.T, sources []graylib.From) Condition {
	c := Condition{From: rapid.SampledFrom(sources).Draw(t, "from")}
	if HasKey(c.From) {
		c.Key = rapid.SampledFrom(drawnKeys).Draw(t, "key")
	}
	c.Op = rapid.SampledFrom(SourceOps(c.From)).Draw(t, "op")
	text := rapid.SampledFrom([]string{"a", "b", "1"})
	if c.From == graylib.FromIP {
		text = rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "::1"})
	}
	switch c.Op {
	case OpExists:
	case OpIn, OpNotIn:
		if c.From == graylib.FromIP {
			text = rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.0/31", "10.0.0.0/30", "::/0"})
		} else {
			text = rapid.StringMatching("[ab1]{0,3}")
		}
		c.Value = rapid.SliceOfN(text, 1, 12).Draw(t, "values")
	case OpGreater, OpLess:
		c.Value = Value{rapid.SampledFrom([]string{"0", "1", "2.5", "-10"}).Draw(t, "number")}
	case OpPercent:
		c.Value = Value{rapid.SampledFrom([]string{"0", "0.5", "33.33", "100"}).Draw(t, "percent")}
	default:
		c.Value = Value{text.Draw(t, "text")}
	}
	return c
}

// drawRules draws a document with lanes and entries for services a and b.
func drawRules(t *rapid.T) *Document {
	doc := &Document{Revision: 1}
	n := 0
	for i := range rapid.IntRange(0, 4).Draw(t, "lanes") {
		l := Lane{Tag: graylib.Tag(fmt.Sprintf("lane%d", i))}
		if rapid.IntRange(0, 4).Draw(t, "retired") == 0 {
			l.State = graylib.LaneRetired
		}
		for range rapid.IntRange(0, 4).Draw(t, "entries") {
			n++
			e := Entry{Name: fmt.Sprintf("entry%d", n), Service: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "service")}
			e.Path = rapid.SampledFrom(append(drawnPaths, "", "", "/*", "/a*")).Draw(t, "path")
			e.Match = rapid.SampledFrom([]Match{"", MatchAll, MatchAny}).Draw(t, "match")
			for range rapid.IntRange(1, 3).Draw(t, "conditions") {
				e.When = append(e.When, drawCondition(t, EntrySources()))
			}
			l.Entries = append(l.Entries, e)
		}
		doc.Lanes = append(doc.Lanes, l)
	}
	return doc
}

func drawRequest(t *rapid.T) *fakeRequest {
	r := request()
	for _, from := range EntrySources() {
		switch {
		case from == graylib.FromBody:
			fields := []string{}
			for _, k := range drawnKeys {
				switch rapid.IntRange(0, 4).Draw(t, "body") {
				case 0:
					fields = append(fields, fmt.Sprintf("%q: %q", k, drawValue(t)))
				case 1:
					fields = append(fields, fmt.Sprintf("%q: [%q, 1, null]", k, drawValue(t)))
				case 2:
					fields = append(fields, fmt.Sprintf("%q: {}", k))
				}
			}
			r.body = rapid.SampledFrom([]string{"", "no JSON", "{" + strings.Join(fields, ", ") + "}"}).Draw(t, "json")
		case from == graylib.FromPath:
			if rapid.Bool().Draw(t, "has path") {
				r.values[source{from, ""}] = []string{rapid.SampledFrom(drawnPaths).Draw(t, "path")}
			}
		case !HasKey(from):
			if rapid.Bool().Draw(t, "has it") {
				r.values[source{from, ""}] = []string{drawValue(t)}
			}
		default:
			for _, k := range drawnKeys {
				r.values[source{from, k}] = rapid.SliceOfN(rapid.Custom(drawValue), 0, 3).Draw(t, "values")
			}
		}
	}
	return r
}

// TestColourIsWhatTheDocumentSays compares the compiled rules with the document's words, read one by one.
func TestColourIsWhatTheDocumentSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc, req := drawRules(t), drawRequest(t)
		r, err := Compile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, service := range []string{"a", "b", "c"} {
			want, wantOK := referenceColour(doc, service, req)
			req.bodies = 0
			got, ok := r.Colour(service, req)
			if got != want || ok != wantOK {
				t.Fatalf("Colour = %+v, %v; the document says %+v, %v", got, ok, want, wantOK)
			}
			if req.bodies > 1 {
				t.Fatalf("the body was asked for %d times", req.bodies)
			}
			ex := Explain(r, service, req)
			if diff := cmp.Diff(want, graylib.Decision{Tag: ex.Tag, Entry: ex.Entry, Propagate: ex.Propagate}); diff != "" || ex.Coloured != wantOK {
				t.Fatalf("Explain says %+v; Colour and Explain differ:\n%s", ex, diff)
			}
		}
	})
}

// referenceColour evaluates a document as DESIGN.md words it, without a thought of speed.
func referenceColour(doc *Document, service string, req *fakeRequest) (graylib.Decision, bool) {
	for _, l := range doc.Lanes {
		if l.State == graylib.LaneRetired {
			continue
		}
		for _, e := range l.Entries {
			if e.Service != service {
				continue
			}
			if e.Path != "" {
				path, ok := req.Value(graylib.FromPath, "", 0)
				if prefix, isPrefix := strings.CutSuffix(e.Path, "*"); !ok || (isPrefix && !strings.HasPrefix(path, prefix)) || (!isPrefix && path != e.Path) {
					continue
				}
			}
			holds := 0
			for _, c := range e.When {
				if referenceHolds(c, l.Tag, req) {
					holds++
				}
			}
			if holds == len(e.When) || (holds > 0 && e.Match == MatchAny) {
				return graylib.Decision{Tag: l.Tag, Entry: e.Name, Propagate: l.Propagate == nil || *l.Propagate}, true
			}
		}
	}
	return graylib.Decision{}, false
}

func referenceHolds(c Condition, tag graylib.Tag, req *fakeRequest) bool {
	values := req.values[source{c.From, c.Key}]
	present := len(values) > 0
	if c.From == graylib.FromBody {
		values, present = bodyValues(parseBody([]byte(req.body)), c.Key, nil)
	}
	switch {
	case c.Op == OpExists:
		return present
	case len(values) == 0:
		return c.Op == OpNotEqual || c.Op == OpNotIn
	}
	return slices.ContainsFunc(values, func(v string) bool { return referenceTest(c, tag, v) })
}

func referenceTest(c Condition, tag graylib.Tag, v string) bool {
	equals := func(text string) bool {
		if c.From != graylib.FromIP {
			return text == v
		}
		a, err := netip.ParseAddr(v)
		if err != nil {
			return false
		}
		if one, err := netip.ParseAddr(text); err == nil {
			return one == a
		}
		return netip.MustParsePrefix(text).Contains(a)
	}
	number := func(s string) (float64, bool) {
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	}
	switch c.Op {
	case OpEqual, OpIn:
		return slices.ContainsFunc(c.Value, equals)
	case OpNotEqual, OpNotIn:
		return !slices.ContainsFunc(c.Value, equals)
	case OpPrefix:
		return strings.HasPrefix(v, c.Value[0])
	case OpRegex:
		return regexp.MustCompile(c.Value[0]).MatchString(v)
	case OpGreater, OpLess:
		limit, _ := number(c.Value[0])
		f, ok := number(v)
		return ok && ((c.Op == OpGreater && f > limit) || (c.Op == OpLess && f < limit))
	case OpPercent:
		percent, _ := number(c.Value[0])
		return float64(referenceBucket(string(tag), v)) < percent*100-1e-9
	default:
		panic("unknown operator " + c.Op)
	}
}

// TestDocumentsSurviveWriting writes drawn documents as text and reads them back.
func TestDocumentsSurviveWriting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := drawRules(t)
		var text []byte
		for _, l := range doc.Lanes {
			var err error
			if text, err = AddLane(text, l); err != nil {
				t.Fatal(err)
			}
		}
		if len(doc.Lanes) == 0 {
			return
		}
		got, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got.Revision = doc.Revision
		if !same(got, doc) {
			t.Fatalf("became another document:\n%s", text)
		}
	})
}

func TestParseNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[-+]?[0-9]{0,20}(\.[0-9]{0,3})?([eE][-+]?[0-9]{1,2})?|[a-z0-9._+-]{0,6}|0x[0-9a-f]+|inf|nan`).Draw(t, "s")
		want, err := strconv.ParseFloat(s, 64)
		decimal := regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$`).MatchString(s)
		got, ok := parseNumber(s)
		if ok != (decimal && err == nil) || (ok && got.real != want) {
			t.Fatalf("parseNumber(%q) = %+v, %v; want %v, %v", s, got, ok, want, decimal)
		}
		if whole, err := strconv.ParseInt(s, 10, 64); ok && got.isWhole != (err == nil) || got.whole != whole && got.isWhole {
			t.Fatalf("parseNumber(%q) = %+v", s, got)
		}
	})
}
