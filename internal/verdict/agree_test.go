package verdict_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

// everywhereLoop is the loop of a request whose message, of the given tag, goes to a group that broadcasts: it was handled by
// each of the instances, named <own tag>-<number>.
func everywhereLoop(w verdict.World, tag graylib.Tag, instances ...string) observer.Loop {
	l := closed(w, tag)
	m := &l.Messages[0]
	m.Finished = nil
	for i, name := range instances {
		m.Finished = append(m.Finished, broadcastTo(w, tag, i, name))
	}
	return l
}

func broadcastTo(w verdict.World, tag graylib.Tag, i int, instance string) graylib.Event {
	own, _, _ := strings.Cut(instance, "-")
	group := "test-a"
	if own == "base" {
		own = ""
	} else {
		group += "_" + own
	}
	first := hop(w, "a", tag, graylib.ProtocolMQ)
	first.Tag = graylib.Tag(own)
	return graylib.Event{
		Kind: graylib.EventFinished, EventID: fmt.Sprint("b", i), ID: "0A0B0C0D00001A2B", Service: "a", Instance: instance, Tag: graylib.Tag(own), Group: group,
		MessageTag: tag, Result: graylib.ResultSuccess, Broadcast: true,
		Hops: []graylib.Hop{first, hop(w, "b", tag, graylib.ProtocolHTTP), hop(w, "c", tag, graylib.ProtocolHTTP)},
	}
}

// TestJudgeOfBroadcasts: where a group broadcasts each instance of the environment may have the message once, and one must.
func TestJudgeOfBroadcasts(t *testing.T) {
	live := func(mode graylib.Mode) verdict.World { return world(mode, "a", "c") }
	dead := func(mode graylib.Mode) verdict.World { return world(mode, "c") }
	const auto, ignore, all = graylib.ModeAuto, graylib.ModeIgnore, graylib.ModeAll
	failed := func(e *graylib.Event) { e.Result = graylib.ResultRetry }
	for name, tc := range map[string]struct {
		world     verdict.World
		tag       graylib.Tag
		instances []string
		change    func(*graylib.Event) // of the first one's
		want      string               // part of a finding; empty = closed
	}{
		"untagged":                     {live(auto), "", []string{"base-1", "base-2"}, nil, ""},
		"a lane's":                     {live(auto), "gray", []string{"gray-1", "gray-2", "gray-3"}, nil, ""},
		"the baseline in doubt":        {live(auto), "gray", []string{"gray-1", "base-1", "base-2"}, nil, ""},
		"a lane away":                  {dead(auto), "gray", []string{"base-1", "base-2"}, nil, ""},
		"copies":                       {live(all), "gray", []string{"gray-1", "base-1"}, nil, ""},
		"an unlisted tag":              {live(auto), "blue", []string{"base-1"}, nil, ""},
		"one fails, another handles":   {live(auto), "gray", []string{"gray-1", "gray-2"}, failed, ""},
		"ignored, and the lane away":   {dead(ignore), "gray", nil, nil, ""},
		"twice to one instance":        {live(auto), "gray", []string{"gray-1", "gray-2", "gray-2"}, nil, "broke G6 nothing twice: message …0C0D00001A2B was consumed 2 times by gray A at gray-2 (group test-a_gray)"},
		"twice to a baseline that may": {live(auto), "gray", []string{"gray-1", "base-1", "base-1"}, nil, "broke G6 nothing twice: message …0C0D00001A2B was consumed 2 times by baseline A at base-1 (group test-a)"},
		"the lane left out":            {live(auto), "gray", []string{"base-1"}, nil, "broke G4 closed loop: message …0C0D00001A2B marked gray was not consumed by gray A (group test-a_gray)"},
		"the baseline's copy left out": {live(all), "gray", []string{"gray-1"}, nil, "was not consumed by baseline A (group test-a)"},
		"the baseline ignores":         {live(ignore), "gray", []string{"gray-1", "base-1"}, nil, "which ignores that lane"},
		"untagged to a lane":           {live(auto), "", []string{"base-1", "gray-1"}, nil, "broke G2 isolation: untagged message …0C0D00001A2B was consumed by gray A"},
		"another lane":                 {live(auto), "gray", []string{"gray-1", "blue-1"}, nil, "broke G4 closed loop: message …0C0D00001A2B marked gray was consumed by blue A"},
		"failed everywhere":            {live(auto), "gray", []string{"gray-1"}, failed, "(its handler failed 1 time), and where a group broadcasts nothing is retried"},
	} {
		t.Run(name, func(t *testing.T) {
			l := everywhereLoop(tc.world, tc.tag, tc.instances...)
			if tc.change != nil {
				tc.change(&l.Messages[0].Finished[0])
			}
			v := verdict.Judge(l, verdict.ForPath("/A/dubbo", tc.tag), tc.world, 0)
			if v.Closed != (tc.want == "") || !strings.Contains(v.String(), tc.want) {
				t.Errorf("%s\nwant %q", v, tc.want)
			}
		})
	}
	w := live(auto)
	l := everywhereLoop(w, "gray", "gray-1")
	want := verdict.ForPath("/A/dubbo", "gray")
	if verdict.Quiet(l, want, w) {
		t.Error("quiet, although the baseline has not yet said that it skipped the message")
	}
	skip := broadcastTo(w, "gray", 7, "base-1")
	skip.Result, skip.Hops = graylib.ResultSkipped, nil
	l.Messages[0].Finished = append(l.Messages[0].Finished, skip)
	if !verdict.Quiet(l, want, w) {
		t.Error("not quiet, although the baseline skipped the message in its own group")
	}
}

