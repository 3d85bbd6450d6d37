package rules

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
)

// Bounds of an evaluation.
const (
	// maxValues is how many values of one name are looked at: a client can send any number of them.
	maxValues = 64
	// slots is how many sources and paths of a rule set are looked at once for all its rules; further ones anew each time.
	slots = 16
)

// Colour evaluates the callee's entries, lane by lane in the document's order.
func (r *Rules) Colour(callee string, req graylib.Request) (graylib.Decision, bool) {
	set, ok := r.callees[callee]
	if !ok {
		return graylib.Decision{}, false
	}
	if hit := set.evaluate(req); hit != nil {
		return hit.decision, true
	}
	return graylib.Decision{}, false
}

// Mark evaluates the marks of a producer and a topic in the document's order.
func (r *Rules) Mark(producer, topic string, msg graylib.Request) (graylib.Tag, bool) {
	set, ok := r.marks[markKey{producer, topic}]
	if !ok {
		return graylib.Untagged, false
	}
	if hit := set.evaluate(msg); hit != nil {
		return hit.decision.Tag, true
	}
	return graylib.Untagged, false
}

// evaluate returns the first rule that matches.
func (s *ruleSet) evaluate(req graylib.Request) *rule {
	ev := evaluation{req: req}
	for i := range s.rules {
		r := &s.rules[i]
		if (r.path < 0 || s.onPath(r.path, &ev)) && r.match(s.conditions[r.from:r.to], &ev) {
			return r
		}
	}
	return nil
}

// evaluation is what one evaluation has learnt of its request.
type evaluation struct {
	req    graylib.Request
	first  [slots]cached
	path   cached
	onPath [slots]verdict // of the rule set's first paths
	body   any
	parsed bool

	addr      netip.Addr
	addrText  string // what it was read of
	addrKnown bool
}

// cached is the first value of a source, once it was asked for.
type cached struct {
	value   string
	asked   bool
	present bool
	alone   bool // there is no second value
}

// verdict is a yes or no that may not have been looked for yet.
type verdict uint8

const (
	unknown verdict = iota
	no
	yes
)

// onPath tells whether the request is on a path of the rule set; each is looked at once an evaluation.
func (s *ruleSet) onPath(i int, ev *evaluation) bool {
	if i >= slots {
		return s.paths[i].match(ev)
	}
	if ev.onPath[i] == unknown {
		ev.onPath[i] = no
		if s.paths[i].match(ev) {
			ev.onPath[i] = yes
		}
	}
	return ev.onPath[i] == yes
}

func (p *path) match(ev *evaluation) bool {
	got, ok := ev.requestPath()
	if p.prefix {
		return ok && strings.HasPrefix(got, p.text)
	}
	return ok && got == p.text
}

// requestPath returns the path that entries are restricted to.
func (ev *evaluation) requestPath() (string, bool) {
	if !ev.path.asked {
		ev.path.value, ev.path.present = ev.req.Value(graylib.FromPath, "", 0)
		ev.path.asked = true
	}
	return ev.path.value, ev.path.present
}

// value returns the i-th value of a condition's source, which isn't the body.
func (ev *evaluation) value(c *condition, i int) (string, bool) {
	if c.slot >= slots {
		return ev.req.Value(c.source.from, c.source.key, i)
	}
	slot := &ev.first[c.slot]
	if i == 0 {
		if !slot.asked {
			slot.value, slot.present = ev.req.Value(c.source.from, c.source.key, 0)
			slot.asked = true
		}
		return slot.value, slot.present
	}
	if slot.alone {
		return "", false
	}
	v, ok := ev.req.Value(c.source.from, c.source.key, i)
	slot.alone = i == 1 && !ok
	return v, ok
}

// json returns the body parsed, at most once an evaluation.
func (ev *evaluation) json() any {
	if !ev.parsed {
		ev.body, ev.parsed = parseBody(ev.req.Body()), true
	}
	return ev.body
}

// match tells whether the conditions of the rule hold, as it joins them.
func (r *rule) match(when []condition, ev *evaluation) bool {
	for i := range when {
		if when[i].match(ev) == r.any {
			return r.any
		}
	}
	return !r.any
}

// match tells whether the condition holds: for any of the values, and of an absent one for != and not-in alone.
func (c *condition) match(ev *evaluation) bool {
	if c.body {
		return c.matchBody(ev)
	}
	for i := range maxValues {
		v, ok := ev.value(c, i)
		if !ok {
			return i == 0 && c.negative
		}
		if c.holds(v, ev) {
			return true
		}
	}
	return false
}

func (c *condition) matchBody(ev *evaluation) bool {
	values, present := bodyValues(ev.json(), c.source.key, nil)
	if c.test == testExists {
		return present
	}
	for i, v := range values {
		if i == maxValues {
			break
		}
		if c.holds(v, ev) {
			return true
		}
	}
	return len(values) == 0 && c.negative
}

// holds tells whether the condition holds for one value.
func (c *condition) holds(v string, ev *evaluation) bool {
	switch c.test {
	case testExists:
		return true
	case testEqual:
		return v == c.text
	case testNotEqual:
		return v != c.text
	case testInList, testNotInList:
		return slices.Contains(c.list, v) == (c.test == testInList)
	case testInSet, testNotInSet:
		_, in := c.set[v]
		return in == (c.test == testInSet)
	case testInNets, testNotInNets:
		return c.inNets(ev.address(v)) == (c.test == testInNets)
	case testPrefix:
		return strings.HasPrefix(v, c.text)
	case testRegex:
		return c.regex.MatchString(v)
	case testGreater:
		n, ok := parseNumber(v)
		return ok && c.number.less(n)
	case testLess:
		n, ok := parseNumber(v)
		return ok && n.less(c.number)
	case testPercent:
		return bucket(c.seed, v) < c.limit
	default:
		return false
	}
}

// address returns the client's address, the zero one where v is none; most often all conditions ask for the same.
func (ev *evaluation) address(v string) netip.Addr {
	if !ev.addrKnown || ev.addrText != v {
		a, err := netip.ParseAddr(v)
		if err == nil {
			a = a.Unmap().WithZone("")
		}
		ev.addr, ev.addrText, ev.addrKnown = a, v, true
	}
	return ev.addr
}

// inNets tells whether a is an address in one of the condition's networks.
func (c *condition) inNets(a netip.Addr) bool {
	for _, n := range c.nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
