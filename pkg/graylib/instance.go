package graylib

import "math"

// Instance is one endpoint of a service in the registry.
type Instance struct {
	ID      string  // unique; the registry's, or the instance's own name
	Service string  // as registered, e.g. "b" or "b.rpc"
	Addr    string  // host:port
	Tag     Tag     // own tag; Untagged = baseline
	Weight  float64 // relative; 1 = normal, <= 0 = gets nothing
	Zone    string  // where it stands; empty = unknown
}

// Reason says why a hop's instance was chosen (design/wire.md).
type Reason string

// The reasons.
const (
	ReasonLane          Reason = "lane"                     // tagged request, instance of its lane
	ReasonBaseline      Reason = "baseline"                 // untagged request, baseline
	ReasonNoInstance    Reason = "fallback: no instance"    // the lane has no live instance here
	ReasonConnectFailed Reason = "fallback: connect failed" // the lane's instances refused the connection
	ReasonEjected       Reason = "fallback: ejected"        // the lane's instances are ejected
	ReasonTimedOut      Reason = "fallback: timed out"      // the lane's instances didn't answer a call that may be repeated
)

// reasonCode is a reason in one byte: every call and arrival has room for some.
type reasonCode uint8

const (
	codeNone reasonCode = iota
	codeLane
	codeBaseline
	codeNoInstance
	codeConnectFailed
	codeEjected
	codeTimedOut
)

var reasonTexts = [...]Reason{
	codeLane: ReasonLane, codeBaseline: ReasonBaseline, codeNoInstance: ReasonNoInstance,
	codeConnectFailed: ReasonConnectFailed, codeEjected: ReasonEjected, codeTimedOut: ReasonTimedOut,
}

// codeOf returns the code of a reason; that of one which isn't known is codeNone.
func codeOf(r Reason) reasonCode {
	for code := range reasonTexts {
		if reasonTexts[code] == r {
			return reasonCode(code)
		}
	}
	return codeNone
}

func (c reasonCode) reason() Reason { return reasonTexts[c] }

// Choose returns the instances that a request with the given tag may reach, and why: those of the tag's lane, or the
// baseline's where the lane has none (G1); for an untagged request the baseline's alone (G2). It is a pure function and
// doesn't change instances. It says what is promised, and is what tests and tools compare with: calls are made by [Call.Next], which
// has the same answers precomputed, leaves ejected instances out and prefers the own zone's.
func Choose(instances []Instance, tag Tag) ([]Instance, Reason) {
	var lane, baseline []Instance
	for _, in := range instances {
		switch {
		case !routable(in):
		case in.Tag == Untagged:
			baseline = append(baseline, in)
		case in.Tag == tag:
			lane = append(lane, in)
		}
	}
	switch {
	case tag == Untagged:
		return baseline, ReasonBaseline
	case len(lane) > 0:
		return lane, ReasonLane
	default:
		return baseline, ReasonNoInstance
	}
}

// routable tells whether an instance may be chosen at all: it has an address, takes traffic, and its tag is well formed
// (an instance registered with a malformed tag is not routed to).
func routable(in Instance) bool {
	return in.Addr != "" && in.Weight > 0 && !math.IsNaN(in.Weight) && !math.IsInf(in.Weight, 0) && in.Tag.Valid()
}