// TestJudgeOfMarkedAndCopies: what the idempotency hook's store calls handled was handled, and of a send that was stored twice
// each copy may be.
func TestJudgeOfMarkedAndCopies(t *testing.T) {
	w := world(graylib.ModeAuto, "a", "c")
	want := verdict.ForPath("/A/dubbo", "gray")
	l := closed(w, "gray")
	m := &l.Messages[0]
	end := m.Finished[0]
	begun := end
	begun.EventID, begun.Kind, begun.Result, begun.Instance = "b", graylib.EventBegun, "", "dead"
	end.Result, end.Reason = graylib.ResultSkipped, graylib.MessageReasonDuplicate
	m.Begun, m.Finished = []graylib.Event{begun}, []graylib.Event{end}
	if v := verdict.Judge(l, want, w, 0); !v.Closed {
		t.Errorf("a message that its idempotency store knows:\n%s", v)
	}
	m.Begun = nil
	if verdict.Judge(l, want, w, 0).Closed {
		t.Error("closed, though nobody had begun what is called a duplicate")
	}

	l = closed(w, "gray")
	m = &l.Messages[0]
	again := m.Finished[0]
	again.EventID, again.Offset = "f9", 5
	m.Finished = append(m.Finished, again)
	m.Produced = append(m.Produced, m.Produced[0])
	if v := verdict.Judge(l, want, w, 0); strings.Contains(v.String(), "G6") {
		t.Errorf("two copies of a message, each handled once:\n%s", v)
	}
}

// TestJudgeOfACopyAndARetry: what failed in the lane's group and is retried among the baseline's copies isn't a copy handled twice.
func TestJudgeOfACopyAndARetry(t *testing.T) {
	w := world(graylib.ModeAll, "a", "c")
	for _, failed := range []bool{true, false} {
		l := closed(w, "gray")
		m := &l.Messages[0]
		lane, copied := &m.Finished[0], m.Finished[1]
		begin := func(e graylib.Event) {
			e.EventID, e.Kind, e.Result = e.EventID+"b", graylib.EventBegun, ""
			m.Begun = append(m.Begun, e)
		}
		if failed {
			lane.Result = graylib.ResultRetry
		}
		begin(*lane)
		begin(copied)
		copied.EventID, copied.Offset, copied.Deliveries = "f9", 77, 2
		begin(copied)
		m.Finished = append(m.Finished, copied)
		v := verdict.Judge(l, verdict.ForPath("/A/dubbo", "gray"), w, 0)
		if strings.Contains(v.String(), "G6") == failed {
			t.Errorf("the lane failed %t, and the baseline handled a copy and a retry:\n%s", failed, v)
		}
	}
}

