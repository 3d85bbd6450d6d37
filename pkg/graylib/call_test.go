package graylib_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

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

func hop(service string, tag graylib.Tag) graylib.Hop {
	return graylib.Hop{Service: service, Tag: tag, Instance: service + "-1", RequestTag: "gray", Protocol: graylib.ProtocolRPC, Reason: graylib.ReasonLane}
}

// TestHopsComeBack walks gray A -> baseline B -> gray C and back, each with a runtime of its own.
func TestHopsComeBack(t *testing.T) {
	table := func(instances ...graylib.Instance) *graylib.Table {
		table := graylib.NewTable("t")
		table.Store(graylib.NewSnapshot(instances))
		return table
	}
	type service struct {
		rt    *graylib.Runtime
		table *graylib.Table // of the next
	}
	at := func(name string, tag graylib.Tag) *graylib.Runtime {
		return newRuntime(t, graylib.Identity{Service: name, Tag: tag, Instance: name + "-1", Addr: name + ":1"})
	}
	b := graylib.Instance{Addr: "b:1", Weight: 1}
	c := graylib.Instance{Addr: "c:1", Weight: 1, Tag: "gray"}
	services := []service{{at("a", "gray"), table(b)}, {at("b", ""), table(b, c)}, {at("c", "gray"), nil}}

	var serve func(i int, in, answer graylib.Carrier)
	serve = func(i int, in, answer graylib.Carrier) {
		s := services[i]
		ctx, arrival := s.rt.Arrive(t.Context(), graylib.ProtocolRPC, graylib.RPCKeys, in)
		defer func() { arrival.Return(graylib.RPCKeys, answer) }()
		if s.table == nil {
			graylib.RecordMessage(ctx, graylib.Message{ID: "m1", Topic: "TEST_MQ", Tag: graylib.TagFrom(ctx)})
			return
		}
		_, call := s.rt.Depart(ctx, "t", nil)
		if _, _, err := call.Next(s.table); err != nil {
			t.Fatal(err)
		}
		out, back := graylib.MapCarrier{}, graylib.MapCarrier{}
		call.Inject(graylib.RPCKeys, out)
		serve(i+1, out, back)
		call.Return(graylib.RPCKeys, back)
	}
	answer := graylib.MapCarrier{}
	serve(0, graylib.MapCarrier{"GRAY_TAG": "gray", "GRAY_REASON": "lane"}, answer)

	hops, err := graylib.DecodeHops(answer["GRAY_HOPS"])
	if err != nil {
		t.Fatal(err)
	}
	want := []graylib.Hop{
		{Service: "a", Tag: "gray", Instance: "a-1", Addr: "a:1", RequestTag: "gray", Protocol: "rpc", Reason: "lane"},
		{Service: "b", Tag: "", Instance: "b-1", Addr: "b:1", RequestTag: "gray", Protocol: "rpc", Reason: "fallback: no instance"},
		{Service: "c", Tag: "gray", Instance: "c-1", Addr: "c:1", RequestTag: "gray", Protocol: "rpc", Reason: "lane"},
	}
	if diff := cmp.Diff(want, hops); diff != "" {
		t.Errorf("hops (-want +got):\n%s", diff)
	}
	messages, err := graylib.DecodeMessages(answer["GRAY_MESSAGES"])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]graylib.Message{{ID: "m1", Topic: "TEST_MQ", Tag: "gray"}}, messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func TestReturn(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	good := graylib.EncodeHops([]graylib.Hop{hop("b", "")})
	for _, tt := range []struct {
		name string
		back graylib.MapCarrier
		want []graylib.Hop
	}{
		{"good", graylib.MapCarrier{"x-gray-hops": good}, []graylib.Hop{hop("b", "")}},
		{"nothing", nil, nil},
		{"no hops", graylib.MapCarrier{"x-gray-hops": "<html>"}, nil},
		{"malformed messages", graylib.MapCarrier{"x-gray-hops": good, "x-gray-messages": "["}, []graylib.Hop{hop("b", "")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
			_, call := rt.Depart(ctx, "b", nil)
			call.Return(graylib.HTTPKeys, tt.back)
			hops, messages := arrival.Chain()
			if diff := cmp.Diff(tt.want, hops[1:], cmpopts.EquateEmpty()); diff != "" || len(messages) > 0 {
				t.Errorf("messages %v, hops below (-want +got):\n%s", messages, diff)
			}
		})
	}
	// Outside of an arrival there is nobody to tell.
	ctx, call := rt.Depart(t.Context(), "b", nil)
	call.Return(graylib.HTTPKeys, graylib.MapCarrier{"x-gray-hops": good})
	if hops, _ := graylib.Chain(ctx); hops != nil {
		t.Errorf("hops %v outside of an arrival", hops)
	}
}

