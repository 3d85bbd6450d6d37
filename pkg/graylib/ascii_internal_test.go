package graylib

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Eight bytes at a time say what each byte alone does, wherever in them it stands and whatever stands around it.
func TestASCIIByteByByte(t *testing.T) {
	all := func(s string, is func(c byte) bool) bool {
		for i := range len(s) {
			if !is(s[i]) {
				return false
			}
		}
		return true
	}
	hex := func(c byte) bool { return strings.IndexByte("0123456789abcdef", c) >= 0 }
	visible := func(c byte) bool { return c >= ' ' && c <= '~' }
	check := func(t interface{ Fatalf(string, ...any) }, s string) {
		if got, want := lowerHex(s), all(s, hex); got != want {
			t.Fatalf("lowerHex(%q) is %v", s, got)
		}
		if got, want := printable(s, len(s)) == s, all(s, visible); got != want {
			t.Fatalf("printable(%q) is %q", s, printable(s, len(s)))
		}
	}
	for c := range 256 { // any one byte, at any place, between neighbours that borrow, carry, or do neither
		for place := range 17 {
			for _, around := range []byte{'0', 'f', ' ', '~'} {
				s := []byte(strings.Repeat(string(around), 17))
				s[place] = byte(c)
				check(t, string(s))
			}
		}
	}
	letter := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("09af/:`g \x1f~\x7f\x80\xff\x00")))
	rapid.Check(t, func(t *rapid.T) { check(t, string(rapid.SliceOfN(letter, 0, 40).Draw(t, "bytes"))) })
}
