package verdict_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// world has lane gray listed, with the given services live in it.
func world(mode graylib.Mode, live ...string) verdict.World {
	lane := verdict.Lane{Listed: true, Mode: mode, Live: map[string]bool{}}
	for _, s := range live {
		lane.Live[s] = true
	}
	return verdict.World{
		Lanes:    map[graylib.Tag]verdict.Lane{"gray": lane},
		Consumer: verdict.Consumer{Service: "a", Group: "test-a"},
	}
}

// hop makes a hop as the library would in w.
func hop(w verdict.World, service string, tag graylib.Tag, protocol graylib.Protocol) graylib.Hop {
	own := w.Instance(service, tag)
	reason := graylib.ReasonBaseline
	switch {
	case tag != "" && own == tag:
		reason = graylib.ReasonLane
	case tag != "":
		reason = graylib.ReasonNoInstance
	}
	return graylib.Hop{
		Service: service, Tag: own, Instance: service + "-1", Addr: "127.0.0.1:20001",
		RequestTag: tag, Protocol: protocol, Reason: reason,
	}
}

// closed makes the loop of GET /A/dubbo as it must be in w.
func closed(w verdict.World, tag graylib.Tag) observer.Loop {
	const id = "0A0B0C0D00001A2B"
	chain := graylib.Event{
		V: 1, Kind: graylib.EventChain, EventID: "c", Time: start, Service: "gateway", RequestID: "r1", RequestTag: tag, Status: 200,
		Hops: []graylib.Hop{
			{Service: "gateway", Addr: "127.0.0.1:20000", Protocol: graylib.ProtocolHTTP},
			hop(w, "a", tag, graylib.ProtocolHTTP), hop(w, "b", tag, graylib.ProtocolRPC), hop(w, "c", tag, graylib.ProtocolRPC),
		},
		Messages: []graylib.Message{{ID: id, Topic: "TEST_MQ", Tag: tag}},
	}
	m := observer.Message{ID: id, Topic: "TEST_MQ", Tag: tag, RequestID: "r1"}
	m.Produced = []graylib.Event{{Kind: graylib.EventProduced, EventID: "p", ID: id, MessageTag: tag, Service: "c"}}
	for i, c := range w.Consumptions(tag) {
		first := hop(w, "a", tag, graylib.ProtocolMQ)
		first.Tag = c.Tag
		group := c.Group
		if group == "" {
			group = "test-a__tagged"
		}
		m.Finished = append(m.Finished, graylib.Event{
			Kind: graylib.EventFinished, EventID: fmt.Sprint("f", i), ID: id, Service: "a", Tag: c.Tag, Group: group, MessageTag: tag,
			Result: graylib.ResultSuccess,
			Hops:   []graylib.Hop{first, hop(w, "b", tag, graylib.ProtocolHTTP), hop(w, "c", tag, graylib.ProtocolHTTP)},
		})
	}
	return observer.Loop{RequestID: "r1", Chain: &chain, Messages: []observer.Message{m}}
}

// TestClosed: what the library does right is closed in every world, for every subset of services.
func TestClosed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live := rapid.SliceOfDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.ID[string]).Draw(t, "live")
		mode := rapid.SampledFrom([]graylib.Mode{graylib.ModeAll, graylib.ModeIgnore, graylib.ModeAuto, ""}).Draw(t, "mode")
		tag := rapid.SampledFrom([]graylib.Tag{"", "gray", "unlisted"}).Draw(t, "tag")
		w := world(mode, live...)
		want := verdict.ForPath("/A/dubbo", tag)
		l := closed(w, tag)
		if v := verdict.Judge(l, want, w, 0); !v.Closed || v.String() != "closed" {
			t.Fatalf("not closed:\n%s", v)
		}
		if !verdict.Settled(l, want, w) {
			t.Fatal("closed, but not settled")
		}
	})
}

