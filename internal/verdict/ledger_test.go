package verdict_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

// past makes a history, event by event, as consumers of group test-a that keep the promises would report it.
type past struct {
	events  []graylib.Event
	crashed map[string]bool
	gaps    []string
}

func (p *past) add(e graylib.Event) {
	e.V, e.EventID, e.Time = graylib.EventVersion, fmt.Sprint("e", len(p.events)), start.Add(time.Duration(len(p.events))*time.Millisecond)
	p.events = append(p.events, e)
}

func (p *past) sent(id string, tag graylib.Tag) {
	p.add(graylib.Event{Kind: graylib.EventProduced, Service: "c", Instance: "c-1", ID: id, Topic: "T", Queue: "b/0", MessageTag: tag})
}

// delivery is one attempt in one group.
type delivery struct {
	id, group, instance string
	own, tag            graylib.Tag
	offset              int64
	n                   int
	reason              string
	broadcast           bool
}

func (p *past) begun(d delivery) graylib.Event {
	e := graylib.Event{
		Kind: graylib.EventBegun, Service: "a", Instance: d.instance, Tag: d.own, ID: d.id, Topic: "T", Queue: "b/0", Offset: d.offset, Group: d.group,
		MessageTag: d.tag, Deliveries: d.n, Reason: d.reason, Broadcast: d.broadcast,
	}
	p.add(e)
	return e
}

func (p *past) finished(d delivery, result string) {
	e := p.begun(d)
	p.events = p.events[:len(p.events)-1]
	e.Kind, e.Result = graylib.EventFinished, result
	p.add(e)
}

func (p *past) handled(d delivery) {
	p.begun(d)
	p.finished(d, graylib.ResultSuccess)
}

func (p *past) judge(o verdict.LedgerOptions, order []int) verdict.Account {
	l := verdict.NewLedger()
	for _, i := range order {
		l.Add(p.events[i])
	}
	for _, e := range p.events { // each once more
		l.Add(e)
	}
	for instance := range p.crashed {
		l.Crashed(instance)
	}
	for _, g := range p.gaps {
		l.Gap(g)
	}
	return l.Judge(o)
}

func inOrder(p *past) []int {
	order := make([]int, len(p.events))
	for i := range order {
		order[i] = i
	}
	return order
}

// own is a delivery to whom a message belongs.
func own(id string, tag graylib.Tag, offset int64, standIn bool) delivery {
	d := delivery{id: id, tag: tag, offset: offset, n: 1, group: "test-a", instance: "a-base", reason: "untagged"}
	if tag != graylib.Untagged {
		d.group, d.instance, d.own, d.reason = "test-a_"+string(tag), "a-"+string(tag), tag, "lane"
		if standIn {
			d.instance, d.own = "a-base", graylib.Untagged
		}
	}
	return d
}

// by is a delivery to another instance.
func (d delivery) by(instance string) delivery {
	d.instance = instance
	return d
}

// duplicate is the delivery again of what the idempotency hook's store knows.
func (p *past) duplicate(d delivery) {
	d.reason = graylib.MessageReasonDuplicate
	p.finished(d, graylib.ResultSkipped)
}

// everywhere is a delivery to an instance of a group that broadcasts: the lane's, or the baseline's where own is untagged.
func everywhere(id string, tag, own graylib.Tag, instance string) delivery {
	d := delivery{id: id, tag: tag, own: own, n: 1, group: "test-a", instance: instance, broadcast: true}
	if own != graylib.Untagged {
		d.group += "_" + string(own)
	}
	return d
}

