package graylib

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of what travels back. 64 hops of about 200 bytes stay below the 16 KiB that HTTP servers commonly allow a header
// block (nginx 4 x 8 KiB, Hertz and Go 1 MiB, Envoy 60 KiB); what is more is left out.
const (
	maxHops        = 64
	maxMessages    = 64
	maxReturnBytes = 16 << 10
)

// EncodeHops renders hops as JSON for the way back. It is ASCII without control characters, so that a header can bear it.
// Only the first hops are rendered where there are more than 64, or where they take more than 16 KiB. No hops are "".
func EncodeHops(hops []Hop) string { return encodeLists(maxHops, appendHop, hops, nil) }

// DecodeHops parses what [EncodeHops] made. Hops that are no hops (too long, malformed JSON, malformed tags) give an error.
func DecodeHops(s string) ([]Hop, error) {
	return decodeList(s, maxHops, readHop, func(h *Hop) bool { return h.Tag.Valid() && h.RequestTag.Valid() })
}

// EncodeMessages renders messages as JSON for the way back, within the same limits as [EncodeHops].
func EncodeMessages(messages []Message) string {
	return encodeLists(maxMessages, appendMessage, messages, nil)
}

// DecodeMessages parses what [EncodeMessages] made, as [DecodeHops] does.
func DecodeMessages(s string) ([]Message, error) {
	return decodeList(s, maxMessages, readMessage, func(m *Message) bool { return m.Tag.Valid() })
}

// encodeLists renders one list of the elements of both.
func encodeLists[T any](limit int, appendOne func([]byte, *T) []byte, first, second []T) string {
	n := min(len(first)+len(second), limit)
	if n == 0 {
		return ""
	}
	b := append(make([]byte, 0, 256*min(n, 8)), '[')
	for i := range n {
		whole := len(b)
		if i > 0 {
			b = append(b, ',')
		}
		if i < len(first) {
			b = appendOne(b, &first[i])
		} else {
			b = appendOne(b, &second[i-len(first)])
		}
		if len(b) >= maxReturnBytes {
			b = b[:whole]
			break
		}
	}
	if len(b) == 1 {
		return ""
	}
	return string(append(b, ']'))
}

// The JSON is written and, where it looks just as it is written here, read by hand: every answer of every hop bears it, and
// encoding/json takes five to ten times as long. A test compares both on the same values.

func appendHop(b []byte, h *Hop) []byte {
	b = appendString(append(b, `{"service":`...), h.Service)
	b = appendString(append(b, `,"tag":`...), string(h.Tag))
	b = appendString(append(b, `,"instance":`...), h.Instance)
	b = appendString(append(b, `,"addr":`...), h.Addr)
	b = appendString(append(b, `,"requestTag":`...), string(h.RequestTag))
	b = appendString(append(b, `,"protocol":`...), string(h.Protocol))
	b = appendString(append(b, `,"reason":`...), string(h.Reason))
	return append(b, '}')
}

func readHop(r *listReader, h *Hop) bool {
	return r.field(`{"service":"`, &h.Service) &&
		r.field(`,"tag":"`, (*string)(&h.Tag)) &&
		r.field(`,"instance":"`, &h.Instance) &&
		r.field(`,"addr":"`, &h.Addr) &&
		r.field(`,"requestTag":"`, (*string)(&h.RequestTag)) &&
		r.field(`,"protocol":"`, (*string)(&h.Protocol)) &&
		r.field(`,"reason":"`, (*string)(&h.Reason)) &&
		r.skip("}")
}

func appendMessage(b []byte, m *Message) []byte {
	b = appendString(append(b, `{"id":`...), m.ID)
	b = appendString(append(b, `,"topic":`...), m.Topic)
	b = appendString(append(b, `,"tag":`...), string(m.Tag))
	return append(b, '}')
}

func readMessage(r *listReader, m *Message) bool {
	return r.field(`{"id":"`, &m.ID) &&
		r.field(`,"topic":"`, &m.Topic) &&
		r.field(`,"tag":"`, (*string)(&m.Tag)) &&
		r.skip("}")
}

// appendString appends s as a JSON string of visible ASCII and spaces; bytes that aren't UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < 0x20 || c == 0x7f:
				b = appendUnit(b, rune(c))
			default:
				b = append(b, c)
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if r > 0xffff { // a surrogate pair, RFC 8259 section 7
			r -= 0x10000
			b = appendUnit(b, 0xd800+(r>>10))
			r = 0xdc00 + (r & 0x3ff)
		}
		b = appendUnit(b, r)
	}
	return append(b, '"')
}

// appendUnit appends one UTF-16 code unit as \uXXXX.
func appendUnit(b []byte, u rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[u>>12&0xf], hex[u>>8&0xf], hex[u>>4&0xf], hex[u&0xf])
}

func decodeList[T any](s string, limit int, readOne func(*listReader, *T) bool, valid func(*T) bool) ([]T, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxReturnBytes {
		return nil, fmt.Errorf("list of %d bytes, at most %d are read", len(s), maxReturnBytes)
	}
	list, ok := readList(s, readOne)
	if !ok {
		list = nil
		if err := json.Unmarshal([]byte(s), &list); err != nil {
			return nil, fmt.Errorf("malformed list %q: %w", clip(s), err)
		}
	}
	list = list[:min(len(list), limit)]
	for i := range list {
		if !valid(&list[i]) {
			return nil, fmt.Errorf("%w in list %q", ErrMalformedTag, clip(s))
		}
	}
	return list, nil
}

// readList parses s where it is written as encodeLists writes, without escapes; false where it is written otherwise.
func readList[T any](s string, readOne func(*listReader, *T) bool) ([]T, bool) {
	r := listReader{rest: s}
	if !r.skip("[") {
		return nil, false
	}
	list := make([]T, 0, 1+strings.Count(s, "},{"))
	for {
		var one T // filled in its place: a variable of its own would be allocated
		list = append(list, one)
		if !readOne(&r, &list[len(list)-1]) {
			return nil, false
		}
		if !r.skip(",") {
			return list, r.rest == "]"
		}
	}
}

type listReader struct{ rest string }

// skip passes over the literal; false where something else stands there.
func (r *listReader) skip(literal string) bool {
	rest, ok := strings.CutPrefix(r.rest, literal)
	r.rest = rest
	return ok
}

// field passes over the literal and reads the string that it opens.
func (r *listReader) field(literal string, value *string) bool {
	if !r.skip(literal) {
		return false
	}
	for i := range len(r.rest) {
		switch c := r.rest[i]; {
		case c == '"':
			*value, r.rest = r.rest[:i], r.rest[i+1:]
			return true
		case c < 0x20 || c >= 0x7f || c == '\\':
			return false
		}
	}
	return false
}
