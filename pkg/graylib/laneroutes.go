package graylib

import "math/bits"

// laneRoutes finds a tag's route. Each call looks one up, and a map of the language takes longer: it hashes for keys that
// an attacker chose, where these are the registry's lanes. It is filled once and then only read.
type laneRoutes struct {
	// A power of two, half of them empty at least. A tag stands in its own one or, where that is taken, in one behind it. Empty ones
	// have the route of tags that aren't there.
	slots []laneRoute
}

type laneRoute struct {
	tag   Tag // Untagged: empty
	route route
}

// newLaneRoutes returns one with room for n lanes. A tag that isn't among them has the route none.
func newLaneRoutes(n int, none route) laneRoutes {
	l := laneRoutes{make([]laneRoute, 1<<bits.Len(uint(2*n)))}
	for i := range l.slots {
		l.slots[i].route = none
	}
	return l
}

// add puts a lane that isn't there yet in.
func (l laneRoutes) add(tag Tag, r route) { *l.slot(tag) = laneRoute{tag, r} }

// slot returns the place of a tag: an empty one where it isn't there.
func (l laneRoutes) slot(tag Tag) *laneRoute {
	mask := uint(len(l.slots) - 1)
	for i := tag.hash(); ; i++ {
		if s := &l.slots[i&mask]; s.tag == tag || s.tag == Untagged {
			return s
		}
	}
}

// hash is a number that tells tags from each other, made of the length and all bytes.
func (t Tag) hash() uint {
	h := uint64(len(t))
	for ; len(t) > 8; t = t[8:] {
		h = mix(h ^ eight(string(t)))
	}
	if len(t) >= 4 {
		return uint(mix(h ^ four(t) ^ four(t[len(t)-4:])<<32))
	}
	for i := range len(t) {
		h = mix(h ^ uint64(t[i]))
	}
	return uint(h)
}

// four returns the first four bytes.
func four(t Tag) uint64 {
	return uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24
}

// mix returns a number of which each bit depends on all of h's.
func mix(h uint64) uint64 {
	hi, lo := bits.Mul64(h, 0x9e3779b97f4a7c15) // 2^64 divided by the golden ratio, as D. E. Knuth has it for hashing
	return hi ^ lo
}
