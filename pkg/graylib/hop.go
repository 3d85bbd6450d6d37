package graylib

import (
	"context"
	"slices"
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

// recorder collects, for one arrival, the hop itself, the hops below it and the messages sent. Calls made at once append
// in the order in which they return.
type recorder struct {
	own [1]Hop // set once, before the recorder is shared

	mu       sync.Mutex
	below    []Hop
	messages []Message
}

// add takes hops and messages over: the caller doesn't touch the slices again.
func (r *recorder) add(hops []Hop, messages []Message) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.below = join(r.below, hops, maxHops-1)
	r.messages = join(r.messages, messages, maxMessages)
}

// join appends of more what fits into limit.
func join[T any](list, more []T, limit int) []T {
	more = more[:min(len(more), limit-len(list))]
	if len(list) == 0 {
		return more
	}
	return append(list, more...)
}

func (r *recorder) copy() ([]Hop, []Message) {
	if r == nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Concat(r.own[:], r.below), slices.Clone(r.messages)
}

// encode returns hops and messages for the way back.
func (r *recorder) encode() (hops, messages string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return encodeLists(maxHops, appendHop, r.own[:], r.below), EncodeMessages(r.messages)
}

// Chain returns what is known in ctx of the chain so far: this service's own hop first, then the hops below it, and the
// messages they sent. Outside of an arrival both are empty.
func Chain(ctx context.Context) ([]Hop, []Message) { return metaFrom(ctx).recorder.copy() }

// RecordMessage notes in ctx's chain that a message was sent. Producers' wrappers call it.
func RecordMessage(ctx context.Context, m Message) {
	metaFrom(ctx).recorder.add(nil, []Message{m})
	watchedMessage(ctx, m)
}
