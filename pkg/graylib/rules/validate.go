package rules

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/graychain/graychain/pkg/graylib"
)

// maxName bounds names and keys in characters, for logs and metrics.
const maxName = 128

// validator collects what is wrong with the meaning of a document.
type validator struct {
	doc      *Document
	problems []Problem
	tags     map[graylib.Tag]bool // listed lanes
}

// validate returns what is wrong with a document, apart from what [CheckTransition] asks.
func validate(doc *Document) []Problem {
	v := &validator{doc: doc, tags: map[graylib.Tag]bool{}}
	if doc.Revision < 0 {
		v.fail("revision", "is %d; want a whole number from 0", doc.Revision)
	}
	names := map[string]string{} // entry name -> field
	for i, lane := range doc.Lanes {
		v.lane(fmt.Sprintf("lanes[%d]", i), lane, names)
	}
	consumers := map[[3]string]string{}
	for i, c := range doc.Messages {
		at := fmt.Sprintf("messages[%d]", i)
		v.consumer(at, c)
		key := [3]string{c.Consumer, c.Group, c.Topic}
		if first, twice := consumers[key]; twice && c.Consumer != "" {
			v.fail(at, "the same consumer, group and topic as %s: each may have one entry", first)
		}
		consumers[key] = at
	}
	for i, m := range doc.Marks {
		v.mark(fmt.Sprintf("marks[%d]", i), m)
	}
	return v.problems
}

func (v *validator) fail(field, format string, args ...any) {
	v.problems = append(v.problems, Problem{Line: v.doc.line(field), Field: field, Message: fmt.Sprintf(format, args...)})
}

// line returns the line of a field, or of what it stands in; 0 where it isn't known.
func (d *Document) line(field string) int {
	for {
		if n, ok := d.lines[field]; ok {
			return n
		}
		i := strings.LastIndexAny(field, ".[")
		if i < 0 {
			return 0
		}
		field = field[:i]
	}
}

func (v *validator) lane(at string, l Lane, names map[string]string) {
	if v.tag(at+".tag", l.Tag) {
		if v.tags[l.Tag] {
			v.fail(at+".tag", "is %s, which an earlier lane has: a tag is listed once", quote(l.Tag))
		}
		v.tags[l.Tag] = true
	}
	oneOfOrNone(v, at+".state", l.State, graylib.LaneActive, graylib.LaneRetired)
	if !l.Until.IsZero() {
		if l.State != graylib.LaneRetired {
			v.fail(at+".until", "is set while the lane is active: only a retired lane is forgotten; add state: retired, or leave until out")
		}
		if !l.Listed.IsZero() && l.Until.Before(l.Listed) {
			v.fail(at+".until", "is %s, before listed %s", l.Until.Format(timeLayout), l.Listed.Format(timeLayout))
		}
	}
	for i, e := range l.Entries {
		at := fmt.Sprintf("%s.entries[%d]", at, i)
		v.entry(at, e)
		if first, twice := names[e.Name]; twice {
			v.fail(at+".name", "is %s, which %s has: a name stands once in the document", quote(e.Name), first)
		} else if e.Name != "" {
			names[e.Name] = at
		}
	}
}

func (v *validator) entry(at string, e Entry) {
	v.name(at+".name", e.Name, true)
	v.service(at+".service", e.Service)
	if e.Path != "" {
		star := strings.IndexByte(e.Path, '*')
		if e.Path[0] != '/' || (star >= 0 && star != len(e.Path)-1) {
			v.fail(at+".path", "is %s; want a path that begins with /, exact, or a prefix with * at its end", quote(e.Path))
		}
	}
	oneOfOrNone(v, at+".match", e.Match, MatchAll, MatchAny)
	v.when(at+".when", e.When, EntrySources())
}

