package graylib

import (
	"context"
	"net/http"
)

// Carrier is what one boundary offers for carrying values: headers, metainfo, message properties. Keys are the
// boundary's own names, from one of the [Keys] values.
type Carrier interface {
	// Get returns the value of key, or "" where there is none. The string is kept: it must not be a view of a buffer that is
	// used again.
	Get(key string) string
	// Set writes the value of key in place of an older one; an empty value removes the key.
	Set(key, value string)
}

// MapCarrier carries values in a map.
type MapCarrier map[string]string

// Get implements [Carrier].
func (c MapCarrier) Get(key string) string { return c[key] }

// Set implements [Carrier].
func (c MapCarrier) Set(key, value string) {
	if value == "" {
		delete(c, key)
		return
	}
	c[key] = value
}

// HeaderCarrier carries values in the headers of net/http. Of several values of a header the first counts.
type HeaderCarrier http.Header

// canonicalHeaders are our header names as net/http keys them; making that form anew allocates each time.
var canonicalHeaders = func() map[string]string {
	m := make(map[string]string)
	k := HTTPKeys
	for _, name := range []string{k.Baggage, HTTPSignedTag, k.Tag, k.Reason, k.RequestID, k.TraceParent, k.TraceState, k.Hops, k.Messages} {
		m[name] = http.CanonicalHeaderKey(name)
	}
	return m
}()

func canonicalHeader(key string) string {
	if name, ok := canonicalHeaders[key]; ok {
		return name
	}
	return http.CanonicalHeaderKey(key)
}

// Get implements [Carrier].
func (c HeaderCarrier) Get(key string) string {
	if v := c[canonicalHeader(key)]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements [Carrier].
func (c HeaderCarrier) Set(key, value string) {
	name := canonicalHeader(key)
	if value == "" {
		delete(c, name)
		return
	}
	c[name] = []string{value}
}

// Values implements [HeaderValues].
func (c HeaderCarrier) Values(key string) []string {
	name := canonicalHeader(key)
	v := c[name]
	if raw := c[key]; key != name && len(raw) > 0 { // a name that isn't in net/http's form, as some code puts it there
		return append(v[:len(v):len(v)], raw...)
	}
	return v
}

// Limits of what is taken from the wire; longer values are dropped as a whole. A request id of more than 128 bytes is no
// id that we made; the limits of the trace are those of the specification (traceparent is 55 bytes in version 00, and
// tracestate may be cut off beyond 512: https://www.w3.org/TR/trace-context/#tracestate-limits).
const (
	maxRequestID   = 128
	maxTraceParent = 128
	maxTraceState  = 512
)

// Inject writes what ctx carries into c: the tag (and removes an older one where ctx has none: the context is the
// truth; so too where the own lane coloured it and says propagate: false), the request id, and the trace unless c has one
// already (a tracer with a span of its own knows better).
func Inject(ctx context.Context, keys Keys, c Carrier) {
	m := metaFrom(ctx)
	tag := m.tag
	if m.local {
		tag = Untagged
	}
	inject(m, tag, &keys, c)
}

func inject(m *meta, tag Tag, keys *Keys, c Carrier) {
	if tag != Untagged || c.Get(keys.Tag) != "" {
		c.Set(keys.Tag, string(tag))
	}
	if m.requestID != "" {
		c.Set(keys.RequestID, m.requestID)
	}
	m.injectTrace(keys, c)
}

// Extract returns ctx with what c carries. What ctx already held of tag, request id and trace is replaced, also by
// nothing: a reused context never shows an older request's tag. A malformed tag counts as untagged and is returned as
// the error, which wraps [ErrMalformedTag]; the context is good all the same.
func Extract(ctx context.Context, keys Keys, c Carrier) (context.Context, error) {
	m := &meta{arrival: metaFrom(ctx).arrival}
	v := carriedBy(&keys, c)
	err := extract(m, &v)
	return withMeta(ctx, m), err
}

// Carried is what a request bears of ours, as it stands on the wire: nothing of it is checked. See [Runtime.ArriveWith].
type Carried struct {
	Tag         string
	RequestID   string
	TraceParent string
	TraceState  string // counts only beside a TraceParent
	Reason      string
	Hops        string
}

// carriedBy returns what c carries.
func carriedBy(keys *Keys, c Carrier) (v Carried) {
	v.Tag, v.RequestID = c.Get(keys.Tag), c.Get(keys.RequestID)
	if v.TraceParent = c.Get(keys.TraceParent); v.TraceParent != "" {
		v.TraceState = c.Get(keys.TraceState)
	}
	if keys.Reason != "" {
		v.Reason = c.Get(keys.Reason)
	}
	if keys.Hops != "" {
		v.Hops = c.Get(keys.Hops)
	}
	return v
}

// extract fills m with what a request bears.
func extract(m *meta, v *Carried) (err error) {
	m.tag, err = ParseTag(v.Tag)
	if v.RequestID != "" {
		m.requestID = printable(v.RequestID, maxRequestID)
	}
	if v.TraceParent != "" && traceID(v.TraceParent) != "" {
		m.traceParent = v.TraceParent
		if state := printable(v.TraceState, maxTraceState); state != "" {
			m.trace = &furtherTrace{state: state}
		}
	}
	return err
}
