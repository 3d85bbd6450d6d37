package graylib_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

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
	serve(0, graylib.MapCarrier{"GRAY_TAG": "gray", "GRAY_REASON": "lane", "GRAY_HOPS": graylib.HopsWanted}, answer)

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

// TestHopsAreAskedFor is the rule: a call asks where its arrival was asked, or where its runtime collects or reports.
func TestHopsAreAskedFor(t *testing.T) {
	good := graylib.EncodeHops([]graylib.Hop{hop("b", "")})
	reports := graylib.WithReporter(&graylibtest.Reporter{})
	off := graylib.Config{}
	on := off
	on.Hops = true
	for _, tt := range []struct {
		name            string
		asked           string
		opts            []graylib.Option
		asks, givesBack bool
	}{
		{name: "nobody wants them"},
		{name: "a caller that forges hops", asked: good},
		{name: "the caller asks", asked: graylib.HopsWanted, asks: true, givesBack: true},
		{name: "an option", opts: []graylib.Option{graylib.WithHops()}, asks: true},
		{name: "GRAY_HOPS=on", opts: []graylib.Option{graylib.WithConfig(on)}, asks: true},
		{name: "GRAY_HOPS=off", opts: []graylib.Option{graylib.WithConfig(off)}},
		{name: "a reporter", opts: []graylib.Option{reports}, asks: true},
		{name: "no reporter", opts: []graylib.Option{graylib.WithReporter(nil)}},
		{name: "a reporter, and the caller asks", asked: graylib.HopsWanted, opts: []graylib.Option{reports}, asks: true, givesBack: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := newRuntime(t, baselineSelf, tt.opts...)
			in := graylib.MapCarrier{"x-gray-tag": "gray"}
			in.Set("x-gray-hops", tt.asked)
			ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, in)
			for what, ctx := range map[string]context.Context{"the arrival": ctx, "its trace": graylib.WithTrace(ctx, goodTrace, "")} {
				_, call := rt.Depart(ctx, "b", nil)
				out := graylib.MapCarrier{}
				call.Inject(graylib.HTTPKeys, out)
				if got := out["x-gray-hops"]; got == graylib.HopsWanted != tt.asks || got != "" && !tt.asks {
					t.Errorf("a call in %s sends x-gray-hops: %q, asks should be %t", what, got, tt.asks)
				}
				call.Return(graylib.HTTPKeys, graylib.MapCarrier{"x-gray-hops": good})
			}
			want := 1
			if tt.asks {
				want = 3
			}
			if hops, _ := arrival.Chain(); len(hops) != want {
				t.Errorf("%d hops were collected, want %d", len(hops), want)
			}
			back := graylib.MapCarrier{}
			if arrival.Return(graylib.HTTPKeys, back); back["x-gray-hops"] != "" != tt.givesBack {
				t.Errorf("the caller gets %q", back["x-gray-hops"])
			}
			for what, ctx := range map[string]context.Context{"detached work": graylib.Detach(ctx), "work of nobody's": t.Context()} {
				_, call := rt.Depart(ctx, "b", nil)
				out := graylib.MapCarrier{}
				if call.Inject(graylib.HTTPKeys, out); out["x-gray-hops"] != "" {
					t.Errorf("%s asks for hops", what)
				}
			}
		})
	}
}

func TestReturn(t *testing.T) {
	rt := newRuntime(t, baselineSelf, graylib.WithHops())
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
	_, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-hops": graylib.HopsWanted})
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
	rt := newRuntime(t, baselineSelf, graylib.WithHops())
	ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": "gray"})
	back := graylib.EncodeHops([]graylib.Hop{hop("b", ""), hop("c", "gray")})
	const calls, each = 8, 3
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			for range each {
				_, call := rt.Depart(ctx, "b", nil)
				call.Inject(graylib.HTTPKeys, graylib.MapCarrier{})
				call.Return(graylib.HTTPKeys, graylib.MapCarrier{"x-gray-hops": back})
				graylib.RecordMessage(ctx, graylib.Message{ID: fmt.Sprint(i)})
				hops, messages := arrival.Chain()
				hops[0].Service, messages[0].Topic = "changed", "changed" // copies: nobody else sees it
				arrival.Return(graylib.HTTPKeys, graylib.MapCarrier{})
			}
		})
	}
	wg.Wait()
	hops, messages := graylib.Chain(ctx)
	if len(hops) != 1+2*calls*each || len(messages) != calls*each {
		t.Errorf("%d hops, %d messages", len(hops), len(messages))
	}
	if hops[0].Service != "a" || messages[0].Topic != "" {
		t.Errorf("hop %+v, message %+v: want the own hop first, and nothing changed", hops[0], messages[0])
	}
	for i := 1; i < len(hops); i += 2 {
		if hops[i].Service != "b" || hops[i+1].Service != "c" {
			t.Fatalf("one call's hops are torn apart at %d: %+v", i, hops)
		}
	}
}

func TestRecorderIsBounded(t *testing.T) {
	rt := newRuntime(t, baselineSelf, graylib.WithHops())
	ctx, arrival := rt.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	back := graylib.EncodeHops([]graylib.Hop{hop("b", ""), hop("c", "")})
	for range 100 {
		_, call := rt.Depart(ctx, "b", nil)
		call.Return(graylib.HTTPKeys, graylib.MapCarrier{"x-gray-hops": back})
		graylib.RecordMessage(ctx, graylib.Message{ID: "m"})
	}
	if hops, messages := arrival.Chain(); len(hops) != 64 || len(messages) != 64 {
		t.Errorf("%d hops, %d messages; want 64 of each", len(hops), len(messages))
	}
}
