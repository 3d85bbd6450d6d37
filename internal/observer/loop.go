package observer

import (
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Loop is all that is known of one request: its chain, and the messages that it caused with what became of them. It is a
// copy: the reader may keep and change it.
type Loop struct {
	RequestID string         `json:"requestId"`
	Chain     *graylib.Event `json:"chain,omitempty"` // nil: not reported (yet)
	Messages  []Message      `json:"messages,omitempty"`
}

// Message is what is known of one message, by its id (the client's UNIQ_KEY). Events are in the order in which they came.
type Message struct {
	ID        string          `json:"id"`
	Topic     string          `json:"topic,omitempty"`
	Tag       graylib.Tag     `json:"tag"` // as its producer marked it
	RequestID string          `json:"requestId,omitempty"`
	Produced  []graylib.Event `json:"produced,omitempty"` // more than one: a retried send was stored twice
	Begun     []graylib.Event `json:"begun,omitempty"`
	Finished  []graylib.Event `json:"finished,omitempty"`
}

// Handled returns the ends of the message's successful deliveries: those that a handler acknowledged.
func (m Message) Handled() []graylib.Event { return m.withResult(graylib.ResultSuccess) }

// Skipped returns the ends of deliveries to members that, by their guard or mode, gave the message to no handler.
func (m Message) Skipped() []graylib.Event { return m.withResult(graylib.ResultSkipped) }

func (m Message) withResult(result string) []graylib.Event {
	var out []graylib.Event
	for _, e := range m.Finished {
		if e.Result == result {
			out = append(out, e)
		}
	}
	return out
}

// Sent returns when the message was stored, or the zero time where no producer reported it.
func (m Message) Sent() time.Time {
	if len(m.Produced) == 0 {
		return time.Time{}
	}
	return m.Produced[0].Time
}

// End returns when the last thing known of the loop happened; the zero time where nothing is known.
func (l Loop) End() time.Time {
	var end time.Time
	later := func(e graylib.Event) {
		if e.Time.After(end) {
			end = e.Time
		}
	}
	if l.Chain != nil {
		later(*l.Chain)
	}
	for _, m := range l.Messages {
		for _, e := range m.Produced {
			later(e)
		}
		for _, e := range m.Handled() {
			later(e)
		}
	}
	return end
}
