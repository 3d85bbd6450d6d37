package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestLaneLife takes the steps of a lane's life in several layouts.
func TestLaneLife(t *testing.T) {
	until := time.Date(2026, 11, 22, 12, 0, 0, 5, time.UTC)
	const at = "2026-11-22T10:00:00Z"
	tests := []struct{ name, content, retired, forgotten, dropped string }{
		{
			"block",
			"# ours\nlanes:\n  # mine\n  - tag: gray # the first\n    listed: " + at + "\n    entries: []\n  - tag: blue\nmarks: []\n",
			"# ours\nlanes:\n  # mine\n  - tag: gray # the first\n    listed: " + at + "\n    state: retired\n    entries: []\n  - tag: blue\nmarks: []\n",
			"# ours\nlanes:\n  # mine\n  - tag: gray # the first\n    listed: " + at + "\n    state: retired\n    until: 2026-11-22T12:00:00Z\n    entries: []\n  - tag: blue\nmarks: []\n",
			"# ours\nlanes:\n  # mine\n  - tag: blue\nmarks: []\n",
		},
		{
			"the last one",
			"lanes:\n- tag: blue\n-\n  state: active # now\n  tag: gray\n# end",
			"lanes:\n- tag: blue\n-\n  state: retired # now\n  tag: gray\n# end",
			"lanes:\n- tag: blue\n-\n  state: retired # now\n  until: 2026-11-22T12:00:00Z\n  tag: gray\n# end",
			"lanes:\n- tag: blue\n# end",
		},
		{
			"the only one",
			"lanes:\n- {tag: gray}\n",
			"lanes:\n- {tag: gray, state: retired}\n",
			"lanes:\n- {tag: gray, state: retired, until: 2026-11-22T12:00:00Z}\n",
			"lanes:\n",
		},
		{
			"one line, first",
			"lanes: [{tag: gray}, {tag: blue}] # all\n",
			"lanes: [{tag: gray, state: retired}, {tag: blue}] # all\n",
			"lanes: [{tag: gray, state: retired, until: 2026-11-22T12:00:00Z}, {tag: blue}] # all\n",
			"lanes: [{tag: blue}] # all\n",
		},
		{
			"one line, last, ignored",
			"lanes: [{tag: blue}, {tag: gray}]\nmessages:\n- consumer: a\n  baseline: ignore\n  ignore: [gray]\n- {consumer: b, baseline: ignore, ignore: [gray, blue]}\n",
			"lanes: [{tag: blue}, {tag: gray, state: retired}]\nmessages:\n- consumer: a\n  baseline: ignore\n  ignore: [gray]\n- {consumer: b, baseline: ignore, ignore: [gray, blue]}\n",
			"lanes: [{tag: blue}, {tag: gray, state: retired, until: 2026-11-22T12:00:00Z}]\nmessages:\n- consumer: a\n  baseline: ignore\n  ignore: [gray]\n- {consumer: b, baseline: ignore, ignore: [gray, blue]}\n",
			"lanes: [{tag: blue}]\nmessages:\n- consumer: a\n  baseline: auto\n- {consumer: b, baseline: ignore, ignore: [blue]}\n",
		},
		{
			"one line, alone",
			"lanes: [{tag: gray}]\n",
			"lanes: [{tag: gray, state: retired}]\n",
			"lanes: [{tag: gray, state: retired, until: 2026-11-22T12:00:00Z}]\n",
			"lanes: []\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := []byte(tt.content)
			for _, step := range []struct {
				name string
				take func([]byte) ([]byte, error)
				want string
			}{
				{"retire", func(b []byte) ([]byte, error) { return RetireLane(b, "gray") }, tt.retired},
				{"retire again", func(b []byte) ([]byte, error) { return RetireLane(b, "gray") }, tt.retired},
				{"forget", func(b []byte) ([]byte, error) { return ForgetLane(b, "gray", until) }, tt.forgotten},
				{"forget again, later", func(b []byte) ([]byte, error) { return ForgetLane(b, "gray", until.Add(time.Hour)) }, tt.forgotten},
				{"drop", func(b []byte) ([]byte, error) { return DropLane(b, "gray") }, tt.dropped},
			} {
				var err error
				if text, err = step.take(text); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
				if diff := cmp.Diff(step.want, string(text)); diff != "" {
					t.Fatalf("%s (-want +got):\n%s", step.name, diff)
				}
			}
		})
	}
}

func TestLaneLifeRefused(t *testing.T) {
	const doc = "lanes: [{tag: gray}, {tag: blue, state: retired}]\nmarks: [{producer: c, topic: T, tag: blue, when: [{from: keys, op: exists}]}]\n"
	for _, tt := range []struct {
		name  string
		take  func() ([]byte, error)
		cause error
		want  string
	}{
		{"retire an unknown lane", func() ([]byte, error) { return RetireLane([]byte(doc), "red") }, ErrNoLane, `lane isn't listed: "red"; the rules list gray, blue`},
		{"retire in nothing", func() ([]byte, error) { return RetireLane(nil, "red") }, ErrNoLane, `lane isn't listed: "red"; the rules list none`},
		{"forget an active lane", func() ([]byte, error) { return ForgetLane([]byte(doc), "gray", t0) }, ErrNotRetired, "lane isn't retired: gray; retire it first: `graychain lanes retire gray`"},
		{"forget a marked lane", func() ([]byte, error) { return ForgetLane([]byte(doc), "blue", t0) }, ErrMarked, "line 2: marks[0].tag: is blue: take the mark out before the lane is forgotten"},
		{"drop a marked lane", func() ([]byte, error) { return DropLane([]byte(doc), "blue") }, ErrMarked, "line 2: marks[0].tag: is blue: take the mark out before the lane is forgotten"},
		{"drop an unknown lane", func() ([]byte, error) { return DropLane([]byte(doc), "red") }, ErrNoLane, `lane isn't listed: "red"; the rules list gray, blue`},
	} {
		if _, err := tt.take(); !errors.Is(err, tt.cause) || err.Error() != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestDropLaneKeepsTheRest draws documents: the lane leaves, and every other line stays.
func TestDropLaneKeepsTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "lanes")
		drop := rapid.IntRange(0, n-1).Draw(t, "which")
		indent := rapid.SampledFrom([]string{"", "  ", "    "}).Draw(t, "indent")
		var b, rest strings.Builder
		head := rapid.SampledFrom([]string{"lanes:\n", "# a - comment\nlanes: # all\n"}).Draw(t, "head")
		b.WriteString(head)
		rest.WriteString(head)
		for i := range n {
			item := fmt.Sprintf("%s- tag: t%d\n", indent, i)
			if rapid.Bool().Draw(t, "flow") {
				item = fmt.Sprintf("%s- {tag: t%d} # - x\n", indent, i)
			} else if rapid.Bool().Draw(t, "more") {
				item += fmt.Sprintf("%s  propagate: false # y\n%s  entries: # - none\n%s    - {name: \"- %d\", service: a, when: [{from: query, key: q, op: \"==\", value: \"-\"}]}\n", indent, indent, indent, i)
			}
			b.WriteString(item)
			if i != drop {
				rest.WriteString(item)
			}
		}
		tail := rapid.SampledFrom([]string{"", "# end\n", "marks: []\n"}).Draw(t, "tail")
		b.WriteString(tail)
		rest.WriteString(tail)
		got, err := DropLane([]byte(b.String()), graylib.Tag(fmt.Sprintf("t%d", drop)))
		if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
		if diff := cmp.Diff(rest.String(), string(got)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
