package verdict

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/pkg/graylib"
)

// Finding is one thing that is missing or wrong.
type Finding struct {
	Promise string `json:"promise,omitempty"` // e.g. "G1 routing", where one of DESIGN.md's is broken
	Text    string `json:"text"`
	// Hop is the index of the hop that it is about, in the chain's hops or those of the consumption; -1 = none.
	Hop int `json:"hop"`
	// EventID names the finished event whose hops are meant; empty = the request's chain.
	EventID string `json:"eventId,omitempty"`
	// Missing tells that something is not there yet: waiting longer may bring it.
	Missing bool `json:"missing,omitempty"`
}

// String returns the text, with the promise quoted.
func (f Finding) String() string {
	if f.Promise == "" {
		return f.Text
	}
	return "broke " + f.Promise + ": " + f.Text
}

// Verdict is what the judge says of one loop.
type Verdict struct {
	Closed   bool      `json:"closed"`
	Findings []Finding `json:"findings,omitempty"` // empty where the loop is closed
}

// String returns "closed", or all findings, one a line.
func (v Verdict) String() string {
	if v.Closed {
		return "closed"
	}
	var lines []string
	for _, f := range v.Findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// The promises that a single loop can break (DESIGN.md).
const (
	g1 = "G1 routing"
	g2 = "G2 isolation"
	g3 = "G3 propagation"
	g4 = "G4 closed loop"
	g5 = "G5 nothing lost"
	g6 = "G6 nothing twice"
)

// Judge holds a loop against what was wanted in a world. waited is how long was waited for it; it is quoted only. A loop is
// closed where every hop is in its place, and every message was handled by whom it should be, once, in a chain whose hops
// are in their places too. What counts as handled, and where once is, is as in the [Ledger]: where a group broadcasts, each
// instance of the environment may have the message once, and one must. That a crash excuses a repeat only the ledger knows.
func Judge(l observer.Loop, want Want, w World, waited time.Duration) Verdict {
	j := judge{world: w, want: want, waited: waited}
	j.chain(l)
	for _, m := range l.Messages {
		j.message(m)
	}
	return Verdict{Closed: len(j.findings) == 0, Findings: j.findings}
}

// Settled tells whether waiting longer can't complete the loop: nothing is missing any more, and every member that was to
// leave a message alone has said so.
func Settled(l observer.Loop, want Want, w World) bool {
	for _, f := range Judge(l, want, w, 0).Findings {
		if f.Missing {
			return false
		}
	}
	return true
}

// Quiet tells whether, beyond [Settled], every tagged message that the baseline must leave alone was seen to be skipped by
// it: from then on a wrong consumption would be in the loop.
func Quiet(l observer.Loop, want Want, w World) bool {
	if !Settled(l, want, w) {
		return false
	}
	for _, m := range l.Messages {
		group := w.Consumer.Group + graylib.GroupTaggedSuffix
		if broadcast(m) {
			group = w.Consumer.Group
		}
		expected := w.consumptions(m.Tag, broadcast(m))
		leaves := m.Tag != graylib.Untagged && !slices.ContainsFunc(expected, func(c Consumption) bool { return c.Tag == graylib.Untagged })
		if leaves && !slices.ContainsFunc(m.Finished, func(e graylib.Event) bool { return e.Group == group && e.Tag == graylib.Untagged }) {
			return false
		}
	}
	return true
}

type judge struct {
	world    World
	want     Want
	waited   time.Duration
	findings []Finding
}

func (j *judge) find(promise string, hop int, event string, format string, args ...any) {
	j.findings = append(j.findings, Finding{Promise: promise, Text: fmt.Sprintf(format, args...), Hop: hop, EventID: event})
}

func (j *judge) missing(promise, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if j.waited > 0 {
		text += " after " + seconds(j.waited)
	}
	j.findings = append(j.findings, Finding{Promise: promise, Text: text, Hop: -1, Missing: true})
}

// chain judges the request's own part.
func (j *judge) chain(l observer.Loop) {
	if l.Chain == nil {
		j.missing("", "request %s: its chain was reported by nobody", short(l.RequestID))
		return
	}
	c := l.Chain
	if c.Status != 0 && c.Status != http.StatusOK {
		j.find("", -1, "", "request was answered with status %d (%s)", c.Status, http.StatusText(c.Status))
	}
	hops := c.Hops
	first := 0
	if len(hops) > 0 && hops[0].Service == gateway {
		first = 1 // it is where colouring begins: its own hop is untagged
	}
	j.hops(hops, first, j.want.Tag, "request", "")
	j.route(hops[min(first, len(hops)):], j.want.Services, "request", "")
	if n := len(l.Messages); j.want.Messages >= 0 && n != j.want.Messages {
		switch {
		case n < j.want.Messages:
			j.missing("", "%s sent, want %d", count(n, "message was", "messages were"), j.want.Messages)
		default:
			j.find("", -1, "", "%s sent, want %d", count(n, "message was", "messages were"), j.want.Messages)
		}
	}
}

const gateway = "gateway"

// hops judges who was reached, and that the tag stayed: hops from index first on belong to a request tagged tag.
func (j *judge) hops(hops []graylib.Hop, first int, tag graylib.Tag, what, event string) {
	for i := first; i < len(hops); i++ {
		h := hops[i]
		if h.RequestTag != tag {
			from := "the client"
			if i > 0 {
				from = Name(hops[i-1].Service, hops[i-1].Tag)
			}
			j.find(g3, i, event, "%s reached %s as %s though it is %s: the tag changed on the way from %s",
				what, Name(h.Service, h.Tag), tagged(h.RequestTag), tagged(tag), from)
		}
		want := j.world.Instance(h.Service, tag)
		if h.Protocol == graylib.ProtocolMQ {
			continue // who consumes is judged by the message's rules
		}
		switch {
		case h.Tag == want:
			j.reason(h, i, tag, what, event)
		case tag == graylib.Untagged:
			j.find(g2, i, event, "untagged %s reached %s", what, Name(h.Service, h.Tag))
		case h.Tag == graylib.Untagged:
			j.find(g1, i, event, "%s reached %s although lane %s has a live one%s", what, Name(h.Service, h.Tag), tag, because(h.Reason))
		case h.Tag == tag:
			j.find(g1, i, event, "%s reached %s, which should not be live", what, Name(h.Service, h.Tag))
		default:
			j.find(g1, i, event, "%s tagged %s reached %s, of another lane", what, tag, Name(h.Service, h.Tag))
		}
	}
}

// reason judges the reason of a hop that is in its place.
func (j *judge) reason(h graylib.Hop, i int, tag graylib.Tag, what, event string) {
	var ok bool
	switch {
	case tag == graylib.Untagged:
		ok = h.Reason == graylib.ReasonBaseline
	case h.Tag == tag:
		ok = h.Reason == graylib.ReasonLane
	default:
		ok = strings.HasPrefix(string(h.Reason), "fallback: ")
	}
	if !ok {
		j.find("", i, event, "%s reached %s for the reason %q, which does not fit", what, Name(h.Service, h.Tag), h.Reason)
	}
}

func because(r graylib.Reason) string {
	if strings.HasPrefix(string(r), "fallback: ") {
		return " (" + string(r) + ")"
	}
	return ""
}

// route judges that a chain went where it should.
func (j *judge) route(hops []graylib.Hop, want []string, what, event string) {
	if want == nil {
		return
	}
	var got []string
	for _, h := range hops {
		got = append(got, h.Service)
	}
	switch {
	case slices.Equal(got, want):
	case len(got) == 0:
		j.find("", -1, event, "%s reached nobody, want %s", what, path(want))
	case len(got) < len(want) && slices.Equal(got, want[:len(got)]):
		j.find("", len(got)-1, event, "%s went no further than %s, want %s", what, strings.ToUpper(got[len(got)-1]), path(want))
	default:
		j.find("", -1, event, "%s went %s, want %s", what, path(got), path(want))
	}
}

// message judges one message: its mark, who handled it and how often, and the chains that it caused.
func (j *judge) message(m observer.Message) {
	id := short(m.ID)
	if m.Tag != j.want.Tag {
		j.find(g3, -1, "", "message %s is %s though its request is %s", id, marked(m.Tag), tagged(j.want.Tag))
	}
	if len(m.Produced) == 0 {
		j.missing("", "message %s was reported by no producer", id)
	} else if len(m.Produced) > 1 {
		j.find("", -1, "", "message %s was stored %d times: its send was tried again, and each is a message", id, len(m.Produced))
	}
	events := deliveries(m)
	expected := j.world.consumptions(m.Tag, broadcast(m))
	if all := tallied(events, nil); !all.done() && len(expected) > 0 {
		j.unhandled(m, all)
	} else {
		for _, c := range expected {
			j.consumption(m, c, events)
		}
		j.twice(m, Consumption{graylib.Untagged, j.world.Consumer.Group}, events, func(e graylib.Event) bool {
			return j.world.mayToo(e, m.Tag) && !slices.ContainsFunc(expected, func(c Consumption) bool { return c.takes(e) })
		})
	}
	for _, e := range m.Handled() {
		if !slices.ContainsFunc(expected, func(c Consumption) bool { return c.takes(e) }) && !j.world.mayToo(e, m.Tag) {
			j.stranger(m, e, expected)
		}
		j.consuming(m, e)
	}
	for _, e := range m.Begun { // by whom it must not even be begun
		promise := misplaced(e, m.Tag)
		ended := slices.ContainsFunc(m.Handled(), func(h graylib.Event) bool { return h.Instance == e.Instance && h.Group == e.Group })
		if promise != "" && !ended { // else it has been found above
			j.find(promise, -1, e.EventID, "message %s %s was begun by %s%s", id, marked(m.Tag), Name(e.Service, e.Tag), inGroup(e.Group))
		}
	}
}

// unhandled finds that nobody handled a message. Waiting may mend that, except where it failed and nothing is retried.
func (j *judge) unhandled(m observer.Message, in tallies) {
	if _, failed, broadcast := in.sum(); broadcast && failed > 0 {
		j.find("", -1, "", "message %s %s was consumed by nobody%s, and where a group broadcasts nothing is retried", short(m.ID), marked(m.Tag), stuck(m))
		return
	}
	j.missing(g5, "message %s %s was consumed by nobody%s", short(m.ID), marked(m.Tag), stuck(m))
}

// broadcast tells whether a message went to a group that broadcasts.
func broadcast(m observer.Message) bool {
	return slices.ContainsFunc(deliveries(m), func(e graylib.Event) bool { return e.Broadcast })
}

// deliveries returns what was reported of a message's deliveries, oldest first.
func deliveries(m observer.Message) []graylib.Event {
	events := slices.Concat(m.Begun, m.Finished)
	slices.SortStableFunc(events, func(a, b graylib.Event) int { return a.Time.Compare(b.Time) })
	return events
}

// takes tells whether an event is of this consumption.
func (c Consumption) takes(e graylib.Event) bool {
	return e.Tag == c.Tag && (c.Group == "" || e.Group == c.Group)
}

// consumption judges whether one environment handled a message, and how often.
func (j *judge) consumption(m observer.Message, c Consumption, events []graylib.Event) {
	if !tallied(events, c.takes).done() {
		promise := g5
		if c.Tag != graylib.Untagged {
			promise = g4
		}
		j.missing(promise, "message %s %s was not consumed by %s%s", short(m.ID), marked(m.Tag), Name(j.world.Consumer.Service, c.Tag), inGroup(c.Group))
	}
	j.twice(m, c, events, c.takes)
}

// twice finds that one environment handled a message too often in one place, by those of the events that are of it.
func (j *judge) twice(m observer.Message, c Consumption, events []graylib.Event, of func(graylib.Event) bool) {
	by, all := tallied(events, of), tallied(events, nil)
	for _, p := range slices.SortedFunc(maps.Keys(by), place.compare) {
		if n := by[p].handled; n > copies(len(m.Produced), events, p.group)+all.moved(p, m.Tag, len(m.Produced), events, nil) {
			at := ""
			if p.instance != "" {
				at = " at " + p.instance
			}
			j.find(g6, -1, "", "message %s was consumed %d times by %s%s%s", short(m.ID), n, Name(j.world.Consumer.Service, c.Tag), at, inGroup(c.Group))
		}
	}
}

// stranger finds a consumption by somebody who should have left the message alone.
func (j *judge) stranger(m observer.Message, e graylib.Event, expected []Consumption) {
	who := Name(e.Service, e.Tag)
	switch {
	case misplaced(e, m.Tag) == g2:
		j.find(g2, -1, e.EventID, "untagged message %s was consumed by %s", short(m.ID), who)
	case e.Tag == graylib.Untagged && j.world.Lanes[m.Tag].Mode == graylib.ModeIgnore:
		j.find(g4, -1, e.EventID, "message %s %s was consumed by %s, which ignores that lane", short(m.ID), marked(m.Tag), who)
	case len(expected) == 0:
		j.find(g4, -1, e.EventID, "message %s %s was consumed by %s, though nobody may", short(m.ID), marked(m.Tag), who)
	default:
		j.find(g4, -1, e.EventID, "message %s %s was consumed by %s%s", short(m.ID), marked(m.Tag), who, inGroup(e.Group))
	}
}

// consuming judges the chain that one consumption caused.
func (j *judge) consuming(m observer.Message, e graylib.Event) {
	what := "consuming " + short(m.ID)
	j.hops(e.Hops, 0, m.Tag, what, e.EventID)
	if len(e.Hops) > 0 && (e.Hops[0].Service != e.Service || e.Hops[0].Tag != e.Tag) {
		j.find("", 0, e.EventID, "%s: the first hop is %s, but %s reported it", what, Name(e.Hops[0].Service, e.Hops[0].Tag), Name(e.Service, e.Tag))
	}
	j.route(e.Hops, j.want.Consuming, what, e.EventID)
}
