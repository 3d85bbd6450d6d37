package graylib

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestWithoutBaggageEntry(t *testing.T) {
	tests := []struct {
		in, rest string
		found    bool
	}{
		{"", "", false},
		{"a=1", "a=1", false},
		{"gray-tag=gray", "", true},
		{"a=1;p=q,gray-tag=gray,b=2", "a=1;p=q,b=2", true},
		{" Gray-Tag = gray ; x , a=1", "a=1", true},
		{"gray-tag=1,gray-tag=2", "", true},
		{"a=gray-tag,b=1;gray-tag=2", "a=gray-tag,b=1;gray-tag=2", false},
		{"gray-tag", "", true},
		{"gray-tag;x=1,a=1", "a=1", true},
		{"gray-tags=1,xgray-tag=1", "gray-tags=1,xgray-tag=1", false},
		{"a=1,,gray-tag=2, ,b=2", "a=1,b=2", true},
	}
	for _, tt := range tests {
		if rest, found := withoutBaggageEntry(tt.in); rest != tt.rest || found != tt.found {
			t.Errorf("%q leaves %q, %v; want %q, %v", tt.in, rest, found, tt.rest, tt.found)
		}
	}
}

// ourMember is a member of a baggage header that a lenient reader takes for our entry.
var ourMember = regexp.MustCompile(`(?i)^[\s\p{Z}\v\x{85}]*gray-tag[\s\p{Z}\v\x{85}]*([=;]|$)`)

// FuzzWithoutBaggageEntry: of any header nothing of ours is left, and every other member, in order.
func FuzzWithoutBaggageEntry(f *testing.F) {
	f.Fuzz(func(t *testing.T, header string) {
		var want []string
		ours := false
		for _, member := range strings.Split(header, ",") {
			switch {
			case ourMember.MatchString(member):
				ours = true
			case strings.TrimSpace(member) != "":
				want = append(want, strings.TrimSpace(member))
			}
		}
		rest, found := withoutBaggageEntry(header)
		var got []string
		if rest != "" {
			for _, member := range strings.Split(rest, ",") {
				got = append(got, strings.TrimSpace(member))
			}
		}
		if found != ours || !slices.Equal(got, want) {
			t.Fatalf("%q leaves %q, found %v; want %q, %v", header, got, found, want, ours)
		}
	})
}

func TestSameHeader(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"x-request-id", "X-Request-ID", true}, {"", "", true}, {"x-a", "x_a", false}, {"x-a", "x-ab", false},
		{"x-mſe-tag", "x-mse-tag", false}, {"x-s\u212Ay", "x-sky", false}, {"\u212A", "k", false}, {"[", "{", false},
	} {
		if got := SameHeader(tc.a, tc.b); got != tc.want {
			t.Errorf("%q and %q: %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}
