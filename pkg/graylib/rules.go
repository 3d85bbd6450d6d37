package graylib

import "time"

// Rules is one revision of the rules document, compiled: immutable, safe for concurrent use. Package rules makes it.
type Rules interface {
	// Revision of the document; 0 where there is none.
	Revision() int64
	// Colour evaluates the callee's entries on a request that has no tag; false where none matches. Callees are named as
	// in the rules: b, not b.rpc.
	Colour(callee string, req Request) (Decision, bool)
	// Mark evaluates the mark rules on a message whose context has no tag; false where none matches.
	Mark(producer, topic string, msg Request) (Tag, bool)
	// Lane returns the listed lane with the tag.
	Lane(tag Tag) (Lane, bool)
	// Lanes returns all listed lanes in the document's order. The slice must not be changed.
	Lanes() []Lane
	// Consumption returns what the most specific entry of messages says of a consumer.
	Consumption(service, group, topic string) Consumption
}

// Decision is what colouring came to.
type Decision struct {
	Tag       Tag
	Entry     string // the entry's name
	Propagate bool   // false: this callee alone is chosen by the tag; nothing is put on the wire
}

// LaneState is where a lane is in its life.
type LaneState string

// The states of a lane.
const (
	LaneActive  LaneState = "active"
	LaneRetired LaneState = "retired" // colours nothing more; left-overs are consumed
)

// Lane is a listed lane.
type Lane struct {
	Tag            Tag
	Listed         time.Time // when it was listed
	State          LaneState
	Until          time.Time // set while it is being forgotten
	Propagate      bool
	ColourFromNode bool
}

// Mode says who handles a lane's messages (design/messages.md).
type Mode string

// The modes.
const (
	ModeAuto   Mode = "auto"   // the lane while it is live, stand-ins while it is not
	ModeIgnore Mode = "ignore" // the lane alone
	ModeAll    Mode = "all"    // the lane, and the baseline a copy of each
)

// Filter says where messages are filtered.
type Filter string

// The filters.
const (
	FilterServer Filter = "server" // SQL92 in the broker
	FilterClient Filter = "client" // in the consumer, for brokers without SQL92
)

// Consumption is how one consumer's tagged messages are handled.
type Consumption struct {
	Baseline Mode
	Ignore   []Tag // with ModeIgnore: these lanes; the others are in Default
	Default  Mode  // the mode of lanes that Ignore doesn't name
	Filter   Filter
}

// Mode returns the mode of one lane for this consumer.
func (c Consumption) Mode(tag Tag) Mode {
	if c.Baseline != ModeIgnore {
		return c.Baseline
	}
	for _, t := range c.Ignore {
		if t == tag {
			return ModeIgnore
		}
	}
	return c.Default
}

// From names where a condition takes its value.
type From string

// The sources of values.
const (
	FromHeader   From = "header"
	FromQuery    From = "query"
	FromCookie   From = "cookie"
	FromPath     From = "path"
	FromMethod   From = "method"
	FromIP       From = "ip"
	FromBody     From = "body"     // a field of a JSON body, by its dotted path
	FromMetainfo From = "metainfo" // RPC alone
	FromProperty From = "property" // messages alone
	FromKeys     From = "keys"     // messages alone
)

// MaxBody is how many bytes of a request's body rules can see; a longer one counts as absent, and is handed on whole. 1 MiB of JSON is
// parsed in some milliseconds, which is about what a rule may cost at all. Marks see a message's whole body: brokers bound it
// (maxMessageSize, 4 MiB by default).
const MaxBody = 1 << 20

// Request is what rules can see of a request or a message. Adapters implement it over what they hold, without copying.
// It is used by one goroutine, and a returned string is valid until the evaluation ends.
type Request interface {
	// Value returns the i-th value of key in a source, and false beyond the last. Sources without a key (path, method, ip)
	// ignore it. A source that this kind of request doesn't have has no values.
	Value(from From, key string, i int) (string, bool)
	// Body returns the whole body where it can be read and has at most [MaxBody] bytes, else nil. It is called only where a rule needs
	// the body; the adapter hands the body on whole.
	Body() []byte
}

// RulesStatus tells where the rules in force come from.
type RulesStatus struct {
	Revision int64     `json:"revision"`
	Origin   string    `json:"origin"`            // "nacos", "disk", "static" or "none"
	ReadAt   time.Time `json:"readAt,omitzero"`   // when the config centre last answered with the document in force
	Refusal  string    `json:"refusal,omitzero"`  // why the newest document was refused; empty = it wasn't
	Refusals int64     `json:"refusals,omitzero"` // since the start; one that is read again and refused for the same reason counts once
}

// RulesSource holds the last good rules document. Implementations are safe for concurrent use.
type RulesSource interface {
	// Rules returns the document in force, never nil: NoRules before a first one is known. It never blocks.
	Rules() Rules
	// Status tells where it comes from.
	Status() RulesStatus
	// Watch calls fn after each change of the document in force, until cancel is called. fn must not block.
	Watch(fn func(Rules)) (cancel func())
	// Close ends the reading.
	Close() error
}

// NoRules lists no lane and colours nothing.
var NoRules Rules = noRules{}

type noRules struct{}

func (noRules) Revision() int64                          { return 0 }
func (noRules) Colour(string, Request) (Decision, bool)  { return Decision{}, false }
func (noRules) Mark(string, string, Request) (Tag, bool) { return Untagged, false }
func (noRules) Lane(Tag) (Lane, bool)                    { return Lane{}, false }
func (noRules) Lanes() []Lane                            { return nil }
func (noRules) Consumption(string, string, string) Consumption {
	return Consumption{Baseline: ModeAuto, Default: ModeAuto, Filter: FilterServer}
}

// StaticRules returns a source whose rules never change, for tests and for programs that keep rules in a file.
// A nil r is [NoRules].
func StaticRules(r Rules) RulesSource {
	if r == nil {
		r = NoRules
	}
	return staticRules{r}
}

type staticRules struct{ rules Rules }

func (s staticRules) Rules() Rules { return s.rules }
func (s staticRules) Status() RulesStatus {
	return RulesStatus{Revision: s.rules.Revision(), Origin: "static"}
}
func (staticRules) Watch(func(Rules)) (cancel func()) { return func() {} }
func (staticRules) Close() error                      { return nil }