// TestJudgeAgreesWithTheLedger: whatever becomes of a message, and in whichever world, the judge closes no loop in which the
// ledger finds a promise broken.
func TestJudgeAgreesWithTheLedger(t *testing.T) {
	var closedLoops, broken int
	rapid.Check(t, func(t *rapid.T) {
		var live []string
		if rapid.Bool().Draw(t, "live") {
			live = []string{"a"}
		}
		w := world(rapid.SampledFrom([]graylib.Mode{graylib.ModeAuto, graylib.ModeIgnore, graylib.ModeAll}).Draw(t, "mode"), live...)
		tag := rapid.SampledFrom([]graylib.Tag{"", "gray"}).Draw(t, "tag")
		everyone := rapid.Bool().Draw(t, "broadcast")
		m := observer.Message{ID: "0A0B0C0D00001A2B", Topic: "T", Tag: tag}
		at := start
		event := func(e graylib.Event) graylib.Event {
			at = at.Add(time.Millisecond)
			e.V, e.EventID, e.Time, e.ID, e.Topic, e.MessageTag = graylib.EventVersion, at.String(), at, m.ID, m.Topic, tag
			return e
		}
		m.Produced = []graylib.Event{event(graylib.Event{Kind: graylib.EventProduced, Service: "c", Instance: "c-1"})}
		for range rapid.IntRange(0, 4).Draw(t, "deliveries") {
			own := rapid.SampledFrom([]graylib.Tag{"", "gray"}).Draw(t, "own")
			group := rapid.SampledFrom([]string{"test-a", "test-a_gray", "test-a__tagged"}).Draw(t, "group")
			if tag == "" || everyone { // as the names of such groups can be
				group = "test-a"
				if own != "" {
					group = "test-a_gray"
				}
			}
			e := graylib.Event{
				Service: "a", Instance: "a" + string(own) + rapid.SampledFrom([]string{"-1", "-2"}).Draw(t, "instance"), Tag: own, Group: group, Broadcast: everyone,
				Deliveries: rapid.IntRange(1, 3).Draw(t, "n"),
			}
			if group == "test-a__tagged" && w.Lanes["gray"].Mode == graylib.ModeAll {
				e.Reason = graylib.MessageReasonCopy // as its members say; the ledger has no rules to tell it by
			}
			begun := e
			begun.Kind = graylib.EventBegun
			m.Begun = append(m.Begun, event(begun))
			e.Kind = graylib.EventFinished
			e.Result = rapid.SampledFrom([]string{graylib.ResultSuccess, graylib.ResultRetry, graylib.ResultPanic, graylib.ResultSkipped}).Draw(t, "result")
			if e.Result == graylib.ResultSkipped {
				m.Begun = m.Begun[:len(m.Begun)-1] // nobody begins what is skipped
				e.Reason = rapid.SampledFrom([]string{"mode auto", graylib.MessageReasonDuplicate}).Draw(t, "reason")
			}
			m.Finished = append(m.Finished, event(e))
		}

		l := verdict.NewLedger()
		for _, e := range slices.Concat(m.Produced, m.Begun, m.Finished) {
			l.Add(e)
		}
		found := l.Judge(verdict.LedgerOptions{Groups: []string{"test-a"}}).Broken
		loop := observer.Loop{RequestID: "r1", Chain: &graylib.Event{Status: 200}, Messages: []observer.Message{m}}
		v := verdict.Judge(loop, verdict.Want{Tag: tag, Messages: 1}, w, 0)
		if v.Closed {
			closedLoops++
		}
		if len(found) > 0 {
			broken++
		}
		if tag != "" && len(live) == 0 && w.Lanes["gray"].Mode == graylib.ModeIgnore { // it has to wait, as only the rules say
			found = slices.DeleteFunc(found, func(f verdict.Finding) bool { return f.Promise == "G5 nothing lost" })
		}
		if v.Closed && len(found) > 0 {
			t.Fatalf("closed, and the ledger says: %v", found)
		}
	})
	if closedLoops == 0 || broken == 0 {
		t.Errorf("%d loops closed, %d broken: want some of each", closedLoops, broken)
	}
}
