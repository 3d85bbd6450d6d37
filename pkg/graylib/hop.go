package graylib

import "context"

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

// Chain returns what is known in ctx of the chain so far: this service's own hop first, then the hops below it, and the
// messages they sent. The hops below it, and their messages, are known where somebody wants them, see [WithHops]. Outside of
// an arrival both are empty.
func Chain(ctx context.Context) ([]Hop, []Message) { return metaFrom(ctx).arrival.Chain() }

// RecordMessage notes in ctx's chain that a message was sent. Producers' wrappers call it.
func RecordMessage(ctx context.Context, m Message) {
	metaFrom(ctx).arrival.add(nil, []Message{m})
	watchedMessage(ctx, m)
}
