package graylib

import (
	"context"
	"sync"
	"sync/atomic"
)

// others are the carriers beside our own key: W3C baggage, and the keys of other systems. A runtime without any has nil.
type others struct {
	baggage bool
	presets []preset

	disagreements atomic.Int64 // carriers that said something else than the one that counted
	baggageFull   atomic.Int64 // tags that found no room in a baggage header
	logDisagree   sync.Once
	logFull       sync.Once
}

// WithBaggage makes the tag travel in W3C baggage too (https://www.w3.org/TR/baggage/), as entry gray-tag, so that services
// without graylib in between that hand baggage on keep it. The entry is read where our own key is absent, and written beside
// it; other entries stay as they are, and are not handed on from an incoming request to an outgoing one: that is a tracer's
// business. The same as GRAY_BAGGAGE=on.
func WithBaggage() Option { return func(rt *Runtime) { rt.propagation.baggage = true } }

// WithPresets switches other systems' keys on, each as in GRAY_PRESETS: mse, polaris=<lane group>, sermant=<key> or
// joylive=<lane space id>. They are read where our own key (and baggage) is absent, the first that says something counts,
// and written beside it. They are presets of HTTP and of messages; over RPC our own key is enough. They add to those of the
// configuration.
func WithPresets(presets ...string) Option {
	return func(rt *Runtime) { rt.propagation.presets = append(rt.propagation.presets, presets...) }
}

// newOthers returns nil where nothing is on.
func newOthers(baggage bool, presets []preset) *others {
	if !baggage && len(presets) == 0 {
		return nil
	}
	return &others{baggage: baggage, presets: presets}
}

// read goes through the carriers, for a request of which our own key said own (the value on the wire) and tag. It returns
// the tag that counts. An error wraps ErrMalformedTag.
func (o *others) read(rt *Runtime, own string, tag Tag, keys *Keys, c Carrier) (Tag, error) {
	var firstErr error
	have := own != ""
	consider := func(carrier, value string) {
		t, err := ParseTag(value)
		switch {
		case !have:
			tag, firstErr, have = t, err, true
		case t != tag || err != nil:
			o.disagree(rt, carrier, value, tag)
		}
	}
	if o.baggage && keys.Baggage != "" {
		if v, found := baggageValue(joined(c, keys.Baggage)); found && v != "" {
			consider(keys.Baggage, v)
		}
	}
	for i := range o.presets {
		if v, found := o.presets[i].read(keys.boundary, c); found {
			if v == "" && !have {
				continue // it says untagged, as absence does; a later one may know more
			}
			consider(o.presets[i].name, v)
		}
	}
	return tag, firstErr
}

// disagree counts a carrier that contradicts the one that counts, and logs the first.
func (o *others) disagree(rt *Runtime, carrier, value string, tag Tag) {
	o.disagreements.Add(1)
	o.logDisagree.Do(func() {
		rt.Logger().Warn("two carriers of one request or message name different tags, and the first counts "+
			"(our own key, baggage, presets in their order); further ones are counted in "+StatusPath+" and not logged",
			"carrier", carrier, "says", clip(value), "counts", tag.String())
	})
}

// write makes all carriers say what the tag says.
func (o *others) write(rt *Runtime, tag Tag, keys *Keys, c Carrier) {
	if o.baggage && keys.Baggage != "" && !writeBaggage(c, keys.Baggage, tag) {
		o.baggageFull.Add(1)
		o.logFull.Do(func() {
			rt.Logger().Warn("a baggage header has no room for the tag, which goes by its own key alone; "+
				"further ones are counted in "+StatusPath+" and not logged", "limitBytes", maxBaggageBytes, "limitMembers", maxBaggageMembers)
		})
	}
	for i := range o.presets {
		o.presets[i].write(keys.boundary, c, tag)
	}
}

// Inject is the function [Inject], and writes the carriers that are switched on beside our own key.
func (rt *Runtime) Inject(ctx context.Context, keys Keys, c Carrier) {
	m := metaFrom(ctx)
	tag := m.tag
	if m.local {
		tag = Untagged
	}
	rt.inject(m, tag, &keys, c)
}

// InjectTag is [Runtime.Inject] with another tag than ctx's: what a message was marked with.
func (rt *Runtime) InjectTag(ctx context.Context, tag Tag, keys Keys, c Carrier) {
	rt.inject(metaFrom(ctx), tag, &keys, c)
}

func (rt *Runtime) inject(m *meta, tag Tag, keys *Keys, c Carrier) {
	if rt.config.Disabled {
		tag = Untagged
	}
	inject(m, tag, keys, c)
	if rt.propagation.others != nil {
		rt.propagation.others.write(rt, tag, keys, c)
	}
}

// extract fills m with what a request bears, by whichever carrier is switched on.
func (rt *Runtime) extract(m *meta, v *Carried, keys *Keys, c Carrier) error {
	err := extract(m, v)
	if rt.config.Disabled {
		m.tag = Untagged
		return nil
	}
	if rt.propagation.others == nil {
		return err
	}
	tag, otherErr := rt.propagation.others.read(rt, v.Tag, m.tag, keys, c)
	if m.tag = tag; err == nil {
		err = otherErr
	}
	return err
}
