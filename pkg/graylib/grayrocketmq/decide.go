package grayrocketmq

import (
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// kind is which of the three sorts of group a member belongs to.
type kind int

const (
	kindBase   kind = iota // <group>: untagged messages, the baseline's
	kindTagged             // <group>__tagged: tagged messages, the baseline's view of them
	kindLane               // <group>_<tag>: one lane's messages
	kindAll                // <group> where it broadcasts: all messages, the baseline's
)

// boundaryMargin is how long before its listing a lane's boundary lies (design/messages.md): more than clocks differ and
// than a rules document takes to be in force.
const boundaryMargin = 30 * time.Second

// strayWait is how much later than a message was stored the rules must have been read that still don't list its tag, or
// still forget its lane. A lane that is being forgotten can be listed again until 30 s after its `until`
// (rules.ForgetDelay), so that by then nobody else can get the message any more.
const strayWait = 60 * time.Second

// boundary is the time from which on a lane's messages are its group's.
func boundary(l graylib.Lane) time.Time { return l.Listed.Add(-boundaryMargin) }

// Why a message was handled or skipped; events and counts name it.
const (
	reasonUntagged   = "untagged"
	reasonLane       = "lane"
	reasonRetry      = "retry"
	reasonCopy       = graylib.MessageReasonCopy
	reasonMalformed  = "stray: malformed tag"
	reasonUnlisted   = "stray: tag not listed"
	reasonEarly      = "stray: stored before the lane was listed"
	reasonForgotten  = "stray: stored after the lane was forgotten"
	reasonGuard      = "guard: not this group's"
	reasonBoundary   = "guard: stored before the lane was listed"
	reasonMode       = "mode " // and the mode
	reasonStandIn    = "mode all: a stand-in handles it"
	reasonExpression = "subscription: tag not wanted"
)

// seen is what the decision needs of a message.
type seen struct {
	tag    string    // the property as it stands on the wire; empty = untagged
	stored time.Time // by the broker
	retry  bool      // it comes from the group's own retry topic
	wanted bool      // by the application's own expression
	read   time.Time // when the rules in force were last known to be the newest; asked for where no lane owns the message
	dead   bool      // no instance of the tag's lane consumes now: stand-ins do
}

// verdict is what becomes of a message in one member.
type verdict struct {
	handle bool
	reason string
	// quiet: the group's filter in the broker would have kept it away; it is counted and not reported, for it is reported
	// by the group that it belongs to.
	quiet bool
	// wait: nobody may handle it yet; it is looked at again when the rules change.
	wait bool
}

// decide says what becomes of a message in a member's group. It is a pure function of the message and the rules in force.
// own is the tag of the lane whose group it is (kindLane).
func decide(k kind, own graylib.Tag, m seen, rules graylib.Rules, c graylib.Consumption) verdict {
	if m.retry {
		return verdict{handle: true, reason: reasonRetry} // the group in which a message failed retries it
	}
	v := verdict{}
	switch k {
	case kindBase:
		if m.tag != "" {
			return verdict{reason: reasonGuard, quiet: true}
		}
		v = verdict{handle: true, reason: reasonUntagged}
	case kindLane:
		if m.tag != string(own) {
			return verdict{reason: reasonGuard, quiet: true}
		}
		lane, ok := rules.Lane(own)
		switch {
		case !ok: // the member is about to leave: what is here is nobody's in this group any more
			return verdict{reason: reasonUnlisted, wait: true}
		case m.stored.Before(boundary(lane)):
			return verdict{reason: reasonBoundary}
		case !lane.Until.IsZero() && !m.stored.Before(lane.Until):
			return verdict{reason: reasonForgotten, wait: true} // neither handled nor skipped here: it may be listed again
		}
		v = verdict{handle: true, reason: reasonLane}
	case kindTagged:
		if m.tag == "" {
			return verdict{reason: reasonGuard, quiet: true}
		}
		v = decideTagged(m, rules, c)
	}
	if (v.handle || v.wait) && !m.wanted {
		return verdict{reason: reasonExpression}
	}
	return v
}

// decideTagged is the baseline's decision about a tagged message.
func decideTagged(m seen, rules graylib.Rules, c graylib.Consumption) verdict {
	tag, err := graylib.ParseTag(m.tag)
	if err != nil {
		return verdict{handle: true, reason: reasonMalformed}
	}
	lane, listed := rules.Lane(tag)
	switch {
	case !listed && m.read.Before(m.stored.Add(strayWait)):
		return verdict{reason: reasonUnlisted, wait: true} // its lane may have been listed just now
	case !listed:
		return verdict{handle: true, reason: reasonUnlisted}
	case m.stored.Before(boundary(lane)):
		return verdict{handle: true, reason: reasonEarly}
	case !lane.Until.IsZero() && !m.stored.Before(lane.Until) && m.read.Before(m.stored.Add(strayWait)):
		return verdict{reason: reasonForgotten, wait: true} // the lane may be listed again, and then it is the lane's
	case !lane.Until.IsZero() && !m.stored.Before(lane.Until):
		return verdict{handle: true, reason: reasonForgotten}
	}
	mode := c.Mode(tag)
	if lane.State == graylib.LaneRetired {
		mode = graylib.ModeAuto // whatever the mode says
	}
	switch {
	case mode == graylib.ModeAll && m.dead:
		return verdict{reason: reasonStandIn}
	case mode == graylib.ModeAll:
		return verdict{handle: true, reason: reasonCopy}
	}
	return verdict{reason: reasonMode + string(mode)}
}

// hopReason is why this instance is the hop of a message that it handles. live tells whether the tag's lane has a live
// consumer; it is asked only where that matters.
func hopReason(own graylib.Tag, wire string, live func(graylib.Tag) bool) graylib.Reason {
	tag, err := graylib.ParseTag(wire)
	switch {
	case err != nil || tag == graylib.Untagged:
		return graylib.ReasonBaseline
	case tag == own:
		return graylib.ReasonLane
	case live(tag):
		return graylib.ReasonBaseline // the baseline's copy beside the lane's own
	default:
		return graylib.ReasonNoInstance
	}
}