// TestLedgerOfGoodHistories: histories in which every promise holds, whatever the order in which their events came, are judged so.
func TestLedgerOfGoodHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &past{crashed: map[string]bool{}}
		n := rapid.IntRange(1, 30).Draw(t, "messages")
		repeats := 0
		for i := range n {
			id := fmt.Sprintf("M%04d", i)
			tag := rapid.SampledFrom([]graylib.Tag{"", "gray", "blue"}).Draw(t, "tag")
			d := own(id, tag, int64(i), rapid.Bool().Draw(t, "stand-in"))
			p.sent(id, tag)
			if rapid.Bool().Draw(t, "skipped elsewhere") && tag != "" {
				p.finished(delivery{id: id, tag: tag, offset: int64(i), n: 1, group: "test-a__tagged", instance: "a-base", reason: "mode auto"}, graylib.ResultSkipped)
			}
			for range rapid.IntRange(0, 3).Draw(t, "failures") {
				p.begun(d)
				p.finished(d, rapid.SampledFrom([]string{graylib.ResultRetry, graylib.ResultPanic}).Draw(t, "result"))
				d.n, d.offset = d.n+1, int64(1000+len(p.events))
			}
			if rapid.Bool().Draw(t, "crash") { // in the handler, or before its end was committed
				dead := d
				dead.instance = "dead-" + string(tag)
				p.crashed[dead.instance] = true
				if rapid.Bool().Draw(t, "handled") {
					p.handled(dead)
				} else {
					p.begun(dead)
				}
				repeats++
			}
			p.handled(d)
			if tag != "" && rapid.Bool().Draw(t, "copy") { // mode all
				p.handled(delivery{id: id, tag: tag, offset: int64(i), n: 1, group: "test-a__tagged", instance: "a-base", reason: "copy"})
			}
		}
		a := p.judge(verdict.LedgerOptions{}, rapid.Permutation(inOrder(p)).Draw(t, "order"))
		if len(a.Broken) > 0 || len(a.Unjudged) > 0 || a.Sent != n || a.Handled["test-a"] != n || a.Repeats != repeats {
			t.Fatalf("%+v: want %d messages sent and handled, %d repeated after crashes, and nothing broken", a, n, repeats)
		}
	})
}

