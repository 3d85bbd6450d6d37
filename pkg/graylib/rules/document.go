package rules

import (
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Document is a rules document as its author wrote it, with defaults left as they are: [Compile] fills them in.
// It is made by [Parse], or in Go. A document must not be changed while it is used by several goroutines.
type Document struct {
	// Revision rises by one with each publishing, which sets it. In a file it names the revision that the author
	// edited; without it the file replaces whatever is published.
	Revision int64 `json:"revision,omitempty" jsonschema:"minimum=0"`
	// Lanes in order: the first lane with an entry that matches colours the request.
	Lanes []Lane `json:"lanes,omitempty"`
	// Messages says per consumer who handles the messages of a lane.
	Messages []Consumer `json:"messages,omitempty"`
	// Marks colour a message by what it says, when its context has no tag. The first one that matches counts.
	Marks []Mark `json:"marks,omitempty"`

	lines map[string]int // lines of the text by field, of a document that Parse made
}

// Lane is a listed lane: all instances, of any service, that bear one tag.
type Lane struct {
	// Tag of the lane's instances, requests and messages.
	Tag graylib.Tag `json:"tag" jsonschema:"required,pattern=^[a-z0-9]([-a-z0-9]{0\\,30}[a-z0-9])?$"`
	// Listed is when the lane was listed. Publishing sets it, once.
	Listed time.Time `json:"listed,omitzero"`
	// State is active, or retired: a retired lane colours nothing more, and its left-overs are consumed. Default: active.
	State graylib.LaneState `json:"state,omitempty" jsonschema:"enum=active,enum=retired,default=active"`
	// Until is set while a retired lane is being forgotten: messages stored later are no longer the lane's.
	Until time.Time `json:"until,omitzero"`
	// Propagate false chooses one callee alone by the tag and puts nothing on the wire. Default: true.
	Propagate *bool `json:"propagate,omitempty" jsonschema:"default=true"`
	// ColourFromNode gives the lane's tag to a context without a tag that starts or arrives on one of its instances.
	ColourFromNode bool `json:"colourFromNode,omitempty" jsonschema:"default=false"`
	// Entries colour a request: any entry that matches.
	Entries []Entry `json:"entries,omitempty"`
}

// Entry colours the requests to one callee that match it.
type Entry struct {
	// Name of the entry, unique in the document.
	Name string `json:"name" jsonschema:"required,minLength=1"`
	// Service is the callee whose traffic the entry governs: its name in the registry, b for both b and b.rpc.
	Service string `json:"service" jsonschema:"required,minLength=1,pattern=^[^\\s]+$"`
	// Path restricts the entry, as the callee sees it: exact, or a prefix that ends in *.
	Path string `json:"path,omitempty" jsonschema:"pattern=^/[^*]*[*]?$"`
	// Match is all (every condition holds) or any (at least one). Default: all.
	Match Match `json:"match,omitempty" jsonschema:"enum=all,enum=any,default=all"`
	// When holds the conditions.
	When []Condition `json:"when" jsonschema:"required,minItems=1"`
}

// Condition compares a value of a request or a message.
type Condition struct {
	// From is where the value comes from.
	From graylib.From `json:"from" jsonschema:"required"`
	// Key names the value in its source: a header, a query parameter, a dotted path in a JSON body, and so on.
	Key string `json:"key,omitempty" jsonschema:"minLength=1"`
	// Op compares.
	Op Op `json:"op" jsonschema:"required"`
	// Value is what is compared with, as written: one text or number, a list of them for in and not-in, none for exists.
	Value Value `json:"value,omitempty"`
}

// Value is what a condition compares with: one element, several for in and not-in, none for exists.
type Value []string

// Consumer says how one consumer's tagged messages are handled.
type Consumer struct {
	// Consumer is the consuming service.
	Consumer string `json:"consumer" jsonschema:"required,minLength=1,pattern=^[^\\s]+$"`
	// Group narrows the entry to one consumer group, as the application names it. The most specific entry wins; a group
	// is more specific than a topic.
	Group string `json:"group,omitempty" jsonschema:"minLength=1,pattern=^[^\\s]+$"`
	// Topic narrows the entry to one topic.
	Topic string `json:"topic,omitempty" jsonschema:"minLength=1,pattern=^[^\\s]+$"`
	// Baseline is what the baseline does with a lane's messages.
	Baseline graylib.Mode `json:"baseline,omitempty"`
	// Ignore names the lanes whose messages the baseline leaves alone, with baseline: ignore. The others are in the
	// default mode.
	Ignore []graylib.Tag `json:"ignore,omitempty" jsonschema:"minItems=1"`
	// Filter is server (SQL92 in the broker) or client (in the consumer, for brokers without SQL92). Default: server.
	Filter graylib.Filter `json:"filter,omitempty" jsonschema:"enum=server,enum=client,default=server"`
}

// Mark writes a tag onto the messages that match it.
type Mark struct {
	// Producer is the producing service.
	Producer string `json:"producer" jsonschema:"required,minLength=1,pattern=^[^\\s]+$"`
	// Topic of the message.
	Topic string `json:"topic" jsonschema:"required,minLength=1,pattern=^[^\\s]+$"`
	// Tag to write: a listed lane's.
	Tag graylib.Tag `json:"tag" jsonschema:"required,pattern=^[a-z0-9]([-a-z0-9]{0\\,30}[a-z0-9])?$"`
	// When holds the conditions; every one must hold.
	When []Condition `json:"when" jsonschema:"required,minItems=1"`
}

// Match says how the conditions of an entry are joined.
type Match string

// The ways to join conditions.
const (
	MatchAll Match = "all"
	MatchAny Match = "any"
)

// Op compares a value.
type Op string

// The operators. An absent value is false for all but [OpNotEqual] and [OpNotIn]; of several values any may match.
const (
	OpEqual    Op = "=="
	OpNotEqual Op = "!="
	OpIn       Op = "in"
	OpNotIn    Op = "not-in"
	OpPrefix   Op = "prefix"
	OpRegex    Op = "regex"   // RE2, unanchored: https://github.com/google/re2/wiki/Syntax
	OpExists   Op = "exists"  // takes no value
	OpGreater  Op = ">"       // numeric; a non-number is false
	OpLess     Op = "<"       // numeric; a non-number is false
	OpPercent  Op = "percent" // 0-100 with two decimals; see [Bucket]
)

// DefaultMode is the mode of a consumer without an entry, and of the lanes that an ignore list doesn't name.
const DefaultMode = graylib.ModeAuto

// Ops returns the operators in the order of the documentation.
func Ops() []Op {
	return []Op{OpEqual, OpNotEqual, OpIn, OpNotIn, OpPrefix, OpRegex, OpExists, OpGreater, OpLess, OpPercent}
}

// Modes returns the modes that messages[].baseline may have.
func Modes() []graylib.Mode {
	return []graylib.Mode{graylib.ModeAuto, graylib.ModeAll, graylib.ModeIgnore}
}

// EntrySources returns the sources that an entry's conditions can ask.
func EntrySources() []graylib.From {
	return []graylib.From{
		graylib.FromHeader, graylib.FromQuery, graylib.FromCookie, graylib.FromPath, graylib.FromMethod, graylib.FromIP,
		graylib.FromBody, graylib.FromMetainfo,
	}
}

// MarkSources returns the sources that a mark's conditions can ask.
func MarkSources() []graylib.From {
	return []graylib.From{graylib.FromBody, graylib.FromProperty, graylib.FromKeys}
}

// HasKey tells whether a source's values have names, so that a condition on it takes a key.
func HasKey(from graylib.From) bool {
	switch from {
	case graylib.FromPath, graylib.FromMethod, graylib.FromIP, graylib.FromKeys:
		return false
	default:
		return true
	}
}

// SourceOps returns the operators that a source can be asked with: an address has no prefix, pattern or size, CIDRs say
// it better.
func SourceOps(from graylib.From) []Op {
	if from == graylib.FromIP {
		return []Op{OpEqual, OpNotEqual, OpIn, OpNotIn, OpExists, OpPercent}
	}
	return Ops()
}

// Bool returns a pointer to b, for [Lane.Propagate] in documents made in Go.
func Bool(b bool) *bool { return &b }