func TestReturnReplacesAndSkips(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	_, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	answer := graylib.MapCarrier{"x-gray-hops": "older", "x-gray-messages": "older"}
	arrival.Return(graylib.HTTPKeys, answer)
	if _, stays := answer["x-gray-messages"]; stays || answer["x-gray-hops"] == "older" {
		t.Errorf("a proxied answer's own headers stay: %v", answer)
	}
	answer = graylib.MapCarrier{}
	arrival.Return(graylib.MessageKeys, answer)
	if len(answer) != 0 {
		t.Errorf("a message has no way back, but gets %v", answer)
	}
}

// Calls made at once record into one arrival, while others read it. Meant for -race.
func TestRecorderIsShared(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": "gray"})
	back := graylib.MapCarrier{"x-gray-hops": graylib.EncodeHops([]graylib.Hop{hop("b", ""), hop("c", "gray")})}
	const calls, each = 8, 3
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			for range each {
				_, call := rt.Depart(ctx, "b", nil)
				call.Inject(graylib.HTTPKeys, graylib.MapCarrier{})
				call.Return(graylib.HTTPKeys, back)
				graylib.RecordMessage(ctx, graylib.Message{ID: fmt.Sprint(i)})
				hops, _ := arrival.Chain()
				hops[0].Service = "changed" // a copy: nobody else sees it
				arrival.Return(graylib.HTTPKeys, graylib.MapCarrier{})
			}
		})
	}
	wg.Wait()
	hops, messages := graylib.Chain(ctx)
	if len(hops) != 1+2*calls*each || len(messages) != calls*each {
		t.Errorf("%d hops, %d messages", len(hops), len(messages))
	}
	if hops[0].Service != "a" {
		t.Errorf("the own hop is not the first: %+v", hops[0])
	}
	for i := 1; i < len(hops); i += 2 {
		if hops[i].Service != "b" || hops[i+1].Service != "c" {
			t.Fatalf("one call's hops are torn apart at %d: %+v", i, hops)
		}
	}
}

func TestRecorderIsBounded(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	back := graylib.MapCarrier{"x-gray-hops": graylib.EncodeHops([]graylib.Hop{hop("b", ""), hop("c", "")})}
	for range 100 {
		_, call := rt.Depart(ctx, "b", nil)
		call.Return(graylib.HTTPKeys, back)
		graylib.RecordMessage(ctx, graylib.Message{ID: "m"})
	}
	if hops, messages := arrival.Chain(); len(hops) != 64 || len(messages) != 64 {
		t.Errorf("%d hops, %d messages; want 64 of each", len(hops), len(messages))
	}
}