// TestLedgerMustFail: each wrong history is found out, with the promise that it breaks.
func TestLedgerMustFail(t *testing.T) {
	gray := own("M1", "gray", 1, false)
	plain := own("M1", "", 1, false)
	for name, tc := range map[string]struct {
		history func(p *past)
		promise string
		text    string
	}{
		"handled by nobody": {func(p *past) { p.sent("M1", "gray") }, "G5 nothing lost", "begun by nobody"},
		"begun and dropped": {func(p *past) { p.sent("M1", "gray"); p.begun(gray) }, "G5 nothing lost", "never finished"},
		"acknowledged though it failed": {func(p *past) {
			p.sent("M1", "gray")
			p.begun(gray)
			p.finished(gray, graylib.ResultPanic)
		}, "G5 nothing lost", "failed 1 time"},
		"skipped by the baseline alone": {func(p *past) {
			p.sent("M1", "gray")
			p.finished(delivery{id: "M1", tag: "gray", n: 1, group: "test-a__tagged", instance: "a-base", reason: "mode auto"}, graylib.ResultSkipped)
		}, "G5 nothing lost", "begun by nobody"},
		"handled twice": {func(p *past) { p.sent("M1", "gray"); p.handled(gray); p.handled(gray) }, "G6 nothing twice", "begun 2 times in group test-a_gray"},
		"handled by two groups": {func(p *past) {
			p.sent("M1", "gray")
			p.handled(gray)
			p.handled(delivery{id: "M1", tag: "gray", n: 1, group: "test-a__tagged", instance: "a-base", reason: "stray: tag not listed"})
		}, "G6 nothing twice", "in the groups"},
		"handled again after success": {func(p *past) {
			p.sent("M1", "gray")
			p.handled(gray)
			again := gray
			again.n, again.offset = 2, 77
			p.handled(again)
		}, "G6 nothing twice", "begun 2 times"},
		"giver closed, taker unclosed": {func(p *past) {
			p.sent("M1", "gray")
			p.crashed["a-taker"] = true
			p.handled(gray)
			p.handled(gray.by("a-taker"))
		}, "G6 nothing twice", "nobody who had begun it before crashed"},
		"crashed once, repeated twice": {func(p *past) {
			p.sent("M1", "gray")
			p.crashed["dead"] = true
			p.begun(gray.by("dead"))
			p.handled(gray)
			p.handled(gray.by("a-taker"))
		}, "G6 nothing twice", "begun 3 times"},
		"a duplicate that nobody had begun": {func(p *past) {
			p.sent("M1", "gray")
			p.duplicate(gray)
		}, "G5 nothing lost", "begun by nobody"},
		"a duplicate of what had failed": {func(p *past) {
			p.sent("M1", "gray")
			p.begun(gray)
			p.finished(gray, graylib.ResultRetry)
			p.duplicate(gray)
		}, "G5 nothing lost", "failed 1 time"},
		"a duplicate in another group": {func(p *past) {
			p.sent("M1", "gray")
			p.begun(gray)
			d := gray
			d.group = "test-a__tagged"
			p.duplicate(d)
		}, "G5 nothing lost", "never finished"},
		"a duplicate before its twin": {func(p *past) { // both in one batch, and the handler never ended
			p.sent("M1", "gray")
			p.duplicate(gray)
			p.begun(gray)
		}, "G5 nothing lost", "never finished"},
		"broadcast twice to one instance": {func(p *past) {
			p.sent("M1", "gray")
			p.handled(everywhere("M1", "gray", "gray", "a-1"))
			p.handled(everywhere("M1", "gray", "gray", "a-2"))
			p.handled(everywhere("M1", "gray", "gray", "a-2"))
		}, "G6 nothing twice", "(a-2, a-2)"},
		"untagged, broadcast to a lane": {func(p *past) {
			p.sent("M1", "")
			d := everywhere("M1", "", "", "a-1")
			d.own = "gray"
			p.handled(d)
		}, "G2 isolation", "begun by gray A"},
		"broadcast to another lane": {func(p *past) {
			p.sent("M1", "gray")
			d := everywhere("M1", "gray", "gray", "a-1")
			d.own = "blue"
			p.handled(d)
		}, "G4 closed loop", "begun by blue A"},
		"broadcast to nobody": {func(p *past) {
			p.sent("M1", "gray")
			p.begun(everywhere("M1", "gray", "gray", "a-1"))
		}, "G5 nothing lost", "never finished"},
		"in two groups, for all the gaps": {func(p *past) {
			p.gaps = []string{"x"}
			p.sent("M1", "gray")
			p.handled(gray)
			p.handled(delivery{id: "M1", tag: "gray", n: 1, group: "test-a__tagged", instance: "a-base", reason: "stray: tag not listed"})
		}, "G6 nothing twice", "in the groups"},
		"more than a span after a crash": {func(p *past) {
			p.crashed["dead"] = true
			for i := range 65 {
				d := own(fmt.Sprintf("S%03d", i), "", int64(i), false)
				p.sent(d.id, "")
				p.begun(d.by("dead"))
				p.handled(d)
			}
		}, "G6 nothing twice", "more than a span of 64"},
		"untagged in a lane": {func(p *past) {
			p.sent("M1", "")
			d := plain
			d.instance, d.own = "a-gray", "gray"
			p.handled(d)
		}, "G2 isolation", "untagged message M1 was begun by gray A"},
		"another lane's": {func(p *past) {
			p.sent("M1", "gray")
			d := gray
			d.instance, d.own = "a-blue", "blue"
			p.handled(d)
		}, "G4 closed loop", "begun by blue A"},
		"tagged in the group of untagged messages": {func(p *past) {
			p.sent("M1", "gray")
			d := gray
			d.group, d.instance, d.own = "test-a", "a-base", ""
			p.handled(d)
		}, "G4 closed loop", "the group of untagged messages"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &past{crashed: map[string]bool{}}
			p.sent("M0", "")
			p.handled(own("M0", "", 0, false))
			tc.history(p)
			a := p.judge(verdict.LedgerOptions{}, inOrder(p))
			if len(a.Broken) != 1 || a.Broken[0].Promise != tc.promise || !strings.Contains(a.Broken[0].Text, tc.text) {
				t.Errorf("found %v, want one that breaks %s and says %q", a.Broken, tc.promise, tc.text)
			}
		})
	}
}

