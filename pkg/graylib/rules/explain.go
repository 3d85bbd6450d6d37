package rules

import (
	"fmt"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
)

// Explanation says why a request is coloured as it is.
type Explanation struct {
	Service   string            `json:"service"`
	Revision  int64             `json:"revision"`
	Coloured  bool              `json:"coloured"`
	Tag       graylib.Tag       `json:"tag,omitempty"`       // of the lane that colours it
	Entry     string            `json:"entry,omitempty"`     // the entry's name
	Propagate bool              `json:"propagate,omitempty"` // false: the tag chooses this callee alone
	Lanes     []LaneExplanation `json:"lanes"`               // all lanes, in the document's order
}

// LaneExplanation says what a lane's entries came to.
type LaneExplanation struct {
	Tag     graylib.Tag        `json:"tag"`
	Why     string             `json:"why"`
	Entries []EntryExplanation `json:"entries,omitempty"`
}

// EntryExplanation says what an entry came to.
type EntryExplanation struct {
	Name       string                 `json:"name"`
	Matches    bool                   `json:"matches"`
	Why        string                 `json:"why"`
	Conditions []ConditionExplanation `json:"conditions,omitempty"` // none where service or path already exclude the request
}

// ConditionExplanation says what a condition came to.
type ConditionExplanation struct {
	Condition string `json:"condition"` // for example query name == "xiaoming"
	Holds     bool   `json:"holds"`
	Why       string `json:"why"` // for example it is "lisi"
}

// Explain tells which lane and entry colour a request to a service, and why the others don't. It comes to what
// [Rules.Colour] comes to, entry by entry, and goes on after the first match to show what else would.
func Explain(r *Rules, service string, req graylib.Request) Explanation {
	out := Explanation{Service: service, Revision: r.revision, Lanes: []LaneExplanation{}}
	ev := evaluation{req: req}
	for i, l := range r.explained {
		lane := LaneExplanation{Tag: l.Tag}
		first := ""
		for _, e := range l.Entries {
			ex := explainEntry(e, l.Tag, service, &ev)
			if ex.Matches && first == "" {
				first = e.Name
			}
			lane.Entries = append(lane.Entries, ex)
		}
		switch {
		case r.lanes[i].State == graylib.LaneRetired && first != "":
			lane.Why = fmt.Sprintf("entry %s matches, but the lane is retired and colours nothing more", first)
		case r.lanes[i].State == graylib.LaneRetired:
			lane.Why = "is retired and colours nothing more"
		case len(l.Entries) == 0:
			lane.Why = "has no entries"
		case first == "":
			lane.Why = "no entry matches"
		case out.Coloured:
			lane.Why = fmt.Sprintf("entry %s matches, but lane %s comes first", first, out.Tag)
		default:
			out.Coloured, out.Tag, out.Entry, out.Propagate = true, l.Tag, first, r.lanes[i].Propagate
			lane.Why = fmt.Sprintf("colours the request: entry %s matches", first)
			if !out.Propagate {
				lane.Why += "; propagate is false, so the tag chooses this callee alone"
			}
		}
		out.Lanes = append(out.Lanes, lane)
	}
	return out
}

func explainEntry(e Entry, tag graylib.Tag, service string, ev *evaluation) EntryExplanation {
	out := EntryExplanation{Name: e.Name}
	if e.Service != service {
		out.Why = fmt.Sprintf("is for service %s", e.Service)
		return out
	}
	if e.Path != "" {
		text, prefix := strings.CutSuffix(e.Path, "*")
		if on := (path{text, prefix}); !on.match(ev) {
			out.Why = fmt.Sprintf("is for path %s, and the request has none", e.Path)
			if got, ok := ev.requestPath(); ok {
				out.Why = fmt.Sprintf("is for path %s, not %s", e.Path, quote(got))
			}
			return out
		}
	}
	r := rule{any: e.Match == MatchAny}
	var when []condition
	for _, c := range e.When {
		compiled := compileCondition(c, slots, tag) // beyond the slots: asked anew
		out.Conditions = append(out.Conditions, ConditionExplanation{
			Condition: conditionText(c), Holds: compiled.match(ev), Why: compiled.why(ev),
		})
		when = append(when, compiled)
	}
	out.Matches = r.match(when, ev)
	switch {
	case out.Matches && r.any:
		out.Why = "matches: at least one condition holds"
	case out.Matches:
		out.Why = "matches: every condition holds"
	case r.any:
		out.Why = "no condition holds"
	default:
		out.Why = "not every condition holds"
	}
	return out
}

// conditionText returns a condition as one reads it.
func conditionText(c Condition) string {
	parts := []string{string(c.From)}
	if c.Key != "" {
		parts = append(parts, c.Key)
	}
	parts = append(parts, string(c.Op))
	switch {
	case c.Op == OpIn || c.Op == OpNotIn:
		texts := make([]string, len(c.Value))
		for i, v := range c.Value {
			texts[i] = quote(v)
		}
		parts = append(parts, "["+strings.Join(texts, ", ")+"]")
	case c.Op == OpGreater || c.Op == OpLess || c.Op == OpPercent:
		parts = append(parts, c.Value[0])
	case len(c.Value) > 0:
		parts = append(parts, quote(c.Value[0]))
	}
	return strings.Join(parts, " ")
}

// why says what the condition found.
func (c *condition) why(ev *evaluation) string {
	var values []string
	present := false
	if c.body {
		if ev.json() == nil {
			return "the body is absent or no JSON"
		}
		values, present = bodyValues(ev.json(), c.source.key, nil)
	} else {
		for i := range maxValues {
			v, ok := ev.value(c, i)
			if !ok {
				break
			}
			values, present = append(values, v), true
		}
	}
	switch {
	case !present:
		return "it is absent"
	case len(values) == 0:
		return "it is an object or an empty list"
	}
	texts := make([]string, 0, len(values))
	for i, v := range values {
		if i == 5 {
			texts = append(texts, fmt.Sprintf("and %d more", len(values)-i))
			break
		}
		text := quote(v)
		switch c.test {
		case testPercent:
			text += fmt.Sprintf(", at %s of 100", percentText(bucket(c.seed, v)))
		case testGreater, testLess:
			if _, ok := parseNumber(v); !ok {
				text += ", no number"
			}
		}
		texts = append(texts, text)
	}
	return "it is " + strings.Join(texts, "; ")
}
