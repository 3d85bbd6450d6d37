package graylib

import "strings"

// HeaderStripper is what [Runtime.Strip] needs of a request's headers.
type HeaderStripper interface {
	// Names calls yield with each header's name, in any case, until it returns false.
	Names(yield func(name string) bool)
	// Remove takes all values of a header away.
	Remove(name string)
	// Get and Set are those of a Carrier.
	Carrier
}

// Strip takes off a request from outside what only our own services may say (G9): tags, reasons, ids and traces, in every
// form on the wire. Of a baggage header only our entry goes. It returns and counts the number of headers removed or changed.
func (rt *Runtime) Strip(h HeaderStripper) int {
	var remove []string
	baggage := false
	h.Names(func(name string) bool {
		switch {
		case Stripped(name):
			remove = append(remove, name)
		case strings.EqualFold(name, "baggage"):
			baggage = true
		}
		return true
	})
	for _, name := range remove {
		h.Remove(name)
	}
	n := len(remove)
	if baggage {
		if old := h.Get("baggage"); old != "" {
			if rest, found := withoutBaggageEntry(old); found {
				h.Set("baggage", rest)
				n++
			}
		}
	}
	rt.strippedHeaders.Add(int64(n))
	return n
}

// Stripped tells whether a header of that name, in any case, is taken off what comes from outside.
func Stripped(name string) bool {
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

// equalName compares header names without regard to case, and takes _ for - as servers behind CGI-like bridges do.
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
// whether it was there.
func withoutBaggageEntry(header string) (rest string, found bool) {
	var kept []string
	for member := range strings.SplitSeq(header, ",") {
		key, _, _ := strings.Cut(member, "=")
		if strings.EqualFold(strings.TrimSpace(key), BaggageEntry) {
			found = true
			continue
		}
		kept = append(kept, member)
	}
	return strings.TrimSpace(strings.Join(kept, ",")), found
}

// Enter gives a request that comes from outside its id and its trace, where it has none, before it arrives.
func Enter(keys Keys, c Carrier) {
	if c.Get(keys.RequestID) == "" {
		c.Set(keys.RequestID, NewRequestID())
	}
	if traceID(c.Get(keys.TraceParent)) == "" {
		c.Set(keys.TraceParent, newTraceParent())
	}
}
