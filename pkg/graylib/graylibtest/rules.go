package graylibtest

import (
	"github.com/graychain/graychain/pkg/graylib"
)

// Rules are rules made of values and functions, as a source and as a revision at once. They are immutable while they are used.
type Rules struct {
	List       []graylib.Lane                                                        // the listed lanes
	ColourFunc func(callee string, req graylib.Request) (graylib.Decision, bool)     // nil: colours nothing
	MarkFunc   func(producer, topic string, msg graylib.Request) (graylib.Tag, bool) // nil: marks nothing
	Consume    graylib.Consumption
	ByTopic    map[string]graylib.Consumption // of single topics; the others go by Consume
}

var (
	_ graylib.Rules       = (*Rules)(nil)
	_ graylib.RulesSource = (*Rules)(nil)
)

// Revision implements [graylib.Rules]; it is always 1.
func (*Rules) Revision() int64 { return 1 }

// Colour implements [graylib.Rules].
func (r *Rules) Colour(callee string, req graylib.Request) (graylib.Decision, bool) {
	if r.ColourFunc == nil {
		return graylib.Decision{}, false
	}
	return r.ColourFunc(callee, req)
}

// Mark implements [graylib.Rules].
func (r *Rules) Mark(producer, topic string, msg graylib.Request) (graylib.Tag, bool) {
	if r.MarkFunc == nil {
		return graylib.Untagged, false
	}
	return r.MarkFunc(producer, topic, msg)
}

// Lane implements [graylib.Rules].
func (r *Rules) Lane(tag graylib.Tag) (graylib.Lane, bool) {
	for _, l := range r.List {
		if l.Tag == tag {
			return l, true
		}
	}
	return graylib.Lane{}, false
}

// Lanes implements [graylib.Rules].
func (r *Rules) Lanes() []graylib.Lane { return r.List }

// Consumption implements [graylib.Rules].
func (r *Rules) Consumption(_, _, topic string) graylib.Consumption {
	if c, ok := r.ByTopic[topic]; ok {
		return c
	}
	return r.Consume
}

// Rules implements [graylib.RulesSource].
func (r *Rules) Rules() graylib.Rules { return r }

// Status implements [graylib.RulesSource].
func (*Rules) Status() graylib.RulesStatus {
	return graylib.RulesStatus{Revision: 1, Origin: "static"}
}

// Watch implements [graylib.RulesSource]: nothing ever changes.
func (*Rules) Watch(func(graylib.Rules)) (cancel func()) { return func() {} }

// Close implements [graylib.RulesSource].
func (*Rules) Close() error { return nil }