// TestLedgerUnjudged: what can't be known is said, and breaks nothing.
func TestLedgerUnjudged(t *testing.T) {
	for name, tc := range map[string]struct {
		history func(p *past)
		o       verdict.LedgerOptions
		why     string
	}{
		"a gap": {func(p *past) { p.sent("M1", ""); p.gaps = []string{"x"} }, verdict.LedgerOptions{}, "have gaps"},
		"repeated, with a gap": {func(p *past) {
			p.sent("M1", "")
			p.gaps = []string{"x"}
			p.begun(own("M1", "", 1, false)) // that it failed is lost
			p.handled(own("M1", "", 1, false))
		}, verdict.LedgerOptions{}, "begun more than once in test-a, but the journals have gaps"},
		"one beyond a span, with a gap": {func(p *past) {
			p.crashed["dead"] = true
			p.gaps = []string{"x"}
			for i := range 65 {
				d := own(fmt.Sprintf("S%03d", i), "", int64(i), false)
				p.sent(d.id, "")
				p.begun(d.by("dead"))
				p.handled(d)
			}
		}, verdict.LedgerOptions{}, "beyond the span"},
		"failed where nothing is retried": {func(p *past) {
			p.sent("M1", "")
			d := everywhere("M1", "", "", "a-1")
			p.begun(d)
			p.finished(d, graylib.ResultRetry)
		}, verdict.LedgerOptions{}, "broadcasts"},
		"under way":             {func(p *past) { p.sent("M1", "") }, verdict.LedgerOptions{Settle: time.Second}, "less than 1s"},
		"begun, and never sent": {func(p *past) { p.begun(own("M1", "", 1, false)) }, verdict.LedgerOptions{}, "reported by no producer"},
		"a topic that nobody consumes": {func(p *past) {
			p.add(graylib.Event{Kind: graylib.EventProduced, ID: "M1", Topic: "other"})
		}, verdict.LedgerOptions{}, "topic other"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &past{crashed: map[string]bool{}}
			p.sent("M0", "")
			p.handled(own("M0", "", 0, false))
			tc.history(p)
			a := p.judge(tc.o, inOrder(p))
			whys := slices.Sorted(maps.Keys(a.Unjudged))
			if len(a.Broken) > 0 || len(whys) != 1 || a.Unjudged[whys[0]] != 1 || !strings.Contains(whys[0], tc.why) {
				t.Errorf("broken %v, unjudged %v: want one unjudged that says %q", a.Broken, a.Unjudged, tc.why)
			}
		})
	}
}

// TestLedgerStoredTwice: a send that the client retried is two messages under one id, told apart and counted.
func TestLedgerStoredTwice(t *testing.T) {
	p := &past{crashed: map[string]bool{}}
	p.sent("M1", "gray")
	p.handled(own("M1", "gray", 1, false))
	p.handled(own("M1", "gray", 5, false))
	if a := p.judge(verdict.LedgerOptions{}, inOrder(p)); len(a.Broken) > 0 || a.Twice != 1 || a.Handled["test-a"] != 1 {
		t.Errorf("%+v: want one id stored twice, and nothing broken", a)
	}
}

// TestLedgerOfRetriesInTheStandInsGroup: a copy that failed is a copy still when it is retried; and what a stand-in failed on in the lane's
// group may be retried in its own.
func TestLedgerOfRetriesInTheStandInsGroup(t *testing.T) {
	p := &past{crashed: map[string]bool{}}
	tagged := delivery{id: "M1", tag: "gray", offset: 1, n: 1, group: "test-a__tagged", instance: "a-base", reason: "copy"}
	again := tagged
	again.offset, again.n, again.reason = 77, 2, "retry"
	p.sent("M1", "gray")
	p.handled(own("M1", "gray", 1, false))
	p.begun(tagged)
	p.finished(tagged, graylib.ResultRetry)
	p.handled(again)

	standIn := own("M2", "gray", 2, true)
	again.id, again.offset = "M2", 78
	p.sent("M2", "gray")
	p.begun(standIn)
	p.finished(standIn, graylib.ResultRetry)
	p.handled(again)
	if a := p.judge(verdict.LedgerOptions{}, inOrder(p)); len(a.Broken) > 0 || len(a.Unjudged) > 0 || a.Handled["test-a"] != 2 || a.Failed != 2 {
		t.Errorf("%+v: want both handled, two failures, and nothing broken", a)
	}
}

