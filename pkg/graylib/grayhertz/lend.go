package grayhertz

import (
	"github.com/graychain/graychain/pkg/graylib"
)

// lending is the carrier of a request that is about to be sent. The request is the application's, which may use it again, for
// whomever: what is written here is noted, and taken off when the request was sent.
type lending departure

// lent is what has been written into a request.
type lent struct {
	names []string
	room  [6]string // for names: as many as there are without baggage and presets
	had   []header  // of the application's own, by these names
}

type header struct{ name, value string }

// Get implements [graylib.Carrier].
func (l *lending) Get(key string) string { return requestCarrier{&l.req.Header}.Get(key) }

// Values implements [graylib.HeaderValues].
func (l *lending) Values(key string) []string { return requestCarrier{&l.req.Header}.Values(key) }

// Set implements [graylib.Carrier].
func (l *lending) Set(key, value string) {
	c := requestCarrier{&l.req.Header}
	l.lent.note(c, key)
	c.Set(key, value)
}

// note remembers that the name is about to be written, and what stands there. A request that is tried again has ours there.
func (l *lent) note(c requestCarrier, name string) {
	for _, noted := range l.names {
		if noted == name {
			return
		}
	}
	if l.names == nil {
		l.names = l.room[:0]
	}
	l.names = append(l.names, name)
	if !c.h.IsDisableNormalizing() && len(c.h.Peek(name)) == 0 {
		return
	}
	c.h.VisitAll(func(key, value []byte) { // by the application's spelling
		if graylib.SameHeader(string(key), name) {
			l.had = append(l.had, header{string(key), string(value)})
		}
	})
}

// takeBack makes the request's headers what they were.
func (l *lent) takeBack(c requestCarrier) {
	for _, name := range l.names {
		c.Remove(name)
	}
	for _, h := range l.had {
		c.h.Add(h.name, h.value)
	}
}

var _ graylib.HeaderValues = (*lending)(nil)
