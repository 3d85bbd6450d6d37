package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/pkg/graylib"
)

func now() time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC) }

// goodEvents are events as adapters report them, one of each shape.
func goodEvents() []graylib.Event {
	base := graylib.Event{
		V: graylib.EventVersion, EventID: "e1", Time: now(), Service: "a", Instance: "a-1", Tag: "gray",
		RequestID: "r1", Trace: "0af7651916cd43dd8448eb211c80319c",
	}
	hops := []graylib.Hop{
		{Service: "gateway", Instance: "g", Addr: "127.0.0.1:1", Protocol: graylib.ProtocolHTTP},
		{Service: "a", Tag: "gray", Instance: "a-1", Addr: "127.0.0.1:2", RequestTag: "gray", Protocol: graylib.ProtocolRPC, Reason: graylib.ReasonLane},
	}
	messages := []graylib.Message{{ID: "1A", Topic: "TEST_MQ", Tag: "gray"}, {ID: "1B", Topic: "TEST_MQ"}}
	of := func(kind graylib.EventKind, f func(*graylib.Event)) graylib.Event {
		e := base
		e.Kind = kind
		f(&e)
		return e
	}
	message := func(e *graylib.Event) {
		e.ID, e.Topic, e.Queue, e.MessageTag, e.Group, e.Deliveries = "1A", "TEST_MQ", "broker-a/3", "gray", "test-a_gray", 1
	}
	return []graylib.Event{
		of(graylib.EventChain, func(e *graylib.Event) { e.Hops, e.Messages, e.RequestTag, e.Status = hops, messages, "gray", 200 }),
		of(graylib.EventChain, func(e *graylib.Event) { e.Tag, e.Trace, e.Hops = "", "", hops[:1] }),
		of(graylib.EventProduced, func(e *graylib.Event) { e.ID, e.Topic, e.Queue, e.MessageTag = "1A", "TEST_MQ", "broker-a/0", "gray" }),
		of(graylib.EventProduced, func(e *graylib.Event) { e.ID, e.Topic = "1A", "TEST_MQ" }),
		of(graylib.EventBegun, func(e *graylib.Event) { message(e); e.Offset = 7; e.Reason = "lane" }),
		of(graylib.EventFinished, func(e *graylib.Event) {
			message(e)
			e.Result, e.Hops, e.Messages = graylib.ResultSuccess, hops, messages
		}),
		of(graylib.EventFinished, func(e *graylib.Event) { message(e); e.Result, e.Reason = graylib.ResultSkipped, "not ours" }),
		of(graylib.EventBegun, func(e *graylib.Event) { message(e); e.Group, e.Broadcast = "test-a", true }),
	}
}

// check asks the schema about one line.
func checkEvent(t *testing.T, s *jsonschema.Schema, line []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestGoodEvents(t *testing.T) {
	s := compiledOf(t, generateEvents, string(eventsID))
	for _, e := range goodEvents() {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkEvent(t, s, line); err != nil {
			t.Errorf("the schema refuses %s: %v", line, err)
		}
		if err := observer.Validate(e); err != nil {
			t.Errorf("the observer refuses %s: %v", line, err)
		}
	}
}

func TestBadEvents(t *testing.T) {
	s := compiledOf(t, generateEvents, string(eventsID))
	good := goodEvents()
	chain, produced, begun, finished := good[0], good[2], good[4], good[5]
	for name, tc := range map[string]struct {
		e     graylib.Event
		field string
		value any // nil takes the field away
	}{
		"another version":          {chain, "v", 2},
		"no version":               {chain, "v", nil},
		"another kind":             {chain, "kind", "sent"},
		"no event id":              {chain, "eventId", nil},
		"an empty event id":        {chain, "eventId", ""},
		"no time":                  {chain, "time", nil},
		"a time without a zone":    {chain, "time", "2026-11-22T10:00:00"},
		"no service":               {chain, "service", ""},
		"no tag":                   {chain, "tag", nil},
		"a malformed tag":          {chain, "tag", "Gray"},
		"a reserved tag":           {chain, "tag", "baseline"},
		"a malformed trace":        {chain, "trace", "xyz"},
		"a status out of range":    {chain, "status", 20},
		"an unknown field":         {chain, "colour", "red"},
		"a chain without hops":     {chain, "hops", nil},
		"a chain without id":       {chain, "requestId", nil},
		"a chain with a group":     {chain, "group", "g"},
		"a hop of another kind":    {chain, "hops", []any{map[string]any{"service": "a"}, 7}},
		"produced without id":      {produced, "id", nil},
		"produced with an offset":  {produced, "offset", 3},
		"produced by broadcast":    {produced, "broadcast", true},
		"begun without a group":    {begun, "group", nil},
		"begun with a result":      {begun, "result", "success"},
		"deliveries from nought":   {begun, "deliveries", 0},
		"a queue without a number": {begun, "queue", "broker-a"},
		"a negative offset":        {begun, "offset", -1},
		"finished without result":  {finished, "result", nil},
		"finished otherwise":       {finished, "result", "maybe"},
	} {
		line, err := json.Marshal(tc.e)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		if fields[tc.field] = tc.value; tc.value == nil {
			delete(fields, tc.field)
		}
		if line, err = json.Marshal(fields); err != nil {
			t.Fatal(err)
		}
		if err := checkEvent(t, s, line); err == nil {
			t.Errorf("%s: the schema takes %s", name, line)
		}
	}
}

// TestEveryFieldBelongsToAKind: a field that is added to Event is placed here.
func TestEveryFieldBelongsToAKind(t *testing.T) {
	placed := slices.Clone(always)
	for _, k := range kinds {
		placed = slices.Concat(placed, k.must, k.may)
	}
	of := reflect.TypeFor[graylib.Event]()
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if !slices.Contains(placed, name) {
			t.Errorf("field %q of Event is in no kind: see kinds in events.go", name)
		}
	}
}