// TestNextTriesTheLaneThenTheBaseline on random tables: every instance of the lane once, then every one of the baseline
// once, with the right reasons, then an error; an untagged call never sees a lane.
func TestNextTriesTheLaneThenTheBaseline(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	rapid.Check(t, func(t *rapid.T) {
		var instances []graylib.Instance
		count := map[graylib.Tag]int{}
		for i, tag := range rapid.SliceOfN(rapid.SampledFrom([]graylib.Tag{"", "gray", "blue"}), 0, 12).Draw(t, "tags") {
			instances = append(instances, graylib.Instance{
				Addr: fmt.Sprint("h:", i), Tag: tag, Weight: rapid.SampledFrom([]float64{1, 2}).Draw(t, "weight"),
			})
			count[tag]++
		}
		table := graylib.NewTable("b")
		table.Store(graylib.NewSnapshot(instances))
		tag := rapid.SampledFrom([]graylib.Tag{"", "gray", "red"}).Draw(t, "tag")
		_, call := rt.Depart(graylib.WithTag(context.Background(), tag), "b", nil)

		tried := map[string]bool{}
		try := func(n int, of graylib.Tag, reason graylib.Reason) {
			for range n {
				in, got, err := call.Next(table)
				if err != nil || in.Tag != of || got != reason || call.Reason() != reason || tried[in.Addr] {
					t.Fatalf("instance %+v, reason %q (call says %q), error %v; want a new one of %q, %q", in, got, call.Reason(), err, of, reason)
				}
				tried[in.Addr] = true
			}
		}
		switch {
		case tag == "":
			try(count[""], "", graylib.ReasonBaseline)
		case count[tag] == 0:
			try(count[""], "", graylib.ReasonNoInstance)
		default:
			try(count[tag], tag, graylib.ReasonLane)
			try(count[""], "", graylib.ReasonConnectFailed)
		}
		if _, _, err := call.Next(table); !errors.Is(err, graylib.ErrNoInstance) {
			t.Fatalf("everybody was tried, error %v", err)
		}
	})
}

func TestNextSpreadsWhatFailed(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	var instances []graylib.Instance
	for i := range 5 {
		instances = append(instances, graylib.Instance{Addr: fmt.Sprint("h:", i), Weight: 1})
	}
	instances[0].Weight = 1000 // nearly every pick
	table := graylib.NewTable("b")
	table.Store(graylib.NewSnapshot(instances))
	second := map[string]int{}
	for range 2000 {
		_, call := rt.Depart(t.Context(), "b", nil)
		_, _, _ = call.Next(table)
		in, _, err := call.Next(table)
		if err != nil {
			t.Fatal(err)
		}
		second[in.Addr]++
	}
	for _, in := range instances[1:] {
		if second[in.Addr] < 200 { // of about 500
			t.Errorf("%s took over %d of 2000 times: %v", in.Addr, second[in.Addr], second)
		}
	}
}

func TestNextErrorSaysWhatIsKnown(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	_, call := rt.Depart(graylib.WithTag(t.Context(), "gray"), "b", nil)
	_, _, err := call.Next(graylib.NewTable("b"))
	if !errors.Is(err, graylib.ErrNoInstance) || !strings.Contains(err.Error(), "b for tag gray") {
		t.Errorf("error %v", err)
	}
}

func TestReasonOnTheWire(t *testing.T) {
	rt := newRuntime(t, baselineSelf)
	table := graylib.NewTable("b")
	table.Store(graylib.NewSnapshot([]graylib.Instance{{Addr: "h:1", Weight: 1}}))
	_, call := rt.Depart(t.Context(), "b", nil)
	wire := graylib.MapCarrier{"x-gray-reason": "lane"}
	call.Inject(graylib.HTTPKeys, wire)
	if got, there := wire["x-gray-reason"]; there {
		t.Errorf("nothing was chosen, but the reason on the wire is %q", got)
	}
	if _, _, err := call.Next(table); err != nil {
		t.Fatal(err)
	}
	call.Inject(graylib.HTTPKeys, wire)
	for sent, want := range map[string]graylib.Reason{wire["x-gray-reason"]: "baseline", "because": "", "lane\r\n": "", "fallback: ejected": "fallback: ejected"} {
		ctx, _ := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-reason": sent})
		if hops, _ := graylib.Chain(ctx); hops[0].Reason != want {
			t.Errorf("reason %q on the wire became %q, want %q", sent, hops[0].Reason, want)
		}
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