func (v *validator) consumer(at string, c Consumer) {
	v.service(at+".consumer", c.Consumer)
	if c.Group != "" {
		v.word(at+".group", c.Group)
	}
	if c.Topic != "" {
		v.word(at+".topic", c.Topic)
	}
	oneOfOrNone(v, at+".filter", c.Filter, graylib.FilterServer, graylib.FilterClient)
	oneOfOrNone(v, at+".baseline", c.Baseline, Modes()...)
	switch {
	case c.Baseline == graylib.ModeIgnore && len(c.Ignore) == 0:
		v.fail(at+".ignore", "is missing; baseline: ignore wants the tags of the lanes to ignore")
	case c.Baseline != graylib.ModeIgnore && len(c.Ignore) > 0:
		v.fail(at+".ignore", "is only for baseline: ignore")
	}
	for i, t := range c.Ignore {
		at := fmt.Sprintf("%s.ignore[%d]", at, i)
		if v.listed(at, t) && slices.Contains(c.Ignore[:i], t) {
			v.fail(at, "is %s for the second time", quote(t))
		}
	}
}

func (v *validator) mark(at string, m Mark) {
	v.service(at+".producer", m.Producer)
	if m.Topic == "" {
		v.fail(at+".topic", "is missing")
	} else {
		v.word(at+".topic", m.Topic)
	}
	v.listed(at+".tag", m.Tag)
	v.when(at+".when", m.When, MarkSources())
}

func (v *validator) when(at string, when []Condition, sources []graylib.From) {
	if len(when) == 0 {
		v.fail(at, "is empty; want at least one condition")
	}
	for i, c := range when {
		v.condition(fmt.Sprintf("%s[%d]", at, i), c, sources)
	}
}

func (v *validator) condition(at string, c Condition, sources []graylib.From) {
	known := slices.Contains(sources, c.From)
	switch {
	case c.From == "":
		v.fail(at+".from", "is missing; want %s", oneOf(sources))
	case !known:
		v.fail(at+".from", "is %s; want %s", quote(c.From), oneOf(sources))
	case HasKey(c.From):
		v.key(at+".key", c)
	case c.Key != "":
		v.fail(at+".key", "is %s; %s takes no key", quote(c.Key), c.From)
	}
	ops := Ops()
	if known {
		ops = SourceOps(c.From)
	}
	switch {
	case c.Op == "":
		v.fail(at+".op", "is missing; want %s", oneOf(ops))
		return
	case !slices.Contains(ops, c.Op) && slices.Contains(Ops(), c.Op):
		v.fail(at+".op", "is %s; %s takes %s", quote(c.Op), c.From, oneOf(ops))
		return
	case !slices.Contains(ops, c.Op):
		v.fail(at+".op", "is %s; want %s", quote(c.Op), oneOf(ops))
		return
	}
	v.value(at+".value", c)
}

func (v *validator) key(at string, c Condition) {
	if c.Key == "" {
		v.fail(at, "is missing; %s wants one", c.From)
		return
	}
	v.name(at, c.Key, false)
	if c.From == graylib.FromBody && slices.Contains(strings.Split(c.Key, "."), "") {
		v.fail(at, "is %s; want field names joined with dots, such as user.name", quote(c.Key))
	}
	if c.From == graylib.FromHeader && strings.ContainsFunc(c.Key, notToken) {
		v.fail(at, "is %s, which is no header's name", quote(c.Key))
	}
}

