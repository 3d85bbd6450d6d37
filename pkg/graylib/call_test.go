package graylib_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

func lane(tag graylib.Tag, edit func(*graylib.Lane)) graylib.Lane {
	l := graylib.Lane{Tag: tag, State: graylib.LaneActive, Propagate: true}
	if edit != nil {
		edit(&l)
	}
	return l
}

func fromNode(l *graylib.Lane) { l.ColourFromNode = true }

var (
	graySelf     = graylib.Identity{Service: "a", Tag: "gray", Instance: "a-gray-1", Addr: "h:1"}
	baselineSelf = graylib.Identity{Service: "a", Instance: "a-1", Addr: "h:1"}
)

// TestColouring: by which tag a callee is chosen and what goes on the wire, for each way in which a context comes about.
func TestColouring(t *testing.T) {
	byRule := func(propagate bool) map[string]graylib.Decision {
		return map[string]graylib.Decision{"b": {Tag: "blue", Entry: "e", Propagate: propagate}}
	}
	retired := func(l *graylib.Lane) { l.ColourFromNode, l.State = true, graylib.LaneRetired }
	notOn := func(l *graylib.Lane) { l.ColourFromNode, l.Propagate = true, false }
	const started = "-" // a context that never arrived
	tests := []struct {
		name               string
		id                 graylib.Identity
		rules              testRules
		incoming           string // tag on the wire
		endpoint           string
		context, tag, wire graylib.Tag
	}{
		{"untagged", baselineSelf, testRules{}, "", "b", "", "", ""},
		{"tag is kept", baselineSelf, testRules{colour: byRule(true)}, "gray", "b", "gray", "gray", "gray"},
		{"tag is kept on another lane's instance", graySelf, testRules{lanes: []graylib.Lane{lane("gray", fromNode)}}, "blue", "b", "blue", "blue", "blue"},
		{"malformed tag", baselineSelf, testRules{}, "Gray", "b", "", "", ""},
		{"coloured by a rule", baselineSelf, testRules{colour: byRule(true)}, "", "b", "", "blue", "blue"},
		{"coloured by a rule, RPC", baselineSelf, testRules{colour: byRule(true)}, "", "b.rpc", "", "blue", "blue"},
		{"rule of another callee", baselineSelf, testRules{colour: byRule(true)}, "", "c", "", "", ""},
		{"rule of a lane with propagate: false", baselineSelf, testRules{colour: byRule(false)}, "", "b", "", "blue", ""},
		{"malformed tag, coloured by a rule", baselineSelf, testRules{colour: byRule(true)}, "none", "b", "", "blue", "blue"},
		{"started, coloured by a rule", baselineSelf, testRules{colour: byRule(true)}, started, "b", "", "blue", "blue"},
		{"own lane doesn't colour", graySelf, testRules{lanes: []graylib.Lane{lane("gray", nil)}}, "", "b", "", "", ""},
		{"own lane isn't listed", graySelf, testRules{lanes: []graylib.Lane{lane("blue", fromNode)}}, "", "b", "", "", ""},
		{"node colouring, arrived", graySelf, testRules{lanes: []graylib.Lane{lane("gray", fromNode)}}, "", "b", "gray", "gray", "gray"},
		{"node colouring, malformed", graySelf, testRules{lanes: []graylib.Lane{lane("gray", fromNode)}}, "a b", "b", "gray", "gray", "gray"},
		{"node colouring, started", graySelf, testRules{lanes: []graylib.Lane{lane("gray", fromNode)}}, started, "b", "", "gray", "gray"},
		{"node colouring, baseline instance", baselineSelf, testRules{lanes: []graylib.Lane{lane("gray", fromNode)}}, "", "b", "", "", ""},
		{"node colouring, retired lane", graySelf, testRules{lanes: []graylib.Lane{lane("gray", retired)}}, "", "b", "", "", ""},
		{"node colouring, retired lane, started", graySelf, testRules{lanes: []graylib.Lane{lane("gray", retired)}}, started, "b", "", "", ""},
		{"node colouring, propagate: false", graySelf, testRules{lanes: []graylib.Lane{lane("gray", notOn)}}, "", "b", "gray", "gray", ""},
		{"node colouring, propagate: false, started", graySelf, testRules{lanes: []graylib.Lane{lane("gray", notOn)}}, started, "b", "", "gray", ""},
		{"tag from the wire, propagate: false", graySelf, testRules{lanes: []graylib.Lane{lane("gray", notOn)}}, "gray", "b", "gray", "gray", "gray"},
		{
			"a rule comes before the node, started", graySelf, testRules{lanes: []graylib.Lane{lane("gray", fromNode)}, colour: byRule(true)},
			started, "b", "", "blue", "blue",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rt := newRuntime(t, tt.id, tt.rules.option(), graylib.WithLogger(slog.New(slog.DiscardHandler)))
			ctx := t.Context()
			if tt.incoming != started {
				ctx, _ = rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": tt.incoming})
			}
			if got := graylib.TagFrom(ctx); got != tt.context {
				t.Errorf("the context's tag is %q, want %q", got, tt.context)
			}
			out, call := rt.Depart(ctx, tt.endpoint, noRequest{})
			if got := call.Tag(); got != tt.tag {
				t.Errorf("the callee is chosen by %q, want %q", got, tt.tag)
			}
			if graylib.CallFrom(out) != call || graylib.CallFrom(ctx) != nil {
				t.Error("the call isn't in the returned context alone")
			}
			if got := graylib.TagFrom(out); got != tt.context {
				t.Errorf("the call changed the context's tag to %q", got)
			}
			for _, keys := range allKeys {
				wire := graylib.MapCarrier{keys.Tag: "older"}
				call.Inject(keys, wire)
				if got := wire[keys.Tag]; got != string(tt.wire) {
					t.Errorf("%s on the wire is %q, want %q", keys.Tag, got, tt.wire)
				}
			}
			// Without a call (a host that isn't ours to choose) the context's tag goes on where it may.
			if tt.wire == tt.context || tt.context != "" && tt.wire == "" {
				wire := graylib.MapCarrier{}
				graylib.Inject(ctx, graylib.HTTPKeys, wire)
				if got := wire["x-gray-tag"]; got != string(tt.wire) {
					t.Errorf("Inject puts %q on the wire, want %q", got, tt.wire)
				}
			}
		})
	}
}

