package graylib

import (
	"strings"
	"sync/atomic"
)

// HeaderStripper is what [Runtime.Strip] and [Runtime.Admit] need of a request's headers. It should be a [HeaderValues] too,
// so that of several baggage headers all but our entry is kept; without it only the first one is.
type HeaderStripper interface {
	// Names calls yield with each header's name, in any case, until it returns false.
	Names(yield func(name string) bool)
	// Remove takes all values of a header away.
	Remove(name string)
	// Get and Set are those of a Carrier: Get returns the first of several values, Set replaces all.
	Carrier
}

// stripper knows what is taken off requests from outside, and counts it by name. The names are few: those of ours and of the
// presets, and one for each prefix.
type stripper struct {
	names    []string // in lower case, _ as -
	counters []atomic.Int64
	total    atomic.Int64
}

func newStripper(presets []preset) *stripper {
	s := &stripper{}
	add := func(name string) {
		folded := foldName(name)
		for _, n := range s.names {
			if n == folded {
				return
			}
		}
		s.names = append(s.names, folded)
	}
	for _, name := range strippedHeaders {
		add(name)
	}
	for i := range presets {
		for _, keys := range presets[i].keys {
			for _, k := range keys {
				add(k.name)
			}
		}
	}
	s.counters = make([]atomic.Int64, len(s.names)+len(strippedPrefixes)+1)
	return s
}

// index returns which counter a header's name belongs to, or -1: it is not stripped.
func (s *stripper) index(name string) int {
	name = strings.Trim(name, " \t")
	for i, n := range s.names {
		if equalName(name, n) {
			return i
		}
	}
	for i, p := range strippedPrefixes {
		if len(name) >= len(p) && equalName(name[:len(p)], p) {
			return len(s.names) + i
		}
	}
	return -1
}

// baggageIndex is the counter of our entry in baggage headers.
func (s *stripper) baggageIndex() int { return len(s.counters) - 1 }

func (s *stripper) count(i int) {
	s.counters[i].Add(1)
	s.total.Add(1)
}

// counts returns how often each name was stripped.
func (s *stripper) counts() map[string]int64 {
	var m map[string]int64
	for i := range s.counters {
		n := s.counters[i].Load()
		if n == 0 {
			continue
		}
		if m == nil {
			m = make(map[string]int64)
		}
		switch {
		case i < len(s.names):
			m[s.names[i]] = n
		case i == s.baggageIndex():
			m[baggageHeader+" "+BaggageEntry] = n
		default:
			m[strippedPrefixes[i-len(s.names)]+"*"] = n
		}
	}
	return m
}

// Strip takes off a request from outside what only our own services may say (G9): tags, reasons, ids and traces, in every
// form on the wire, and the keys of the presets that are switched on. Of a baggage header only our entry goes. It returns
// the number of headers removed or changed, and counts them by name (Status.Stripped).
func (rt *Runtime) Strip(h HeaderStripper) int {
	s := rt.propagation.stripper
	var remove, baggage []string
	n := 0
	h.Names(func(name string) bool {
		if i := s.index(name); i >= 0 {
			remove = append(remove, name)
			s.count(i)
			n++
		} else if SameHeader(strings.Trim(name, " \t"), baggageHeader) {
			baggage = append(baggage, name)
		}
		return true
	})
	for _, name := range remove {
		h.Remove(name)
	}
	stripped := false
	for _, name := range baggage {
		stripped = stripBaggage(h, name) || stripped
	}
	if stripped {
		s.count(s.baggageIndex())
		n++
	}
	return n
}

// baggageHeader is the name of https://www.w3.org/TR/baggage/#baggage-http-header-format.
const baggageHeader = "baggage"

// stripBaggage takes our entry out of the header of that name, which may stand there several times (the values are one list
// then), and tells whether it was there.
func stripBaggage(h HeaderStripper, name string) bool {
	rest, found := withoutBaggageEntry(joined(h, name))
	if _, exact := h.(HeaderValues); found || !exact { // without Values it can't be seen what further headers say: they go
		h.Remove(name)
		if rest != "" {
			h.Set(name, rest)
		}
	}
	return found
}

var ownStripper = newStripper(nil)

// Stripped tells whether a header of that name, in any case, is taken off what comes from outside, whatever presets are on.
// As servers behind CGI-like bridges do, it takes _ for -; and it looks past blanks around the name, which lenient servers
// let through.
func Stripped(name string) bool { return ownStripper.index(name) >= 0 }

// SameHeader tells whether a and b are one header name: as HTTP has it, letters of ASCII alone have case. ([strings.EqualFold] takes
// the letters ſ and K, the Kelvin sign, for s and k: two programs would disagree on what was stripped.)
func SameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// equalName compares header names without regard to case and to the difference of _ and -.
func equalName(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	if c == '_' {
		return '-'
	}
	return lower(c)
}

func foldName(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = fold(b[i])
	}
	return string(b)
}

// withoutBaggageEntry removes our entry from a baggage header (https://www.w3.org/TR/baggage/#header-content) and tells
// whether it was there. The other entries stay as they are, with their properties.
func withoutBaggageEntry(header string) (rest string, found bool) {
	var kept []string
	for member := range strings.SplitSeq(header, ",") {
		key := member
		if i := strings.IndexAny(member, "=;"); i >= 0 {
			key = member[:i]
		}
		switch key = strings.TrimSpace(key); {
		case SameHeader(key, BaggageEntry):
			found = true
		case strings.TrimSpace(member) != "":
			kept = append(kept, member)
		}
	}
	return strings.TrimSpace(strings.Join(kept, ",")), found
}

// Enter gives a request that comes from outside its id and its trace, where it has none that is well formed, before it
// arrives.
func Enter(keys Keys, c Carrier) {
	if printable(c.Get(keys.RequestID), maxRequestID) == "" {
		c.Set(keys.RequestID, NewRequestID())
	}
	if traceID(c.Get(keys.TraceParent)) == "" {
		c.Set(keys.TraceParent, newTraceParent())
		c.Set(keys.TraceState, "") // it belongs to a traceparent
	}
}
