// Package verdict judges one loop by what is known of the world: which lanes are listed, who of them lives, and who handles a
// lane's messages. It quotes what is missing or wrong; where nothing is, the loop is closed. A [Ledger] judges the messages of a
// whole history, from journals, and needs no world. Neither touches a server or a clock.
package verdict

import (
	"slices"

	"github.com/graychain/graychain/pkg/graylib"
)

// World is what the judge holds for true. It isn't changed by judging.
type World struct {
	Lanes    map[graylib.Tag]Lane
	Consumer Consumer
}

// Lane is one lane: whether the rules list it, and which services have a live instance in it.
type Lane struct {
	Listed bool
	Live   map[string]bool
	// Mode says who handles this lane's messages, for the world's consumer.
	Mode graylib.Mode
}

// Consumer is the service that consumes the chain's messages, and its base group.
type Consumer struct {
	Service string // e.g. "a"
	Group   string // e.g. "test-a"
}

// Instance returns the own tag of the instances that a request tagged tag must reach in a service (G1, G2).
func (w World) Instance(service string, tag graylib.Tag) graylib.Tag {
	if tag != graylib.Untagged && w.Lanes[tag].Live[service] {
		return tag
	}
	return graylib.Untagged
}

// Consumption is one environment that must handle a message once.
type Consumption struct {
	Tag   graylib.Tag // the consumers' own
	Group string      // empty: any of the environment's groups
}

// Consumptions returns who must handle a message tagged tag (design/messages.md). An empty answer: it waits, nobody may.
func (w World) Consumptions(tag graylib.Tag) []Consumption { return w.consumptions(tag, false) }

// consumptions is Consumptions; with broadcast that of a group in which each instance gets each message: it has no
// <group>__tagged, and no stand-ins, for the baseline's instances have the lane's messages in <group>.
func (w World) consumptions(tag graylib.Tag, broadcast bool) []Consumption {
	c := w.Consumer
	base := Consumption{graylib.Untagged, c.Group}
	if tag == graylib.Untagged {
		return []Consumption{base}
	}
	own := Consumption{tag, c.Group + graylib.GroupLaneInfix + string(tag)}
	baseline, standIn := Consumption{graylib.Untagged, c.Group + graylib.GroupTaggedSuffix}, Consumption{graylib.Untagged, own.Group}
	if broadcast {
		baseline, standIn = base, base
	}
	lane := w.Lanes[tag]
	if !lane.Listed || !tag.Valid() {
		return []Consumption{baseline} // a stray
	}
	live := lane.Live[c.Service]
	switch {
	case !live && lane.Mode == graylib.ModeIgnore:
		return nil
	case !live:
		return []Consumption{standIn}
	case lane.Mode == graylib.ModeAuto, lane.Mode == graylib.ModeIgnore:
		return []Consumption{own}
	}
	return []Consumption{own, baseline}
}

// mayToo tells whether somebody may handle a message who needn't: where a group broadcasts, the baseline does when it is in doubt
// whether the lane's instances have it.
func (w World) mayToo(e graylib.Event, tag graylib.Tag) bool {
	return e.Broadcast && e.Tag == graylib.Untagged && e.Group == w.Consumer.Group && w.Lanes[tag].Mode != graylib.ModeIgnore
}

// Want is what was asked for: the judge holds the loop against it.
type Want struct {
	Tag      graylib.Tag // that the request must have from its first callee on
	Services []string    // the chain behind the gateway, in order; nil = whatever was reached
	Messages int         // how many messages the chain must send; negative = whatever was sent
	// Consuming is the chain of each consumption, in order, the consumer first; nil = whatever was reached.
	Consuming []string
}

// ForPath returns what the reference chain does for a path at the gateway (DESIGN.md, "The chain"), for a request with the
// given tag. Paths that it doesn't know are judged by what they reached.
func ForPath(path string, tag graylib.Tag) Want {
	want := Want{Tag: tag, Messages: 0, Consuming: []string{"a", "b", "c"}}
	switch path {
	case "/A/dubbo", "/A/rpc":
		want.Services, want.Messages = []string{"a", "b", "c"}, 1
	case "/A/stream", "/A/a":
		want.Services = []string{"a", "b", "c"}
	case "/B/b":
		want.Services = []string{"b", "c"}
	case "/C/c":
		want.Services = []string{"c"}
	default:
		want.Messages = -1
	}
	return want
}

// Tags returns the lanes' tags in order.
func (w World) Tags() []graylib.Tag {
	var tags []graylib.Tag
	for t := range w.Lanes {
		tags = append(tags, t)
	}
	slices.Sort(tags)
	return tags
}
