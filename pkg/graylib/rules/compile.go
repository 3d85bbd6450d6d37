package rules

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// timeLayout is how the document writes times.
const timeLayout = time.RFC3339Nano

// Rules is a document compiled: immutable, and safe for concurrent use. It implements [graylib.Rules]. Evaluating takes
// no lock, and allocates nothing unless a condition needs the request's body.
type Rules struct {
	revision  int64
	lanes     []graylib.Lane
	byTag     map[graylib.Tag]int
	callees   map[string]*ruleSet
	marks     map[markKey]*ruleSet
	consumers map[string][]consumption // of a service, the most specific first
	explained []Lane                   // the document's lanes, for Explain
}

var _ graylib.Rules = (*Rules)(nil)

type markKey struct{ producer, topic string }

// ruleSet holds what is evaluated for one callee, or for one producer and topic, in the order of the document. What is
// compared often lies close together: a hundred entries are looked through for every request.
type ruleSet struct {
	rules      []rule
	conditions []condition // of all rules, in order
	sources    []source    // what the conditions ask, each once
	paths      []path      // what the rules are restricted to, each once
}

// source is a value that conditions ask for.
type source struct {
	from graylib.From
	key  string
}

// path is what a request's path must be, or begin with.
type path struct {
	text   string
	prefix bool
}

// rule is an entry or a mark.
type rule struct {
	from, to int // its conditions
	path     int // in the set's paths; -1 = any path
	any      bool
	decision graylib.Decision
}

// condition is a Condition, with its value prepared for its operator.
type condition struct {
	test     test
	negative bool // holds for an absent value
	body     bool // of the body
	slot     int  // of the source in the rule set
	text     string
	limit    uint64 // percent, in hundredths
	seed     uint64 // percent: the hash's state after the tag
	source   source
	list     []string            // in, not-in: few values
	set      map[string]struct{} // in, not-in: many
	nets     []netip.Prefix      // addresses and CIDRs, where the source is ip
	regex    *regexp.Regexp
	number   number
}

// test is how a condition compares: its operator, prepared for its kind of value.
type test uint8

const (
	testExists test = iota
	testEqual
	testNotEqual
	testInList
	testNotInList
	testInSet
	testNotInSet
	testInNets
	testNotInNets
	testPrefix
	testRegex
	testGreater
	testLess
	testPercent
)

type consumption struct {
	group, topic string
	graylib.Consumption
}

// fewValues is up to how many elements a list is searched faster than a map.
const fewValues = 8

// Compile checks a document and makes of it the value that is evaluated. The error is an [*InvalidError] with all problems
// at once; a document from [Parse] has none. The document may be changed afterwards.
func Compile(doc *Document) (*Rules, error) {
	if err := invalid(validate(doc)); err != nil {
		return nil, err
	}
	r := &Rules{
		revision:  doc.Revision,
		byTag:     map[graylib.Tag]int{},
		callees:   map[string]*ruleSet{},
		marks:     map[markKey]*ruleSet{},
		consumers: map[string][]consumption{},
	}
	for i, l := range doc.Lanes {
		lane := graylib.Lane{
			Tag: l.Tag, Listed: l.Listed, State: l.State, Until: l.Until,
			Propagate: l.Propagate == nil || *l.Propagate, ColourFromNode: l.ColourFromNode,
		}
		if lane.State == "" {
			lane.State = graylib.LaneActive
		}
		r.byTag[l.Tag] = i
		r.lanes = append(r.lanes, lane)
		r.explained = append(r.explained, cloneLane(l))
		if lane.State != graylib.LaneActive {
			continue // colours nothing more
		}
		for _, e := range l.Entries {
			d := graylib.Decision{Tag: l.Tag, Entry: e.Name, Propagate: lane.Propagate}
			setOf(r.callees, e.Service).add(d, e.Path, e.Match, e.When)
		}
	}
	for _, m := range doc.Marks {
		if r.lanes[r.byTag[m.Tag]].State == graylib.LaneActive {
			d := graylib.Decision{Tag: m.Tag, Propagate: true}
			setOf(r.marks, markKey{m.Producer, m.Topic}).add(d, "", MatchAll, m.When)
		}
	}
	for _, c := range doc.Messages {
		r.consumers[c.Consumer] = append(r.consumers[c.Consumer], compileConsumer(c))
	}
	for _, list := range r.consumers {
		slices.SortStableFunc(list, func(a, b consumption) int { return b.specificity() - a.specificity() })
	}
	return r, nil
}

// cloneLane copies what a document's owner may change.
func cloneLane(l Lane) Lane {
	l.Entries = slices.Clone(l.Entries)
	for i := range l.Entries {
		e := &l.Entries[i]
		e.When = slices.Clone(e.When)
		for j := range e.When {
			e.When[j].Value = slices.Clone(e.When[j].Value)
		}
	}
	return l
}