// notToken tells whether a header's name can't hold r: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// value checks what a condition compares with.
func (v *validator) value(at string, c Condition) {
	if c.Op == OpExists {
		if len(c.Value) > 0 {
			v.fail(at, "exists takes no value")
		}
		return
	}
	list := c.Op == OpIn || c.Op == OpNotIn
	switch {
	case len(c.Value) == 0 && list:
		v.fail(at, "is missing or empty; %s takes a list, such as [a, b]", c.Op)
		return
	case len(c.Value) == 0:
		v.fail(at, "is missing; %s takes one", c.Op)
		return
	case len(c.Value) > 1 && !list:
		v.fail(at, "is a list; %s takes one value", c.Op)
		return
	}
	text := c.Value[0]
	switch c.Op {
	case OpPrefix:
		if text == "" {
			v.fail(at, `is "", which every value begins with; use exists`)
		}
	case OpRegex:
		if text == "" {
			v.fail(at, `is "", which every value matches; use exists`)
		} else if _, err := regexp.Compile(text); err != nil {
			v.fail(at, "is %s; want an RE2 regular expression: %s", quote(text), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
	case OpGreater, OpLess:
		if _, ok := parseNumber(text); !ok {
			v.fail(at, "is %s; %s takes a decimal number", quote(text), c.Op)
		}
	case OpPercent:
		if _, ok := parsePercent(text); !ok {
			v.fail(at, "is %s; percent takes a number from 0 to 100 with at most two decimals", quote(text))
		}
	}
	if c.From == graylib.FromIP && c.Op != OpPercent {
		for i, text := range c.Value {
			at := at
			if list {
				at = fmt.Sprintf("%s[%d]", at, i)
			}
			_, err := netip.ParseAddr(text)
			switch {
			case err == nil:
			case !list:
				v.fail(at, "is %s; %s takes an address, and in a list of addresses and CIDRs", quote(text), c.Op)
			default:
				if _, err := netip.ParsePrefix(text); err != nil {
					v.fail(at, "is %s; want an address or a CIDR, such as 10.0.0.1 or 10.0.0.0/8", quote(text))
				}
			}
		}
	}
}

// tag checks a tag, and tells whether it is one.
func (v *validator) tag(at string, t graylib.Tag) bool {
	if t == graylib.Untagged {
		v.fail(at, "is missing")
		return false
	}
	if _, err := graylib.ParseTag(string(t)); err != nil {
		v.fail(at, "%v", err)
		return false
	}
	return true
}

// listed checks a tag that must be a listed lane's, and tells whether it is.
func (v *validator) listed(at string, t graylib.Tag) bool {
	if !v.tag(at, t) {
		return false
	}
	if !v.tags[t] {
		v.fail(at, "is %s, which no lane of this document has", quote(t))
		return false
	}
	return true
}

func (v *validator) service(at, name string) {
	switch {
	case name == "":
		v.fail(at, "is missing")
	case strings.HasSuffix(name, graylib.RPCServiceSuffix):
		v.fail(at, "is %s; write %s: the name stands for its HTTP and its RPC endpoint", quote(name), quote(strings.TrimSuffix(name, graylib.RPCServiceSuffix)))
	default:
		v.word(at, name)
	}
}

// word checks a name without white space.
func (v *validator) word(at, name string) {
	if strings.ContainsFunc(name, unicode.IsSpace) {
		v.fail(at, "is %s; want a name without white space", quote(name))
		return
	}
	v.name(at, name, false)
}

// name checks a name that is shown in logs and metrics.
func (v *validator) name(at, name string, required bool) {
	switch {
	case name == "" && required:
		v.fail(at, "is missing")
	case len(name) > maxName:
		v.fail(at, "is %s, %d bytes; at most %d", quote(name), len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		v.fail(at, "is %s; want printable characters", quote(name))
	}
}

// oneOfOrNone checks a value that is empty or one of a few.
func oneOfOrNone[S ~string](v *validator, at string, value S, allowed ...S) {
	if value != "" && !slices.Contains(allowed, value) {
		v.fail(at, "is %s; want %s", quote(value), oneOf(allowed))
	}
}

// parsePercent returns a percentage in hundredths: 0 to 10000.
func parsePercent(s string) (uint64, bool) {
	whole, fraction, dot := strings.Cut(s, ".")
	if whole == "" || len(whole) > 3 || len(fraction) > 2 || (dot && fraction == "") || !digits(whole) || !digits(fraction) {
		return 0, false
	}
	n, err := strconv.ParseUint(whole+(fraction + "00")[:2], 10, 64)
	return n, err == nil && n <= buckets
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
