package graylib

import (
	"maps"
	"slices"
	"time"
)

// Status is what GET /graychain/status answers.
type Status struct {
	Service          string               `json:"service"`
	Tag              Tag                  `json:"tag"`
	Instance         string               `json:"instance"`
	Addr             string               `json:"addr"`
	Started          time.Time            `json:"started"`
	Disabled         bool                 `json:"disabled,omitempty"` // the kill switch is thrown (GRAY_ENABLED=off)
	Ready            bool                 `json:"ready"`
	NotReady         []string             `json:"notReady,omitempty"` // "<component>: <why>"
	Messages         string               `json:"messages,omitempty"` // message grayscale: on or off (GRAY_MESSAGES)
	Rules            RulesStatus          `json:"rules"`
	Routes           Routes               `json:"routes,omitempty"`
	Ejected          map[string][]Ejected `json:"ejected,omitempty"`          // by endpoint: what is left out now
	Ejections        int64                `json:"ejections"`                  // since the start
	MalformedTags    int64                `json:"malformedTags"`              // seen on the wire since the start
	UnlistedMarks    int64                `json:"unlistedMarks,omitempty"`    // tags of producers' own mark functions that colour nothing: no lane of theirs is listed, or it is retired
	StrippedHeaders  int64                `json:"strippedHeaders"`            // taken off requests from outside since the start
	Stripped         map[string]int64     `json:"stripped,omitempty"`         // the same by name
	Trust            *TrustStatus         `json:"trust,omitempty"`            // where a trusted source is configured
	TagDisagreements int64                `json:"tagDisagreements,omitempty"` // carriers that named another tag than the one that counted
	BaggageFull      int64                `json:"baggageFull,omitempty"`      // tags that found no room in a baggage header
	DroppedEvents    int64                `json:"droppedEvents"`
	Journal          *JournalStatus       `json:"journal,omitempty"`   // where there is one
	Consumers        []ConsumerState      `json:"consumers,omitempty"` // of messages
}

// Status returns the state of this process.
func (rt *Runtime) Status() Status {
	id := rt.Identity()
	s := Status{
		Service: id.Service, Tag: id.Tag, Instance: id.Instance, Addr: id.Addr, Started: rt.started, Disabled: rt.config.Disabled,
		Messages: "off", Rules: rt.rules.Status(), Routes: rt.Routes(), Ejected: rt.Ejected(), Ejections: rt.Ejections(), MalformedTags: rt.malformedTags.Load(), UnlistedMarks: rt.unlistedMarks.Load(),
		StrippedHeaders: rt.propagation.stripper.total.Load(),
	}
	if !rt.config.MessagesOff {
		s.Messages = "on"
	}
	rt.propagation.fill(&s)
	if j, ok := rt.reporter.(interface{ Status() JournalStatus }); ok {
		status := j.Status()
		s.Journal = &status
	}
	s.Consumers = rt.Consumers()
	if d, ok := rt.reporter.(interface{ Dropped() int64 }); ok {
		s.DroppedEvents = d.Dropped()
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	for _, component := range slices.Sorted(maps.Keys(rt.notReady)) {
		s.NotReady = append(s.NotReady, component+": "+rt.notReady[component])
	}
	s.Ready = len(s.NotReady) == 0
	return s
}

// SetReady says of one component (say "consumer test-a" or "registration b") why it isn't ready; an empty why means that
// it is. A process is ready when all its components are.
func (rt *Runtime) SetReady(component, why string) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if why == "" {
		delete(rt.notReady, component)
		return
	}
	rt.notReady[component] = why
}
