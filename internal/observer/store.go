// Package observer takes the events that services report (design/wire.md) and puts them together again by request and by
// message: what `graychain up` draws and what tests judge. It holds what happened, and judges nothing itself.
package observer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/graychain/graychain/pkg/graylib"
)

// Bounds of the store: a loop of the reference chain is about 8 events of 1 KB, so these hold the last 16,000 loops in at most
// about 300 MB of memory (an event takes about four times its line).
const (
	DefaultMaxEvents = 128_000
	DefaultMaxBytes  = 64 << 20 // of lines, as they were posted
)

// ErrInvalidEvent is wrapped where an event is refused; the text names the field and what it may be.
var ErrInvalidEvent = errors.New("invalid event")

// Store holds the last events, by request and by message. It is safe for concurrent use. What exceeds its bounds is
// forgotten, oldest first; an event that comes again after it was forgotten counts as new.
type Store struct {
	maxEvents int
	maxBytes  int

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each change
	order    []entry       // all events, oldest first; order[:head] is gone
	head     int
	bytes    int
	ids      map[string]struct{}
	requests map[string]*request
	messages map[string]*message
	counts   Counts
}

// Counts says how many events a store took, since its start.
type Counts struct {
	Accepted  int64 `json:"accepted"`
	Repeated  int64 `json:"repeated"`  // came again with a known eventId, and changed nothing
	Refused   int64 `json:"refused"`   // malformed
	Forgotten int64 `json:"forgotten"` // left for newer ones
	Held      int64 `json:"held"`
}

type entry struct {
	event graylib.Event
	size  int
}

// request is what is held of one request. It lives as long as an event or a message refers to it.
type request struct {
	chain    *graylib.Event
	messages []string // ids, in the order of their first mention
	events   int
}

// message is what is held of one message.
type message struct {
	requestID                 string
	produced, begun, finished []graylib.Event
}

// NewStore returns an empty store. Bounds that are not positive get the default.
func NewStore(maxEvents, maxBytes int) *Store {
	if maxEvents <= 0 {
		maxEvents = DefaultMaxEvents
	}
	if maxBytes <= 0 {
		maxBytes = DefaultMaxBytes
	}
	return &Store{
		maxEvents: maxEvents, maxBytes: maxBytes, changed: make(chan struct{}),
		ids: map[string]struct{}{}, requests: map[string]*request{}, messages: map[string]*message{},
	}
}

// Validate tells whether e can be taken; the error wraps [ErrInvalidEvent].
func Validate(e graylib.Event) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalidEvent, fmt.Sprintf(format, args...))
	}
	switch {
	case e.V != graylib.EventVersion:
		return bad("v is %d, want %d", e.V, graylib.EventVersion)
	case e.EventID == "":
		return bad("eventId is missing")
	case e.Time.IsZero():
		return bad("time is missing")
	}
	switch e.Kind {
	case graylib.EventChain:
		if e.RequestID == "" {
			return bad("requestId is missing, a chain has one")
		}
	case graylib.EventProduced, graylib.EventBegun, graylib.EventFinished:
		if e.ID == "" {
			return bad("id is missing, it is the message's UNIQ_KEY")
		}
	default:
		return bad("kind is %q, want chain, produced, begun or finished", e.Kind)
	}
	return nil
}

