package main

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/invopop/jsonschema"

	"github.com/graychain/graychain/pkg/graylib"
)

const (
	eventsFile = "docs/events.schema.json"
	eventsID   = jsonschema.ID("https://github.com/graychain/graychain/docs/events.schema.json")
	corePkg    = "pkg/graylib"
)

// ofKind says which fields an event of a kind must have, and which it may have beside. Every event has those of always.
type ofKind struct {
	kind      graylib.EventKind
	must, may []string
}

var always = []string{"v", "kind", "eventId", "time", "service", "instance", "tag"}

// Fields whose zero value is left out (offset 0, an untagged message) are among those that an event may have.
var kinds = []ofKind{
	{graylib.EventChain, []string{"requestId", "hops"}, []string{"trace", "requestTag", "status", "messages"}},
	{graylib.EventProduced, []string{"id", "topic"}, []string{"requestId", "trace", "queue", "messageTag"}},
	{graylib.EventBegun, []string{"id", "topic", "queue", "group", "deliveries"}, []string{"requestId", "trace", "messageTag", "offset", "reason", "broadcast"}},
	{graylib.EventFinished, []string{"id", "topic", "queue", "group", "deliveries", "result"},
		[]string{"requestId", "trace", "messageTag", "offset", "reason", "broadcast", "hops", "messages"}},
}

// generateEvents makes the schema of the events that services report, one a line, to an observer.
func generateEvents(root string) ([]byte, error) {
	s, err := reflected(root, &graylib.Event{}, corePkg, func(t reflect.Type) *jsonschema.Schema {
		if t == reflect.TypeFor[graylib.Tag]() { // here the empty one is said: the baseline's
			return &schema{Type: "string", Pattern: "^([a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?)?$", Not: &schema{Enum: []any{"baseline", "none", "other"}}}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.ID = eventsID
	s.Title = "Event that a service of graychain reports"
	s.Description = "One line of POST $GRAY_OBSERVER" + graylib.ObserverPath + " (NDJSON). An observer takes each eventId once."
	e, hop := s.Definitions["Event"], s.Definitions["Hop"]
	if e == nil || hop == nil || s.Definitions["Message"] == nil {
		return nil, fmt.Errorf("no types Event, Hop and Message in %s", corePkg)
	}
	e.Required = always
	var names []any
	for _, k := range kinds {
		names = append(names, k.kind)
	}
	one := uint64(1)
	*property(e, "v") = schema{Const: graylib.EventVersion}
	property(e, "kind").Enum = names
	for _, name := range []string{"eventId", "service", "instance", "id", "topic", "group"} {
		property(e, name).MinLength = &one
	}
	property(e, "trace").Pattern = "^[0-9a-f]{32}$"
	property(e, "queue").Pattern = "^.+/[0-9]+$"
	property(e, "offset").Minimum = "0"
	property(e, "deliveries").Minimum = "1"
	property(e, "status").Minimum = "100"
	property(e, "status").Maximum = "599"
	property(e, "result").Enum = []any{graylib.ResultSuccess, graylib.ResultRetry, graylib.ResultSkipped, graylib.ResultPanic}
	property(hop, "protocol").Enum = []any{graylib.ProtocolHTTP, graylib.ProtocolRPC, graylib.ProtocolMQ}
	property(hop, "reason").Enum = []any{
		"", graylib.ReasonLane, graylib.ReasonBaseline, graylib.ReasonNoInstance, graylib.ReasonConnectFailed, graylib.ReasonEjected, graylib.ReasonTimedOut,
	}
	for _, k := range kinds {
		then := &schema{Required: k.must, Properties: jsonschema.NewProperties()}
		for pair := e.Properties.Oldest(); pair != nil; pair = pair.Next() {
			if !slices.Contains(slices.Concat(always, k.must, k.may), pair.Key) {
				then.Properties.Set(pair.Key, jsonschema.FalseSchema)
			}
		}
		e.AllOf = append(e.AllOf, when("kind", []graylib.EventKind{k.kind}, then))
	}
	return encoded(s)
}