// TestMustFail: each fault gives its finding, and no loop with a fault is closed.
func TestMustFail(t *testing.T) {
	ignore := world(graylib.ModeIgnore, "a", "c")
	all := world(graylib.ModeAll, "a", "c")
	for _, tc := range []struct {
		name   string
		world  verdict.World
		tag    graylib.Tag
		break_ func(*observer.Loop)
		want   string // part of a finding; it must begin a finding where it begins with ^
	}{
		{"no chain", ignore, "gray", func(l *observer.Loop) { l.Chain = nil }, "its chain was reported by nobody"},
		{"an error", ignore, "gray", func(l *observer.Loop) { l.Chain.Status = 502 }, "status 502"},
		{"baseline though a lane lives", ignore, "gray", func(l *observer.Loop) {
			l.Chain.Hops[1].Tag, l.Chain.Hops[1].Reason = "", graylib.ReasonConnectFailed
		}, "^broke G1 routing: request reached baseline A although lane gray has a live one (fallback: connect failed)"},
		{"a lane though it is dead", ignore, "gray", func(l *observer.Loop) { l.Chain.Hops[2].Tag = "gray" }, "request reached gray B, which should not be live"},
		{"another lane", ignore, "gray", func(l *observer.Loop) { l.Chain.Hops[1].Tag = "blue" }, "request tagged gray reached blue A, of another lane"},
		{"untagged in a lane", ignore, "", func(l *observer.Loop) { l.Chain.Hops[3].Tag = "gray" }, "^broke G2 isolation: untagged request reached gray C"},
		{"tag dropped", ignore, "gray", func(l *observer.Loop) { l.Chain.Hops[3].RequestTag = "" }, "^broke G3 propagation: request reached gray C as untagged though it is tagged gray: the tag changed on the way from baseline B"},
		{"tag from nowhere", ignore, "", func(l *observer.Loop) { l.Chain.Hops[1].RequestTag = "gray" }, "as tagged gray though it is untagged"},
		{"a wrong reason", ignore, "gray", func(l *observer.Loop) { l.Chain.Hops[2].Reason = graylib.ReasonLane }, `for the reason "lane", which does not fit`},
		{"a short chain", ignore, "gray", func(l *observer.Loop) { l.Chain.Hops = l.Chain.Hops[:3] }, "request went no further than B, want A -> B -> C"},
		{"nobody behind the gateway", ignore, "gray", func(l *observer.Loop) { l.Chain.Hops = l.Chain.Hops[:1] }, "request reached nobody"},
		{"another order", ignore, "gray", func(l *observer.Loop) {
			l.Chain.Hops[2], l.Chain.Hops[3] = l.Chain.Hops[3], l.Chain.Hops[2]
		}, "request went A -> C -> B"},
		{"no message", ignore, "gray", func(l *observer.Loop) { l.Messages = nil }, "0 messages were sent, want 1 after 10 s"},
		{"two messages", ignore, "gray", func(l *observer.Loop) { l.Messages = append(l.Messages, l.Messages[0]) }, "2 messages were sent, want 1"},
		{"stored twice", ignore, "gray", func(l *observer.Loop) {
			l.Messages[0].Produced = append(l.Messages[0].Produced, l.Messages[0].Produced[0])
		}, "^message …0C0D00001A2B was stored 2 times: its send was tried again"},
		{"no producer", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Produced = nil }, "was reported by no producer"},
		{"an unmarked message", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Tag = "" }, "is without a mark though its request is tagged gray"},
		{"consumed by nobody", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Finished = nil }, "^broke G5 nothing lost: message …0C0D00001A2B marked gray was consumed by nobody after 10 s"},
		{"failing handler", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Finished[0].Result = graylib.ResultRetry }, "its handler failed 1 time"},
		{"panicking handler", ignore, "", func(l *observer.Loop) { l.Messages[0].Finished[0].Result = graylib.ResultPanic }, "its handler panicked 1 time"},
		{"handler that hangs", ignore, "", func(l *observer.Loop) {
			e := l.Messages[0].Finished[0]
			e.Kind, e.Result = graylib.EventBegun, ""
			l.Messages[0].Begun, l.Messages[0].Finished = []graylib.Event{e}, nil
		}, "a handler began it and has not returned"},
		{"skipped by all", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Finished[0].Result = "skipped" }, "it was skipped by gray A"},
		{"consumed twice", ignore, "gray", func(l *observer.Loop) {
			l.Messages[0].Finished = append(l.Messages[0].Finished, l.Messages[0].Finished[0])
		}, "^broke G6 nothing twice: message …0C0D00001A2B was consumed 2 times by gray A"},
		{"by the baseline that ignores", ignore, "gray", func(l *observer.Loop) {
			e := l.Messages[0].Finished[0]
			e.EventID, e.Tag, e.Group = "f9", "", "test-a__tagged"
			l.Messages[0].Finished = append(l.Messages[0].Finished, e)
		}, "^broke G4 closed loop: message …0C0D00001A2B marked gray was consumed by baseline A, which ignores that lane"},
		{"by the baseline instead of the lane", all, "gray", func(l *observer.Loop) { l.Messages[0].Finished = l.Messages[0].Finished[1:] },
			"^broke G4 closed loop: message …0C0D00001A2B marked gray was not consumed by gray A (group test-a_gray)"},
		{"without the baseline's copy", all, "gray", func(l *observer.Loop) { l.Messages[0].Finished = l.Messages[0].Finished[:1] },
			"was not consumed by baseline A (group test-a__tagged)"},
		{"untagged by a lane", ignore, "", func(l *observer.Loop) { l.Messages[0].Finished[0].Tag = "gray" },
			"^broke G2 isolation: untagged message …0C0D00001A2B was consumed by gray A"},
		{"begun by a lane, and failed there", ignore, "", func(l *observer.Loop) {
			e := l.Messages[0].Finished[0]
			e.Kind, e.Result, e.Tag, e.Instance = graylib.EventBegun, "", "gray", "a-9"
			l.Messages[0].Begun = append(l.Messages[0].Begun, e)
		}, "^broke G2 isolation: message …0C0D00001A2B without a mark was begun by gray A"},
		{"in a wrong group", ignore, "", func(l *observer.Loop) { l.Messages[0].Finished[0].Group = "test-a__tagged" }, "consumed by baseline A (group test-a__tagged)"},
		{"lane dead, ignored, and consumed", world(graylib.ModeIgnore, "c"), "gray", func(l *observer.Loop) {
			l.Messages[0].Finished = closed(world(graylib.ModeAll, "c"), "gray").Messages[0].Finished
		}, "which ignores that lane"},
		{"consuming hop in a wrong place", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Finished[0].Hops[2].Tag = "" },
			"^broke G1 routing: consuming …0C0D00001A2B reached baseline C although lane gray has a live one"},
		{"consuming loses the tag", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Finished[0].Hops[1].RequestTag = "" },
			"^broke G3 propagation: consuming …0C0D00001A2B reached baseline B as untagged"},
		{"consuming goes nowhere", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Finished[0].Hops = l.Messages[0].Finished[0].Hops[:1] },
			"consuming …0C0D00001A2B went no further than A, want A -> B -> C"},
		{"reported by one, run by another", ignore, "gray", func(l *observer.Loop) { l.Messages[0].Finished[0].Hops[0].Tag = "" },
			"the first hop is baseline A, but gray A reported it"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := closed(tc.world, tc.tag)
			tc.break_(&l)
			v := verdict.Judge(l, verdict.ForPath("/A/dubbo", tc.tag), tc.world, 10*time.Second)
			if v.Closed {
				t.Fatal("closed")
			}
			for _, f := range v.Findings {
				s := f.String()
				if from, ok := strings.CutPrefix(tc.want, "^"); ok && strings.HasPrefix(s, from) || strings.Contains(s, tc.want) {
					return
				}
			}
			t.Errorf("findings:\n%s\nwant one with %q", v, tc.want)
		})
	}
}

