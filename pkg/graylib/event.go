package graylib

import "time"

// EventVersion is the version of the schema of [Event].
const EventVersion = 1

// EventKind is what an event tells.
type EventKind string

// The kinds of events.
const (
	EventChain    EventKind = "chain"    // a request's chain is complete; reported where it entered
	EventProduced EventKind = "produced" // a message was stored, as the broker acknowledged
	EventBegun    EventKind = "begun"    // a message was given to its handler
	EventFinished EventKind = "finished" // the handler has returned
)

// Event is one line of what services report to an observer (design/wire.md). Which fields are set depends on the kind.
type Event struct {
	V        int       `json:"v"`
	Kind     EventKind `json:"kind"`
	EventID  string    `json:"eventId"` // an observer takes each once
	Time     time.Time `json:"time"`
	Service  string    `json:"service"` // who reports
	Instance string    `json:"instance"`
	Tag      Tag       `json:"tag"` // the reporter's own

	RequestID string `json:"requestId,omitempty"`
	Trace     string `json:"trace,omitempty"` // W3C trace id, 32 hexadecimal digits

	// chain
	RequestTag Tag       `json:"requestTag,omitempty"`
	Status     int       `json:"status,omitempty"` // HTTP status of the answer
	Messages   []Message `json:"messages,omitempty"`

	// chain and finished: the hops caused
	Hops []Hop `json:"hops,omitempty"`

	// produced, begun, finished
	ID         string `json:"id,omitempty"` // the client's UNIQ_KEY
	Topic      string `json:"topic,omitempty"`
	Queue      string `json:"queue,omitempty"` // <broker name>/<queue number>
	MessageTag Tag    `json:"messageTag,omitempty"`

	// begun, finished
	Offset     int64  `json:"offset,omitempty"`
	Group      string `json:"group,omitempty"`
	Deliveries int    `json:"deliveries,omitempty"` // 1 = the first
	Result     string `json:"result,omitempty"`     // finished: "success", "retry", "skipped" or "panic"
	Reason     string `json:"reason,omitempty"`     // why this member handled or skipped it
	Broadcast  bool   `json:"broadcast,omitempty"`  // each instance of the group gets each message (consumer.BroadCasting)
}

// The results of a finished message.
const (
	ResultSuccess = "success"
	ResultRetry   = "retry"
	ResultPanic   = "panic"
)

// Reporter takes events. Implementations are safe for concurrent use.
type Reporter interface {
	// Report never blocks and never fails the work: what can't be taken is dropped and counted.
	Report(Event)
	// Close hands on what was taken, within a few seconds.
	Close() error
}

type discard struct{}

func (discard) Report(Event) {}
func (discard) Close() error { return nil }
