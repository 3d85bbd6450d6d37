package graylib

import "context"

// ResultSkipped is the result of a finished message that this member acknowledged without its handler; the event's reason
// says why. No begun event precedes it.
const ResultSkipped = "skipped"

// MarkTag returns the tag that a message sent in ctx bears (design/messages.md, "Marking"): the context's own; else that of
// a mark rule for this service and the topic; else what own says, the producer's mark function (nil = none); else the
// own tag where the own lane has colourFromNode and the context never arrived from anywhere. What a
// lane with propagate: false coloured marks nothing. Of own a malformed tag, and that of a lane that isn't listed or is retired, count
// as none, are counted, and logged once each: configuration alone colours. msg is what rules can see of the message.
func (rt *Runtime) MarkTag(ctx context.Context, topic string, msg Request, own func() Tag) Tag {
	if rt.config.Disabled {
		return Untagged
	}
	m := metaFrom(ctx)
	if m.tag != Untagged {
		if m.local {
			return Untagged
		}
		return m.tag
	}
	if tag, ok := rt.Rules().Mark(rt.id.Service, topic, msg); ok {
		return tag
	}
	if own != nil {
		tag, err := ParseTag(string(own()))
		if err != nil {
			rt.malformedTag(err)
		}
		switch {
		case tag == Untagged:
		case rt.mayColour(tag):
			return tag
		default:
			rt.unlistedMark(tag)
		}
	}
	if tag, propagate := rt.nodeColour(); !m.arrived() && propagate {
		return tag
	}
	return Untagged
}

// Reasons of begun and finished messages by which histories are judged; all others are for people alone.
const (
	MessageReasonCopy      = "copy"      // begun, finished: the baseline's copy beside the lane's own (mode all)
	MessageReasonDuplicate = "duplicate" // skipped: it was handled before, as the idempotency hook's store says
)