// TestEveryHopMatters: whichever hop's tag, request tag or presence is changed, the loop isn't closed any more.
func TestEveryHopMatters(t *testing.T) {
	for _, tag := range []graylib.Tag{"", "gray"} {
		w := world(graylib.ModeIgnore, "a", "c")
		n := len(closed(w, tag).Chain.Hops) + len(closed(w, tag).Messages[0].Finished[0].Hops)
		for i := 1; i < n; i++ {
			for name, change := range map[string]func(*graylib.Hop){
				"own tag":     func(h *graylib.Hop) { h.Tag = flip(h.Tag) },
				"request tag": func(h *graylib.Hop) { h.RequestTag = flip(h.RequestTag) },
				"service":     func(h *graylib.Hop) { h.Service = "d" },
			} {
				l := closed(w, tag)
				hops := l.Chain.Hops
				k := i
				if k >= len(hops) {
					k -= len(hops)
					hops = l.Messages[0].Finished[0].Hops
				}
				change(&hops[k])
				if verdict.Judge(l, verdict.ForPath("/A/dubbo", tag), w, 0).Closed {
					t.Errorf("tag %q, hop %d, %s changed: still closed", tag, i, name)
				}
			}
		}
	}
}

func flip(t graylib.Tag) graylib.Tag {
	if t == "" {
		return "gray"
	}
	return ""
}

func TestSettledAndQuiet(t *testing.T) {
	w := world(graylib.ModeIgnore, "a", "c")
	want := verdict.ForPath("/A/dubbo", "gray")
	l := closed(w, "gray")
	if verdict.Quiet(l, want, w) {
		t.Error("quiet, although the baseline has not yet said that it skipped the message")
	}
	skip := graylib.Event{EventID: "s", ID: l.Messages[0].ID, Service: "a", Group: "test-a__tagged", Result: "skipped"}
	l.Messages[0].Finished = append(l.Messages[0].Finished, skip)
	if !verdict.Quiet(l, want, w) {
		t.Error("not quiet, although all is said")
	}
	if v := verdict.Judge(l, want, w, 0); !v.Closed {
		t.Errorf("a skipped delivery opens the loop:\n%s", v)
	}
	l.Messages[0].Finished = l.Messages[0].Finished[1:]
	if verdict.Settled(l, want, w) {
		t.Error("settled, although the lane has not consumed")
	}
	dead := world(graylib.ModeIgnore, "c")
	waits := closed(dead, "gray")
	if got := len(waits.Messages[0].Finished); got != 0 {
		t.Fatalf("a dead lane's ignored message was consumed %d times", got)
	}
	if v := verdict.Judge(waits, want, dead, 0); !v.Closed {
		t.Errorf("a message that must wait opens the loop:\n%s", v)
	}
}

func TestOtherPaths(t *testing.T) {
	w := world(graylib.ModeAll, "a", "c")
	for path, n := range map[string]int{"/A/stream": 3, "/A/a": 3, "/B/b": 2, "/C/c": 1} {
		l := closed(w, "")
		l.Messages = nil
		l.Chain.Messages = nil
		l.Chain.Hops = append(l.Chain.Hops[:1:1], l.Chain.Hops[4-n:]...)
		if v := verdict.Judge(l, verdict.ForPath(path, ""), w, 0); !v.Closed {
			t.Errorf("%s:\n%s", path, v)
		}
		l.Messages = closed(w, "").Messages
		if verdict.Judge(l, verdict.ForPath(path, ""), w, 0).Closed {
			t.Errorf("%s with a message: closed", path)
		}
	}
}
