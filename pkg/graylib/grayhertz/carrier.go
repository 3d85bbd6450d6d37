package grayhertz

import (
	"github.com/cloudwego/hertz/pkg/protocol"
)

// requestCarrier is graylib's Carrier and HeaderStripper over a request's headers.
type requestCarrier struct{ h *protocol.RequestHeader }

func (c requestCarrier) Get(key string) string { return c.h.Get(key) }

func (c requestCarrier) Set(key, value string) {
	if value == "" {
		c.h.Del(key)
		return
	}
	c.h.Set(key, value)
}

func (c requestCarrier) Remove(name string) { c.h.Del(name) }

func (c requestCarrier) Names(yield func(name string) bool) {
	more := true
	c.h.VisitAll(func(key, _ []byte) {
		if more {
			more = yield(string(key))
		}
	})
}

// responseCarrier is graylib's Carrier over a response's headers.
type responseCarrier struct{ h *protocol.ResponseHeader }

func (c responseCarrier) Get(key string) string { return c.h.Get(key) }

func (c responseCarrier) Set(key, value string) {
	if value == "" {
		c.h.Del(key)
		return
	}
	c.h.Set(key, value)
}
