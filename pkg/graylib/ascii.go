package graylib

// The request id and the trace of every request are looked at where it arrives: eight bytes at a time.

const (
	eachByte = 0x0101010101010101
	topBits  = 0x80 * eachByte
)

// eight returns the first eight bytes of s.
func eight(s string) uint64 {
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// printable returns s where it is at most limit bytes of visible ASCII (and spaces), else "": such a value can go on over
// every carrier (CR, LF and NUL pass TTHeader and break HTTP and gRPC).
func printable(s string, limit int) string {
	if len(s) > limit {
		return ""
	}
	rest := s
	for ; len(rest) >= 8; rest = rest[8:] {
		// The lowest byte that isn't printable has its top bit set, or gets it: from 0x7f by 1 more, from a control character by
		// 0x20 less. Those below it borrow and carry nothing.
		if w := eight(rest); (w|(w+eachByte)|(w-0x20*eachByte))&topBits != 0 {
			return ""
		}
	}
	for i := range len(rest) {
		if rest[i] < 0x20 || rest[i] > 0x7e {
			return ""
		}
	}
	return s
}

// lowerHex tells whether s is lower-case hexadecimal digits alone.
func lowerHex(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		w := eight(s)
		// The top bits say which bytes are n at least, where none has it set before.
		atLeast := func(n uint64) uint64 { return w + (0x80-n)*eachByte }
		digits := atLeast('0')&^atLeast('9'+1) | atLeast('a')&^atLeast('f'+1)
		if w&topBits != 0 || digits&topBits != topBits {
			return false
		}
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
