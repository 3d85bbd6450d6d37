package draw

import (
	"net"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/graychain/graychain/pkg/graylib"
)

// rows returns the lanes that hops are in: the request's own first, then others, the baseline last.
func rows(hops []graylib.Hop, tag graylib.Tag) []graylib.Tag {
	var lanes []graylib.Tag
	for _, h := range hops {
		if !slices.Contains(lanes, h.Tag) {
			lanes = append(lanes, h.Tag)
		}
	}
	rank := func(t graylib.Tag) int {
		switch t {
		case graylib.Untagged:
			return 2
		case tag:
			return 0
		}
		return 1
	}
	slices.SortFunc(lanes, func(a, b graylib.Tag) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(string(a), string(b))
	})
	return lanes
}

func rowOf(lanes []graylib.Tag, tag graylib.Tag) int { return max(0, slices.Index(lanes, tag)) }

func inkOf(tag graylib.Tag) ink {
	if tag == graylib.Untagged {
		return inkBaseline
	}
	return inkLane
}

func laneName(tag graylib.Tag) string {
	if tag == graylib.Untagged {
		return "baseline"
	}
	return string(tag)
}

func markName(tag graylib.Tag) string {
	if tag == graylib.Untagged {
		return "unmarked"
	}
	return "marked " + string(tag)
}

// short leaves out what all addresses of one machine share.
func short(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() || host == "localhost" {
		return ":" + port
	}
	return host
}

// wrap breaks s at spaces into lines of at most n characters; a longer word is clipped.
func wrap(s string, n int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		word = clip(word, n)
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= n:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
