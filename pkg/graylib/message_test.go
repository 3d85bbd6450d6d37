package graylib_test

import (
	"log/slog"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

// markRules mark messages of one producer and topic.
type markRules struct {
	testRules
	producer, topic string
	tag             graylib.Tag
}

func (r markRules) Mark(producer, topic string, _ graylib.Request) (graylib.Tag, bool) {
	if producer == r.producer && topic == r.topic {
		return r.tag, true
	}
	return graylib.Untagged, false
}

// TestMarkTag is the order of design/messages.md, "Marking".
func TestMarkTag(t *testing.T) {
	const started = "-" // a context that never arrived
	marked := func(lanes ...graylib.Lane) markRules {
		return markRules{testRules{Rules: graylib.NoRules, lanes: lanes}, "a", "t", "rule"}
	}
	unmarked := func(lanes ...graylib.Lane) markRules {
		return markRules{testRules: testRules{Rules: graylib.NoRules, lanes: lanes}}
	}
	retired := func(l *graylib.Lane) { l.State = graylib.LaneRetired }
	notOn := func(l *graylib.Lane) { l.ColourFromNode, l.Propagate = true, false }
	tests := []struct {
		name     string
		id       graylib.Identity
		rules    markRules
		incoming string
		own      graylib.Tag
		want     graylib.Tag
		counted  int64 // as malformed
		unlisted int64
	}{
		{"nothing says a tag", baselineSelf, unmarked(), "", "", "", 0, 0},
		{"the context first, listed or not: it is carried", graySelf, marked(lane("gray", fromNode)), "blue", "own", "blue", 0, 0},
		{"then a rule", graySelf, marked(lane("gray", fromNode)), started, "own", "rule", 0, 0},
		{"then the producer's function", graySelf, unmarked(lane("gray", fromNode), lane("own", nil)), started, "own", "own", 0, 0},
		{"a function's tag that isn't listed", baselineSelf, unmarked(lane("gray", nil)), started, "own", "", 0, 1},
		{"a function's tag that is retired", baselineSelf, unmarked(lane("own", retired)), started, "own", "", 0, 1},
		{"a function's tag that isn't listed, then the node", graySelf, unmarked(lane("gray", fromNode)), started, "own", "gray", 0, 1},
		{"then the node, started", graySelf, unmarked(lane("gray", fromNode)), started, "", "gray", 0, 0},
		{"the node, arrived: the context has it", graySelf, marked(lane("gray", fromNode)), "", "own", "gray", 0, 0},
		{"the node's lane doesn't colour", graySelf, unmarked(lane("gray", nil)), started, "", "", 0, 0},
		{"the node's lane puts nothing on the wire", graySelf, unmarked(lane("gray", notOn)), started, "", "", 0, 0},
		{"the node's lane puts nothing on the wire, arrived", graySelf, unmarked(lane("gray", notOn)), "", "", "", 0, 0},
		{"a malformed tag of the function", baselineSelf, unmarked(), started, "Own", "", 1, 0},
		{"a reserved word of the function", baselineSelf, unmarked(), "", "none", "", 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rt := newRuntime(t, tt.id, graylib.WithRules(graylib.StaticRules(tt.rules)), graylib.WithLogger(slog.New(slog.DiscardHandler)))
			ctx := t.Context()
			if tt.incoming != started {
				ctx, _ = rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": tt.incoming})
			}
			own := func() graylib.Tag { return tt.own }
			if got := rt.MarkTag(ctx, "t", noRequest{}, own); got != tt.want {
				t.Errorf("marked %q, want %q", got, tt.want)
			}
			if got := rt.Status().MalformedTags; got != tt.counted {
				t.Errorf("%d malformed tags counted, want %d", got, tt.counted)
			}
			if got := rt.Status().UnlistedMarks; got != tt.unlisted {
				t.Errorf("%d unlisted marks counted, want %d", got, tt.unlisted)
			}
			if tt.own == "" && rt.MarkTag(ctx, "t", noRequest{}, nil) != tt.want {
				t.Error("no function marks otherwise than one that says nothing")
			}
		})
	}
}
