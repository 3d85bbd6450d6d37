package graylib

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// Protocol is how a hop was reached.
type Protocol string

// The protocols.
const (
	ProtocolHTTP Protocol = "http"
	ProtocolRPC  Protocol = "rpc"
	ProtocolMQ   Protocol = "mq"
)

// Hop is one service's part in a chain (design/wire.md).
type Hop struct {
	Service    string   `json:"service"`
	Tag        Tag      `json:"tag"` // the instance's own; empty = baseline
	Instance   string   `json:"instance"`
	Addr       string   `json:"addr"`
	RequestTag Tag      `json:"requestTag"`
	Protocol   Protocol `json:"protocol"`
	Reason     Reason   `json:"reason"`
}

// Message is a message that a hop sent, as an answer names it.
type Message struct {
	ID    string `json:"id"`
	Topic string `json:"topic"`
	Tag   Tag    `json:"tag"`
}

// Limits of what travels back. 64 hops of about 200 bytes stay below the 16 KiB that HTTP servers commonly allow a header
// block (nginx 4 x 8 KiB, Hertz and Go 1 MiB, Envoy 60 KiB); what is more is left out.
const (
	maxHops        = 64
	maxMessages    = 64
	maxReturnBytes = 16 << 10
)

// EncodeHops renders hops as JSON for the way back. It is ASCII without control characters, so that a header can bear it.
func EncodeHops(hops []Hop) string { return encodeList(hops, maxHops) }

// DecodeHops parses what [EncodeHops] made. Hops that are no hops (too long, malformed JSON) give an error.
func DecodeHops(s string) ([]Hop, error) { return decodeList[Hop](s, maxHops) }

// EncodeMessages renders messages as JSON for the way back.
func EncodeMessages(messages []Message) string { return encodeList(messages, maxMessages) }

// DecodeMessages parses what [EncodeMessages] made.
func DecodeMessages(s string) ([]Message, error) { return decodeList[Message](s, maxMessages) }

func encodeList[T any](list []T, limit int) string {
	list = list[:min(len(list), limit)]
	for len(list) > 0 {
		b, err := json.Marshal(list)
		if err != nil {
			return "" // strings and nothing else: can't happen
		}
		if s := asciiJSON(b); len(s) <= maxReturnBytes {
			return s
		}
		list = list[:len(list)-1]
	}
	return ""
}

// asciiJSON escapes everything beyond ASCII, which in JSON can only stand inside strings.
func asciiJSON(b []byte) string {
	ascii := true
	for _, c := range b {
		ascii = ascii && c < 0x7f
	}
	if ascii {
		return string(b)
	}
	var sb strings.Builder
	for _, r := range string(b) {
		switch {
		case r < 0x7f:
			sb.WriteByte(byte(r))
		case r <= 0xffff:
			fmt.Fprintf(&sb, `\u%04x`, r)
		default: // a surrogate pair, RFC 8259 section 7
			r -= 0x10000
			fmt.Fprintf(&sb, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		}
	}
	return sb.String()
}

func decodeList[T any](s string, limit int) ([]T, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > maxReturnBytes {
		return nil, fmt.Errorf("list of %d bytes, at most %d are read", len(s), maxReturnBytes)
	}
	var list []T
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, fmt.Errorf("malformed list %q: %w", clip(s), err)
	}
	return list[:min(len(list), limit)], nil
}

// recorder collects, for one arrival, the hop itself, the hops below it and the messages sent. Calls made at once append
// in the order in which they return.
type recorder struct {
	mu       sync.Mutex
	hops     []Hop
	messages []Message
}

func (r *recorder) add(hops []Hop, messages []Message) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hops = append(r.hops, hops[:min(len(hops), max(0, maxHops-len(r.hops)))]...)
	r.messages = append(r.messages, messages[:min(len(messages), max(0, maxMessages-len(r.messages)))]...)
}

func (r *recorder) copy() ([]Hop, []Message) {
	if r == nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Hop(nil), r.hops...), append([]Message(nil), r.messages...)
}

// Chain returns what is known in ctx of the chain so far: this service's own hop first, then the hops below it, and the
// messages they sent. Outside of an arrival both are empty.
func Chain(ctx context.Context) ([]Hop, []Message) { return metaFrom(ctx).recorder.copy() }

// RecordMessage notes in ctx's chain that a message was sent. Producers' wrappers call it.
func RecordMessage(ctx context.Context, m Message) { metaFrom(ctx).recorder.add(nil, []Message{m}) }
