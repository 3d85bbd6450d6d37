package graylib

import "strings"

// HeaderStripper is what [Runtime.Strip] needs of a request's headers.
type HeaderStripper interface {
	// Names calls yield with each header's name, in any case, until it returns false.
	Names(yield func(name string) bool)
	// Remove takes all values of a header away.
	Remove(name string)
	// Get and Set are those of a Carrier: Get returns the first of several values, Set replaces all.
	Carrier
}

// HeaderValues is what a [HeaderStripper] can offer beside, so that of several baggage headers all but our entry is kept.
// Without it only the first one is.
type HeaderValues interface {
	// Values returns all values of a header, in order.
	Values(name string) []string
}

// Strip takes off a request from outside what only our own services may say (G9): tags, reasons, ids and traces, in every
// form on the wire. Of a baggage header only our entry goes. It returns and counts the number of headers removed or changed.
func (rt *Runtime) Strip(h HeaderStripper) int {
	var remove []string
	baggage := ""
	h.Names(func(name string) bool {
		switch {
		case Stripped(name):
			remove = append(remove, name)
		case strings.EqualFold(strings.Trim(name, " \t"), baggageHeader):
			baggage = name
		}
		return true
	})
	for _, name := range remove {
		h.Remove(name)
	}
	n := len(remove)
	if baggage != "" && stripBaggage(h, baggage) {
		n++
	}
	rt.strippedHeaders.Add(int64(n))
	return n
}

// baggageHeader is the name of https://www.w3.org/TR/baggage/#baggage-http-header-format.
const baggageHeader = "baggage"

// stripBaggage takes our entry out of the header of that name, which may stand there several times (the values are one list
// then), and tells whether it was there.
func stripBaggage(h HeaderStripper, name string) bool {
	all := h.Get(name)
	v, exact := h.(HeaderValues)
	if exact {
		all = strings.Join(v.Values(name), ",")
	}
	rest, found := withoutBaggageEntry(all)
	if found || !exact { // without Values it can't be seen what further headers say: they go
		h.Remove(name)
		h.Set(name, rest)
	}
	return found
}

// Stripped tells whether a header of that name, in any case, is taken off what comes from outside. As servers behind
// CGI-like bridges do, it takes _ for -; and it looks past blanks around the name, which lenient servers let through.
func Stripped(name string) bool {
	name = strings.Trim(name, " \t")
	for _, s := range strippedHeaders {
		if equalName(name, s) {
			return true
		}
	}
	for _, p := range strippedPrefixes {
		if len(name) >= len(p) && equalName(name[:len(p)], p) {
			return true
		}
	}
	return false
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
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
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
		case strings.EqualFold(key, BaggageEntry):
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