// Add takes an event whose line had the given size. It tells whether the event is new; an invalid one is refused.
func (s *Store) Add(e graylib.Event, size int) (bool, error) {
	if err := Validate(e); err != nil {
		s.mu.Lock()
		s.counts.Refused++
		s.mu.Unlock()
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.ids[e.EventID]; known {
		s.counts.Repeated++
		return false, nil
	}
	s.counts.Accepted++
	s.ids[e.EventID] = struct{}{}
	s.order = append(s.order, entry{e, size})
	s.bytes += size
	s.link(e)
	for len(s.order)-s.head > 1 && (len(s.order)-s.head > s.maxEvents || s.bytes > s.maxBytes) {
		s.forgetOldest()
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return true, nil
}

// link files an event under its request and its message.
func (s *Store) link(e graylib.Event) {
	if e.Kind == graylib.EventChain {
		r := s.request(e.RequestID)
		r.events++
		r.chain = &e
		for _, m := range e.Messages {
			r.mention(m.ID)
		}
		return
	}
	m := s.messages[e.ID]
	if m == nil {
		m = &message{}
		s.messages[e.ID] = m
	}
	switch e.Kind {
	case graylib.EventProduced:
		m.produced = append(m.produced, e)
	case graylib.EventBegun:
		m.begun = append(m.begun, e)
	default:
		m.finished = append(m.finished, e)
	}
	if e.RequestID != "" {
		m.requestID = e.RequestID
		r := s.request(e.RequestID)
		r.events++
		r.mention(e.ID)
	}
}

func (s *Store) request(id string) *request {
	r := s.requests[id]
	if r == nil {
		r = &request{}
		s.requests[id] = r
	}
	return r
}

func (r *request) mention(id string) {
	if id != "" && !slices.Contains(r.messages, id) {
		r.messages = append(r.messages, id)
	}
}

func (s *Store) forgetOldest() {
	e, size := s.order[s.head].event, s.order[s.head].size
	s.order[s.head] = entry{}
	s.head++
	if s.head > len(s.order)/2 {
		s.order = slices.Clone(s.order[s.head:])
		s.head = 0
	}
	s.bytes -= size
	s.counts.Forgotten++
	delete(s.ids, e.EventID)
	if r := s.requests[e.RequestID]; r != nil {
		if r.chain != nil && r.chain.EventID == e.EventID {
			r.chain = nil
		}
		if r.events--; r.events <= 0 {
			delete(s.requests, e.RequestID)
		}
	}
	m := s.messages[e.ID]
	if m == nil {
		return
	}
	drop := func(list []graylib.Event) []graylib.Event {
		return slices.DeleteFunc(list, func(o graylib.Event) bool { return o.EventID == e.EventID })
	}
	m.produced, m.begun, m.finished = drop(m.produced), drop(m.begun), drop(m.finished)
	if len(m.produced)+len(m.begun)+len(m.finished) == 0 {
		delete(s.messages, e.ID)
	}
}

// Counts returns how many events came, and how many are held.
func (s *Store) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Held = int64(len(s.order) - s.head)
	return c
}

// Loop returns what is known of a request, and whether anything is.
func (s *Store) Loop(requestID string) (Loop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loop(requestID)
}

func (s *Store) loop(requestID string) (Loop, bool) {
	l := Loop{RequestID: requestID}
	r := s.requests[requestID]
	if r == nil {
		return l, false
	}
	if r.chain != nil {
		chain := *r.chain
		l.Chain = &chain
	}
	for _, id := range r.messages {
		m, _ := s.message(id)
		if l.Chain != nil && m.Topic == "" {
			for _, cm := range l.Chain.Messages {
				if cm.ID == id {
					m.Topic, m.Tag = cm.Topic, cm.Tag
				}
			}
		}
		m.RequestID = requestID
		l.Messages = append(l.Messages, m)
	}
	return l, true
}

// Message returns what is known of a message, and whether anything is.
func (s *Store) Message(id string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.message(id)
}

func (s *Store) message(id string) (Message, bool) {
	out := Message{ID: id}
	m := s.messages[id]
	if m == nil {
		return out, false
	}
	out.RequestID = m.requestID
	out.Produced, out.Begun, out.Finished = slices.Clone(m.produced), slices.Clone(m.begun), slices.Clone(m.finished)
	for _, list := range [][]graylib.Event{m.produced, m.begun, m.finished} {
		if len(list) > 0 {
			out.Topic, out.Tag = list[0].Topic, list[0].MessageTag
			break
		}
	}
	return out, true
}

// Events returns the events held, oldest first, for which keep returns true; nil keeps all.
func (s *Store) Events(keep func(graylib.Event) bool) []graylib.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []graylib.Event
	for _, e := range s.order[s.head:] {
		if keep == nil || keep(e.event) {
			out = append(out, e.event)
		}
	}
	return out
}

// Wait calls met with the store until it returns true, once at first and then after each change, or until ctx ends; it
// returns ctx's error then. met runs outside of the store's lock.
func (s *Store) Wait(ctx context.Context, met func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if met() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WaitLoop waits until met is true of what is known of the request, or ctx ends, and returns what is known then. The error
// is ctx's where it ended first.
func (s *Store) WaitLoop(ctx context.Context, requestID string, met func(Loop) bool) (Loop, error) {
	var last Loop
	err := s.Wait(ctx, func() bool {
		last, _ = s.Loop(requestID)
		return met(last)
	})
	return last, err
}