func setOf[K comparable](sets map[K]*ruleSet, key K) *ruleSet {
	if sets[key] == nil {
		sets[key] = &ruleSet{}
	}
	return sets[key]
}

func compileConsumer(c Consumer) consumption {
	out := consumption{group: c.Group, topic: c.Topic, Consumption: defaultConsumption}
	if c.Baseline != "" {
		out.Baseline = c.Baseline
	}
	if c.Filter != "" {
		out.Filter = c.Filter
	}
	out.Ignore = slices.Clone(c.Ignore)
	return out
}

// specificity orders entries: group and topic, group, topic, neither.
func (c consumption) specificity() int {
	n := 0
	if c.group != "" {
		n += 2
	}
	if c.topic != "" {
		n++
	}
	return n
}

var defaultConsumption = graylib.Consumption{Baseline: DefaultMode, Default: DefaultMode, Filter: graylib.FilterServer}

// add compiles a rule and appends it.
func (s *ruleSet) add(d graylib.Decision, on string, match Match, when []Condition) {
	r := rule{from: len(s.conditions), path: -1, any: match == MatchAny, decision: d}
	if on != "" {
		text, prefix := strings.CutSuffix(on, "*")
		s.paths, r.path = intern(s.paths, path{text, prefix})
	}
	for _, c := range when {
		var slot int
		s.sources, slot = intern(s.sources, source{c.From, c.Key})
		s.conditions = append(s.conditions, compileCondition(c, slot, d.Tag))
	}
	r.to = len(s.conditions)
	s.rules = append(s.rules, r)
}

// intern returns where v stands in list, at its end if it is new.
func intern[T comparable](list []T, v T) ([]T, int) {
	if i := slices.Index(list, v); i >= 0 {
		return list, i
	}
	return append(list, v), len(list)
}

// compileCondition prepares a valid condition.
func compileCondition(c Condition, slot int, tag graylib.Tag) condition {
	out := condition{
		source: source{c.From, c.Key}, slot: slot, body: c.From == graylib.FromBody,
		negative: c.Op == OpNotEqual || c.Op == OpNotIn,
	}
	if len(c.Value) > 0 {
		out.text = c.Value[0]
	}
	either := func(yes, no test) test {
		if out.negative {
			return no
		}
		return yes
	}
	switch c.Op {
	case OpExists:
		out.test = testExists
	case OpEqual, OpNotEqual, OpIn, OpNotIn:
		switch {
		case c.From == graylib.FromIP:
			out.test = either(testInNets, testNotInNets)
			for _, v := range c.Value {
				out.nets = append(out.nets, network(v))
			}
		case c.Op == OpEqual || c.Op == OpNotEqual:
			out.test = either(testEqual, testNotEqual)
		case len(c.Value) <= fewValues:
			out.test = either(testInList, testNotInList)
			out.list = slices.Clone(c.Value)
		default:
			out.test = either(testInSet, testNotInSet)
			out.set = make(map[string]struct{}, len(c.Value))
			for _, v := range c.Value {
				out.set[v] = struct{}{}
			}
		}
	case OpPrefix:
		out.test = testPrefix
	case OpRegex:
		out.test = testRegex
		out.regex = regexp.MustCompile(out.text) // validate compiled it before
	case OpGreater, OpLess:
		out.test = testGreater
		if c.Op == OpLess {
			out.test = testLess
		}
		out.number, _ = parseNumber(out.text)
	case OpPercent:
		out.test = testPercent
		out.limit, _ = parsePercent(out.text)
		out.seed = percentSeed(tag)
	}
	return out
}

// network returns an address or a CIDR as a network; addresses of IPv4 in the form of IPv6 count as IPv4.
func network(s string) netip.Prefix {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{} // validate refused it
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// Revision returns the document's revision.
func (r *Rules) Revision() int64 { return r.revision }

// Lane returns the listed lane with the tag.
func (r *Rules) Lane(tag graylib.Tag) (graylib.Lane, bool) {
	i, ok := r.byTag[tag]
	if !ok {
		return graylib.Lane{}, false
	}
	return r.lanes[i], true
}

// Lanes returns all listed lanes in the document's order. The slice must not be changed.
func (r *Rules) Lanes() []graylib.Lane { return r.lanes }

// Consumption returns what the most specific entry says of a consumer: one for its group and topic, for its group, for
// its topic, for the service, in this order; [DefaultMode] and the broker's filter where there is none. The lists in it
// must not be changed.
func (r *Rules) Consumption(service, group, topic string) graylib.Consumption {
	for _, c := range r.consumers[service] {
		if (c.group == "" || c.group == group) && (c.topic == "" || c.topic == topic) {
			return c.Consumption
		}
	}
	return defaultConsumption
}
