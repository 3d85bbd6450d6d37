package graylib

import (
	"errors"
	"fmt"
)

// Tag is the value that a request or a message carries, and that an instance bears; the zero value is untagged (of an
// instance: baseline). A Tag made by [ParseTag] is valid; a literal is not checked.
type Tag string

// Untagged is the absence of a tag.
const Untagged Tag = ""

// MaxTagLength is the greatest length of a tag in bytes (DESIGN.md). It keeps the names of consumer groups
// (<group>_<tag>) well below the broker's limit of 255 bytes, and a tag usable as a DNS label and a pod label's value.
const MaxTagLength = 32

// ErrMalformedTag is wrapped by the errors of [ParseTag].
var ErrMalformedTag = errors.New("malformed tag")

// ParseTag returns s as a tag. The empty string is [Untagged]. Anything that doesn't match
// [a-z0-9]([-a-z0-9]{0,30}[a-z0-9])? and the reserved words baseline, none and other give an error that wraps
// [ErrMalformedTag] and quotes s.
func ParseTag(s string) (Tag, error) {
	if s == "" {
		return Untagged, nil
	}
	if reason := malformed(s); reason != "" {
		return Untagged, fmt.Errorf("%w %q: %s", ErrMalformedTag, clip(s), reason)
	}
	return Tag(s), nil
}

// Valid tells whether t is untagged or a tag that [ParseTag] would return.
func (t Tag) Valid() bool { return t == Untagged || malformed(string(t)) == "" }

// String returns the tag, or "-" for untagged, for logs and names.
func (t Tag) String() string {
	if t == Untagged {
		return "-"
	}
	return string(t)
}

// malformed returns what is wrong with s, or "".
func malformed(s string) string {
	const want = "want 1 to 32 of a-z, 0-9 and -, not beginning or ending with -"
	if len(s) == 0 || len(s) > MaxTagLength {
		return want
	}
	if s[0] == '-' || s[len(s)-1] == '-' {
		return want
	}
	for i := range len(s) {
		if !inTags[s[i]] {
			return want
		}
	}
	switch s {
	case "baseline", "none", "other":
		return "reserved word"
	}
	return ""
}

// inTags tells of each byte whether a tag may have it: every request's tag is looked at.
var inTags = func() (is [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789-" {
		is[c] = true
	}
	return is
}()

// clip bounds what an error quotes of a value that came over the wire.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "…"
}