// changingRules are in force until others are.
type changingRules struct {
	graylib.RulesSource
	now graylib.Rules
}

func (r *changingRules) Rules() graylib.Rules { return r.now }

// What arrived without a tag stays without: a lane that begins to colour from the node meanwhile colours what arrives later.
func TestNodeColoursOnArrivalAlone(t *testing.T) {
	rules := &changingRules{graylib.StaticRules(nil), graylib.NoRules}
	rt := newRuntime(t, graySelf, graylib.WithRules(rules))
	earlier, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	rules.now = testRules{Rules: graylib.NoRules, lanes: []graylib.Lane{lane("gray", fromNode)}}
	later, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	for want, ctx := range map[graylib.Tag]context.Context{"": earlier, "gray": later} {
		if _, call := rt.Depart(ctx, "b", noRequest{}); call.Tag() != want || rt.MarkTag(ctx, "t", noRequest{}, nil) != want {
			t.Errorf("the call's tag is %q, a message's %q, want %q", call.Tag(), rt.MarkTag(ctx, "t", noRequest{}, nil), want)
		}
	}
}

// A tag that is set by hand goes on the wire, also where it is the one that the node gave to a context.
func TestWithTagOverNodeColour(t *testing.T) {
	notOn := lane("gray", func(l *graylib.Lane) { l.ColourFromNode, l.Propagate = true, false })
	rt := newRuntime(t, graySelf, testRules{lanes: []graylib.Lane{notOn}}.option())
	ctx, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	_, call := rt.Depart(graylib.WithTag(ctx, "gray"), "b", nil)
	wire := graylib.MapCarrier{}
	call.Inject(graylib.HTTPKeys, wire)
	if got := wire["x-gray-tag"]; got != "gray" {
		t.Errorf("on the wire is %q", got)
	}
}

func TestDepartWithoutRequestEvaluatesNothing(t *testing.T) {
	rt := newRuntime(t, baselineSelf, testRules{colour: map[string]graylib.Decision{"b": {Tag: "blue"}}}.option())
	if _, call := rt.Depart(t.Context(), "b", nil); call.Tag() != graylib.Untagged {
		t.Errorf("coloured %q by a request that nobody saw", call.Tag())
	}
}

func TestArriveForgetsAnOlderArrival(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	older, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": "gray", "x-request-id": "r1"})
	older, _ = rt.Depart(older, "b", nil)
	ctx, _ := rt.Arrive(older, graylib.ProtocolMQ, graylib.MessageKeys, graylib.MapCarrier{})
	if tag, id := graylib.TagFrom(ctx), graylib.RequestIDFrom(ctx); tag != "" || id != "" {
		t.Errorf("a reused context shows tag %q, request id %q", tag, id)
	}
	if graylib.CallFrom(ctx) != nil {
		t.Error("a handler's context holds the call that led to it")
	}
	if hops, _ := graylib.Chain(ctx); len(hops) != 1 || hops[0].Protocol != graylib.ProtocolMQ {
		t.Errorf("hops %+v", hops)
	}
	if hops, _ := graylib.Chain(older); len(hops) != 1 || hops[0].Protocol != graylib.ProtocolHTTP {
		t.Errorf("the older arrival's hops %+v", hops)
	}
}

func TestContextsPassOnWhatTheyDontHold(t *testing.T) {
	type key struct{}
	rt := newRuntime(t, baselineSelf)
	ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "v"))
	ctx, _ = rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": "gray"})
	ctx, _ = rt.Depart(ctx, "b", nil)
	child, stop := context.WithCancel(ctx)
	defer stop()
	if child.Value(key{}) != "v" || graylib.TagFrom(child) != "gray" {
		t.Errorf("value %v, tag %q", child.Value(key{}), graylib.TagFrom(child))
	}
	cause := errors.New("enough")
	cancel(cause)
	<-child.Done()
	if !errors.Is(context.Cause(child), cause) {
		t.Errorf("cause %v", context.Cause(child))
	}
}

type countingHandler struct {
	slog.Handler // what isn't about records
	mu           sync.Mutex
	logs         []string
}

func (h *countingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *countingHandler) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.logs = append(h.logs, r.Message)
	return nil
}

func TestMalformedTagsAreCountedAndLoggedOnce(t *testing.T) {
	logs := &countingHandler{Handler: slog.DiscardHandler}
	rt := newRuntime(t, baselineSelf, graylib.WithLogger(slog.New(logs)))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": "GRAY"})
			}
		})
	}
	wg.Wait()
	if n := rt.Status().MalformedTags; n != 40 {
		t.Errorf("%d malformed tags counted of 40", n)
	}
	if len(logs.logs) != 1 {
		t.Errorf("logged %d times: %v", len(logs.logs), logs.logs)
	}
}
