package grayrocketmq

import (
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// TestDecide goes through design/messages.md, line by line.
func TestDecide(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	lane := graylib.Lane{Tag: "gray", Listed: at, State: graylib.LaneActive}
	retired, leaving := lane, lane
	retired.State = graylib.LaneRetired
	leaving.Until = at.Add(time.Hour)
	rules := func(l ...graylib.Lane) graylib.Rules { return &graylibtest.Rules{List: l} }
	const (
		all    = graylib.ModeAll
		ignore = graylib.ModeIgnore
		auto   = graylib.ModeAuto
	)
	ok := func(reason string) verdict { return verdict{handle: true, reason: reason} }
	no := func(reason string) verdict { return verdict{reason: reason} }
	guard := verdict{reason: reasonGuard, quiet: true}
	later, early := at, at.Add(-boundaryMargin-time.Millisecond)
	for _, tc := range []struct {
		name  string
		k     kind
		m     seen
		rules graylib.Rules
		mode  graylib.Mode
		want  verdict
	}{
		{"base: untagged", kindBase, seen{stored: later, wanted: true}, rules(lane), all, ok(reasonUntagged)},
		{"base: untagged, not wanted", kindBase, seen{stored: later}, rules(lane), all, no(reasonExpression)},
		{"base: tagged", kindBase, seen{tag: "gray", stored: later, wanted: true}, rules(lane), all, guard},
		{"base: malformed", kindBase, seen{tag: "N O", stored: later, wanted: true}, rules(lane), all, guard},
		{"base: retry, though tagged", kindBase, seen{tag: "gray", stored: later, retry: true}, rules(lane), ignore, ok(reasonRetry)},

		{"lane: its own", kindLane, seen{tag: "gray", stored: later, wanted: true}, rules(lane), ignore, ok(reasonLane)},
		{"lane: its own, mode all", kindLane, seen{tag: "gray", stored: later, wanted: true}, rules(lane), all, ok(reasonLane)},
		{"lane: its own, retired", kindLane, seen{tag: "gray", stored: later, wanted: true}, rules(retired), ignore, ok(reasonLane)},
		{"lane: its own, listed no more", kindLane, seen{tag: "gray", stored: later, wanted: true}, rules(), ignore, verdict{reason: reasonUnlisted, wait: true}},
		{"lane: its own, not wanted", kindLane, seen{tag: "gray", stored: later}, rules(lane), ignore, no(reasonExpression)},
		{"lane: at the boundary", kindLane, seen{tag: "gray", stored: at.Add(-boundaryMargin), wanted: true}, rules(lane), ignore, ok(reasonLane)},
		{"lane: before the boundary", kindLane, seen{tag: "gray", stored: early, wanted: true}, rules(lane), ignore, no(reasonBoundary)},
		{"lane: before until", kindLane, seen{tag: "gray", stored: later, wanted: true}, rules(leaving), ignore, ok(reasonLane)},
		{"lane: from until on", kindLane, seen{tag: "gray", stored: leaving.Until, wanted: true}, rules(leaving), ignore, verdict{reason: reasonForgotten, wait: true}},
		{"lane: another's", kindLane, seen{tag: "blue", stored: later, wanted: true}, rules(lane), ignore, guard},
		{"lane: untagged", kindLane, seen{stored: later, wanted: true}, rules(lane), ignore, guard},
		{"lane: retry from before the boundary", kindLane, seen{tag: "gray", stored: early, retry: true}, rules(lane), ignore, ok(reasonRetry)},

		{"tagged: untagged", kindTagged, seen{stored: later, wanted: true}, rules(lane), all, guard},
		{"tagged: malformed", kindTagged, seen{tag: "N O", stored: later, wanted: true}, rules(lane), ignore, ok(reasonMalformed)},
		{"tagged: reserved word", kindTagged, seen{tag: "baseline", stored: later, wanted: true}, rules(lane), ignore, ok(reasonMalformed)},
		{"tagged: not listed", kindTagged, seen{tag: "blue", stored: later, wanted: true, read: later.Add(strayWait)}, rules(lane), ignore, ok(reasonUnlisted)},
		{"tagged: not listed as far as is known", kindTagged, seen{tag: "blue", stored: later, wanted: true, read: later.Add(strayWait - time.Millisecond)}, rules(lane), ignore,
			verdict{reason: reasonUnlisted, wait: true}},
		{"tagged: not listed, not wanted", kindTagged, seen{tag: "blue", stored: later}, rules(lane), ignore, no(reasonExpression)},
		{"tagged: before the boundary", kindTagged, seen{tag: "gray", stored: early, wanted: true}, rules(lane), ignore, ok(reasonEarly)},
		{"tagged: mode all", kindTagged, seen{tag: "gray", stored: later, wanted: true}, rules(lane), all, ok(reasonCopy)},
		{"tagged: mode all, the lane is dead", kindTagged, seen{tag: "gray", stored: later, wanted: true, dead: true}, rules(lane), all, no(reasonStandIn)},
		{"tagged: mode ignore", kindTagged, seen{tag: "gray", stored: later, wanted: true}, rules(lane), ignore, no("mode ignore")},
		{"tagged: mode auto", kindTagged, seen{tag: "gray", stored: later, wanted: true}, rules(lane), auto, no("mode auto")},
		{"tagged: retired, mode all", kindTagged, seen{tag: "gray", stored: later, wanted: true}, rules(retired), all, no("mode auto")},
		{"tagged: before until", kindTagged, seen{tag: "gray", stored: later, wanted: true}, rules(leaving), ignore, no("mode ignore")},
		{"tagged: from until on", kindTagged, seen{tag: "gray", stored: leaving.Until, wanted: true, read: leaving.Until.Add(strayWait)}, rules(leaving), ignore, ok(reasonForgotten)},
		{"tagged: from until on, it may be listed again", kindTagged, seen{tag: "gray", stored: leaving.Until, wanted: true, read: leaving.Until.Add(strayWait - time.Millisecond)},
			rules(leaving), ignore, verdict{reason: reasonForgotten, wait: true}},
		{"tagged: copy, not wanted", kindTagged, seen{tag: "gray", stored: later}, rules(lane), all, no(reasonExpression)},
		{"tagged: retry, the mode is ignore now", kindTagged, seen{tag: "gray", stored: later, retry: true}, rules(lane), ignore, ok(reasonRetry)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := decide(tc.k, "gray", tc.m, tc.rules, graylib.Consumption{Baseline: tc.mode, Ignore: []graylib.Tag{"gray"}, Default: all})
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(verdict{})); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDecideOwnsOnce: of a listed lane's message in mode ignore, one group's member handles it and no other.
func TestDecideOwnsOnce(t *testing.T) {
	r := listed(graylib.ModeIgnore, "gray", "blue")
	for _, tag := range []string{"", "gray", "blue", "other-one", "N O"} {
		m := seen{tag: tag, stored: time.Now(), wanted: true, read: time.Now().Add(time.Hour)}
		n := 0
		for _, g := range []struct {
			k   kind
			own graylib.Tag
		}{{kindBase, ""}, {kindTagged, ""}, {kindLane, "gray"}, {kindLane, "blue"}} {
			if decide(g.k, g.own, m, r, r.Consume).handle {
				n++
			}
		}
		if n != 1 {
			t.Errorf("a message with tag %q is handled in %d groups, want 1", tag, n)
		}
	}
}

func TestHopReason(t *testing.T) {
	live := func(tag graylib.Tag) bool { return tag == "alive" }
	for _, tc := range []struct {
		own  graylib.Tag
		wire string
		want graylib.Reason
	}{
		{"", "", graylib.ReasonBaseline},
		{"", "N O", graylib.ReasonBaseline},
		{"gray", "gray", graylib.ReasonLane},
		{"", "gray", graylib.ReasonNoInstance},
		{"", "alive", graylib.ReasonBaseline},
	} {
		if got := hopReason(tc.own, tc.wire, live); got != tc.want {
			t.Errorf("hopReason(%q, %q) = %q, want %q", tc.own, tc.wire, got, tc.want)
		}
	}
}

func TestDesired(t *testing.T) {
	r := listed(graylib.ModeAll, "gray", "blue")
	names := func(list []place) (n []string) {
		for _, p := range list {
			n = append(n, p.group)
		}
		return n
	}
	for _, tc := range []struct {
		name          string
		tag           graylib.Tag
		broadcast     bool
		rules         graylib.Rules
		known         bool
		join, prepare []string
	}{
		{"baseline", "", false, r, true, []string{"g_gray", "g_blue", "g__tagged", "g"}, nil},
		{"baseline, no lanes", "", false, graylib.NoRules, true, []string{"g__tagged", "g"}, nil},
		{"baseline, rules unknown", "", false, graylib.NoRules, false, []string{"g"}, []string{"g__tagged"}},
		{"listed lane", "gray", false, r, true, []string{"g_gray"}, nil},
		{"lane that isn't listed", "red", false, r, true, nil, nil},
		{"baseline, broadcasting", "", true, r, true, []string{"g"}, nil},
		{"baseline, broadcasting, rules unknown", "", true, graylib.NoRules, false, []string{"g"}, nil},
		{"listed lane, broadcasting", "gray", true, r, true, []string{"g_gray"}, nil},
	} {
		join, prepare := desired(graylib.Identity{Service: "a", Tag: tc.tag}, "g", tc.broadcast, tc.rules, tc.known)
		if diff := cmp.Diff(tc.join, names(join)); diff != "" {
			t.Errorf("%s: joins (-want +got):\n%s", tc.name, diff)
		}
		if diff := cmp.Diff(tc.prepare, names(prepare)); diff != "" {
			t.Errorf("%s: prepares (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestDecideBroadcast(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	lane := graylib.Lane{Tag: "gray", Listed: at, State: graylib.LaneActive}
	retired, leaving := lane, lane
	retired.State = graylib.LaneRetired
	leaving.State, leaving.Until = graylib.LaneRetired, at.Add(time.Hour)
	mode := func(m graylib.Mode, l graylib.Lane) *graylibtest.Rules {
		r := &graylibtest.Rules{Consume: graylib.Consumption{Baseline: m, Default: graylib.ModeAuto, Ignore: []graylib.Tag{"gray"}}}
		if l.Tag != "" {
			r.List = []graylib.Lane{l}
		}
		return r
	}
	auto := mode(graylib.ModeAuto, lane)
	ok := func(reason string) verdict { return verdict{handle: true, reason: reason} }
	no := func(reason string) verdict { return verdict{reason: reason} }
	gray := seen{tag: "gray", stored: at, wanted: true}
	dead, early, late, unwanted := gray, gray, gray, gray
	dead.dead = true
	early.stored = at.Add(-time.Hour)
	late.stored = at.Add(2 * time.Hour)
	unwanted.wanted = false
	for _, tc := range []struct {
		name  string
		k     kind
		m     seen
		rules *graylibtest.Rules
		want  verdict
	}{
		{"baseline: untagged", kindAll, seen{wanted: true, stored: at}, auto, ok(reasonUntagged)},
		{"baseline: malformed", kindAll, seen{tag: "N O", wanted: true, stored: at}, auto, ok(reasonMalformed)},
		{"baseline: not listed", kindAll, gray, mode(graylib.ModeAuto, graylib.Lane{}), ok(reasonUnlisted)},
		{"baseline: the lane is live", kindAll, gray, auto, no(reasonLaneInstance)},
		{"baseline: the lane is not", kindAll, dead, auto, ok(reasonNoInstance)},
		{"baseline: stored before the lane was listed", kindAll, early, auto, ok(reasonEarly)},
		{"baseline: stored after it was forgotten", kindAll, late, mode(graylib.ModeAuto, leaving), ok(reasonForgotten)},
		{"baseline: mode all", kindAll, gray, mode(graylib.ModeAll, lane), ok(reasonCopy)},
		{"baseline: mode all, the lane is not live", kindAll, dead, mode(graylib.ModeAll, lane), ok(reasonNoInstance)},
		{"baseline: mode ignore", kindAll, dead, mode(graylib.ModeIgnore, lane), no(reasonMode + "ignore")},
		{"baseline: mode ignore, retired", kindAll, dead, mode(graylib.ModeIgnore, retired), ok(reasonNoInstance)},
		{"baseline: not wanted", kindAll, unwanted, auto, no(reasonExpression)},
		{"lane: its own", kindLane, gray, auto, ok(reasonLane)},
		{"lane: not wanted", kindLane, unwanted, auto, no(reasonExpression)},
		{"lane: untagged", kindLane, seen{wanted: true, stored: at}, auto, verdict{reason: reasonGuard, quiet: true}},
		{"lane: before it was listed", kindLane, early, auto, no(reasonBoundary)},
		{"lane: after it was forgotten", kindLane, late, mode(graylib.ModeAuto, leaving), no(reasonForgotten)},
	} {
		if got := decideBroadcast(tc.k, "gray", tc.m, tc.rules, tc.rules.Consume); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

func TestSelector(t *testing.T) {
	for _, tc := range []struct {
		expr   string
		k      kind
		filter graylib.Filter
		want   consumer.MessageSelector
	}{
		{"sql:a > 5", kindBase, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "(gray_tag IS NULL) AND (a > 5)"}},
		{"sql:a > 5 -- six", kindBase, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "(gray_tag IS NULL) AND (a > 5)"}},
		{"sql:a = 5) OR (TRUE = TRUE", kindBase, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "(gray_tag IS NULL) AND (a = 5)"}},
		{"sql:a > 5", kindTagged, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "gray_tag IS NOT NULL"}},
		{"sql:a > 5", kindLane, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "gray_tag = 'gray'"}},
		{"sql:a > 5 -- six", kindAll, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "a > 5 -- six"}},
		{"sql:a > 5", kindAll, graylib.FilterClient, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}},
		{"a|| b ||a", kindAll, graylib.FilterServer, consumer.MessageSelector{Type: consumer.TAG, Expression: "a||b"}},
		{"", kindAll, graylib.FilterServer, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}},
		{"sql:a > 5", kindBase, graylib.FilterClient, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}},
		{"*", kindBase, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "gray_tag IS NULL"}},
		{"a|| b ||a", kindBase, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "gray_tag IS NULL AND TAGS IN ('a', 'b')"}},
		{"it's", kindBase, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "gray_tag IS NULL AND TAGS IN ('it''s')"}},
		{"a||b", kindTagged, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "gray_tag IS NOT NULL"}},
		{"a||b", kindLane, graylib.FilterServer, consumer.MessageSelector{Type: consumer.SQL92, Expression: "gray_tag = 'gray'"}},
		{"a||b", kindBase, graylib.FilterClient, consumer.MessageSelector{Type: consumer.TAG, Expression: "a||b"}},
		{"", kindBase, graylib.FilterClient, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}},
		{"a||b", kindTagged, graylib.FilterClient, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}},
		{"a||b", kindLane, graylib.FilterClient, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}},
	} {
		sel := consumer.MessageSelector{Expression: tc.expr}
		if expr, ok := strings.CutPrefix(tc.expr, "sql:"); ok {
			sel = consumer.MessageSelector{Type: consumer.SQL92, Expression: expr}
		}
		s, err := newSubscription("T", sel, newSink().handle)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, s.selector(tc.k, "gray", tc.filter)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.expr, diff)
		}
	}
}