// TestLedgerOfACopyAndARetry: in mode all the baseline may have a message's copy, and then what failed in the lane's group as well: once
// for each failure that wasn't retried in the lane's group. What crashes repeat there is no retry.
func TestLedgerOfACopyAndARetry(t *testing.T) {
	lane := own("M1", "gray", 1, false)
	tagged := delivery{id: "M1", tag: "gray", offset: 1, n: 1, group: "test-a__tagged", instance: "a-base", reason: "copy"}
	retried := func(d delivery) delivery {
		d.n, d.offset, d.reason = 2, 77, "retry"
		return d
	}
	fails := func(p *past, d delivery) {
		p.begun(d)
		p.finished(d, graylib.ResultRetry)
	}
	for name, tc := range map[string]struct {
		history func(*past)
		broken  bool
	}{
		"the retry moves": {func(p *past) { fails(p, lane); p.handled(retried(tagged)) }, false},
		"after a second failure": {func(p *past) {
			fails(p, lane)
			fails(p, retried(lane))
			p.handled(retried(tagged))
		}, false},
		"and fails there, too": {func(p *past) {
			fails(p, lane)
			fails(p, retried(tagged))
			p.handled(retried(tagged))
		}, false},
		"after a crash in the lane": {func(p *past) {
			p.begun(lane.by("dead"))
			fails(p, lane)
			p.handled(retried(tagged))
		}, false},
		"without a failure":          {func(p *past) { p.handled(lane); p.handled(retried(tagged)) }, true},
		"no retry":                   {func(p *past) { fails(p, lane); p.handled(tagged) }, true},
		"twice for one failure":      {func(p *past) { fails(p, lane); p.handled(retried(tagged)); p.handled(retried(tagged)) }, true},
		"it was retried by the lane": {func(p *past) { fails(p, lane); p.handled(retried(lane)); p.handled(retried(tagged)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := &past{crashed: map[string]bool{"dead": true}}
			p.sent("M1", "gray")
			p.handled(tagged)
			tc.history(p)
			a := p.judge(verdict.LedgerOptions{}, inOrder(p))
			if broken := len(a.Broken) > 0; broken != tc.broken || len(a.Unjudged) > 0 || a.Handled["test-a"] != 1 {
				t.Errorf("%+v: want it handled, and a promise broken %t", a, tc.broken)
			}
			for _, f := range a.Broken {
				if f.Promise != "G6 nothing twice" || !strings.Contains(f.Text, "in group test-a__tagged") {
					t.Errorf("broke %s: %s", f.Promise, f.Text)
				}
			}
		})
	}
}

// TestLedgerOfBroadcasts: each instance of a group that broadcasts has each message once; the baseline has tagged ones in its own
// group, and beside the lane where a lane comes or goes; a crash repeats what the client's file of offsets lacked.
func TestLedgerOfBroadcasts(t *testing.T) {
	p := &past{crashed: map[string]bool{"a-dead": true}}
	for i := range 100 {
		id := fmt.Sprintf("M%03d", i)
		p.sent(id, "gray")
		for _, instance := range []string{"g-1", "g-2", "g-3"} {
			p.handled(everywhere(id, "gray", "gray", instance))
		}
		p.handled(everywhere(id, "gray", "", "a-base"))
		p.handled(everywhere(id, "gray", "", "a-dead"))
		p.handled(everywhere(id, "gray", "", "a-dead")) // in its next life
		p.sent(id+"u", "")
		p.handled(everywhere(id+"u", "", "", "a-base"))
		p.handled(everywhere(id+"u", "", "", "a-2"))
	}
	a := p.judge(verdict.LedgerOptions{}, inOrder(p))
	if len(a.Broken) > 0 || len(a.Unjudged) > 0 || a.Sent != 200 || a.Handled["test-a"] != 200 || a.Repeats != 100 {
		t.Errorf("%+v: want 200 sent and handled, 100 repeated by the instance that crashed, and nothing broken", a)
	}
}

// TestLedgerMarked: what the idempotency hook had marked when its process was killed was handled, though nobody reported so.
func TestLedgerMarked(t *testing.T) {
	p := &past{crashed: map[string]bool{"dead": true}}
	d := own("M1", "gray", 1, false)
	p.sent("M1", "gray")
	p.begun(d.by("dead"))
	p.duplicate(d)
	if a := p.judge(verdict.LedgerOptions{}, inOrder(p)); len(a.Broken) > 0 || a.Handled["test-a"] != 1 || a.Repeats != 0 {
		t.Errorf("%+v: want one message handled, none repeated, and nothing broken", a)
	}
}
