package grayhertz

import (
	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/pkg/graylib"
)

// headerLines is what Hertz's headers of requests and responses have in common.
type headerLines interface {
	Get(key string) string
	GetAll(key string) []string
	Set(key, value string)
	Del(key string)
	VisitAll(f func(key, value []byte))
	IsDisableNormalizing() bool
}

// headerCarrier is graylib's Carrier, HeaderStripper and HeaderValues over headers. Where names are not normalized (client and
// server have an option for it), Hertz compares them byte by byte; here they are found in any case all the same.
type headerCarrier[H headerLines] struct{ h H }

type (
	requestCarrier  = headerCarrier[*protocol.RequestHeader]
	responseCarrier = headerCarrier[*protocol.ResponseHeader]
)

// Get implements graylib.Carrier.
func (c headerCarrier[H]) Get(key string) string {
	if v := c.h.Get(key); v != "" || !c.h.IsDisableNormalizing() {
		return v
	}
	if all := c.Values(key); len(all) > 0 {
		return all[0]
	}
	return ""
}

// Set implements graylib.Carrier.
func (c headerCarrier[H]) Set(key, value string) {
	if value == "" || c.h.IsDisableNormalizing() {
		c.Remove(key)
	}
	if value != "" {
		c.h.Set(key, value)
	}
}

// Values implements graylib.HeaderValues.
func (c headerCarrier[H]) Values(name string) (values []string) {
	if !c.h.IsDisableNormalizing() {
		return c.h.GetAll(name)
	}
	c.h.VisitAll(func(key, value []byte) {
		if graylib.SameHeader(string(key), name) {
			values = append(values, string(value))
		}
	})
	return values
}

// Remove implements graylib.HeaderStripper.
func (c headerCarrier[H]) Remove(name string) {
	c.h.Del(name)
	if !c.h.IsDisableNormalizing() {
		return
	}
	var spelled []string
	c.h.VisitAll(func(key, _ []byte) {
		if graylib.SameHeader(string(key), name) {
			spelled = append(spelled, string(key))
		}
	})
	for _, s := range spelled {
		c.h.Del(s)
	}
}

// Names implements graylib.HeaderStripper.
func (c headerCarrier[H]) Names(yield func(name string) bool) {
	more := true
	c.h.VisitAll(func(key, _ []byte) {
		if more {
			more = yield(string(key))
		}
	})
}
