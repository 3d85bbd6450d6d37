package graylib

import (
	"strings"
)

// Limits of a baggage header, from https://www.w3.org/TR/baggage/#limits: a platform hands on at least 64 members and 8192
// bytes. Ours isn't added beyond them; what came in within or beyond them stays as it is.
const (
	maxBaggageMembers = 64
	maxBaggageBytes   = 8192
)

// HeaderValues is what a [Carrier] can offer beside, where a name may stand there several times: without it only the first
// value is seen. A baggage header may, and all of them are one list then.
type HeaderValues interface {
	// Values returns all values of a name, in order.
	Values(name string) []string
}

// joined returns all values of a list-like header as one list.
func joined(c Carrier, name string) string {
	v, ok := c.(HeaderValues)
	if !ok {
		return c.Get(name)
	}
	switch values := v.Values(name); len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		return strings.Join(values, ",")
	}
}

// baggageValue returns the value of our entry in a baggage header, percent-decoded
// (https://www.w3.org/TR/baggage/#value), and whether it is there. Of several the last counts: that is the one which an
// OpenTelemetry service in between hands on. A header beyond the limits is read as far as they go.
func baggageValue(header string) (value string, found bool) {
	if len(header) > maxBaggageBytes {
		header = header[:maxBaggageBytes]
		i := strings.LastIndexByte(header, ',')
		if i < 0 {
			return "", false
		}
		header = header[:i]
	}
	members := 0
	for member := range strings.SplitSeq(header, ",") {
		if members++; members > maxBaggageMembers {
			break
		}
		member, _, _ = strings.Cut(member, ";") // properties
		key, v, ok := strings.Cut(member, "=")
		if ok && strings.Trim(key, " \t") == BaggageEntry {
			value, found = percentDecoded(strings.Trim(v, " \t")), true
		}
	}
	return value, found
}

// percentDecoded decodes %XX; what is no such triplet stays as it is, and makes no tag.
func percentDecoded(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// withBaggageEntry returns a baggage header with our entry, for a tag that isn't Untagged, in place of an older one; false
// where the limits leave no room for it. A tag needs no percent-encoding.
func withBaggageEntry(header string, tag Tag) (string, bool) {
	entry := BaggageEntry + "=" + string(tag)
	rest, _ := withoutBaggageEntry(header)
	if rest == "" {
		return entry, true
	}
	if len(rest)+1+len(entry) > maxBaggageBytes || strings.Count(rest, ",")+2 > maxBaggageMembers {
		return rest, false
	}
	return rest + "," + entry, true
}

// writeBaggage makes a carrier's baggage say what the tag says, and tells whether it does. Other entries stay.
func writeBaggage(c Carrier, name string, tag Tag) bool {
	old := joined(c, name)
	var next string
	room := true
	if tag == Untagged {
		var found bool
		if next, found = withoutBaggageEntry(old); !found {
			return true
		}
	} else {
		if old == BaggageEntry+"="+string(tag) {
			return true
		}
		next, room = withBaggageEntry(old, tag)
	}
	if _, several := c.(HeaderValues); several {
		c.Set(name, "") // some headers' Set replaces the first of several values alone
	}
	c.Set(name, next)
	return room
}
