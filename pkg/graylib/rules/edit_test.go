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

func TestPrepare(t *testing.T) {
	now := t0.Add(90*time.Minute + 123*time.Millisecond)
	current := &Document{Revision: 12, Lanes: []Lane{{Tag: "gray", Listed: t0}}}
	tests := []struct {
		name    string
		content string
		current *Document
		want    string
		err     error
	}{
		{"first", "lanes:\n- tag: gray\n", nil, "revision: 1\nlanes:\n- tag: gray\n  listed: 2026-11-22T11:30:00Z\n", nil},
		{"of the current revision", "revision:   12 # mine\nlanes:\n- tag: gray # old\n\n  # state\n  state: active\n", current, "revision:   13 # mine\nlanes:\n- tag: gray # old\n  listed: 2026-11-22T10:00:00Z\n\n  # state\n  state: active\n", nil},
		{"a new lane", "revision: 12\nlanes:\n  -   tag: blue\n      entries: []\n  - {tag: gray, state: active} # x\n", current, "revision: 13\nlanes:\n  -   tag: blue\n      listed: 2026-11-22T11:30:00Z\n      entries: []\n  - {tag: gray, listed: 2026-11-22T10:00:00Z, state: active} # x\n", nil},
		{"comments on top", "# mine\n\nlanes: []\n# end", current, "# mine\n\nrevision: 13\nlanes: []\n# end", nil},
		{"tag not first", "lanes:\n- state: active\n  tag: gray", current, "revision: 13\nlanes:\n- state: active\n  tag: gray\n  listed: 2026-11-22T10:00:00Z", nil},
		{"quoted", "'revision': 12\n\"lanes\":\n- \"tag\": 'gray'\n", current, "'revision': 13\n\"lanes\":\n- \"tag\": 'gray'\n  listed: 2026-11-22T10:00:00Z\n", nil},
		{"tag on the next line", "lanes:\n- tag:\n    gray\n  state: active\n", current, "revision: 13\nlanes:\n- tag:\n    gray\n  listed: 2026-11-22T10:00:00Z\n  state: active\n", nil},
		{"tag as a block", "lanes:\n- tag: >-\n    gray\n  state: active\n", current, "revision: 13\nlanes:\n- listed: 2026-11-22T10:00:00Z\n  tag: >-\n    gray\n  state: active\n", nil},
		{"one line", "{lanes: [{tag: gray}, {\"tag\": \"blue\"}]}", current, "{revision: 13, lanes: [{tag: gray, listed: 2026-11-22T10:00:00Z}, {\"tag\": \"blue\", listed: 2026-11-22T11:30:00Z}]}", nil},
		{"Windows", "\ufeffrevision: 12\r\nlanes:\r\n- tag: gray\r\n  state: active\r\n", current, "\ufeffrevision: 13\r\nlanes:\r\n- tag: gray\r\n  listed: 2026-11-22T10:00:00Z\r\n  state: active\r\n", nil},
		{"Windows, revision missing", "lanes:\r\n- tag: gray", current, "revision: 13\r\nlanes:\r\n- tag: gray\r\n  listed: 2026-11-22T10:00:00Z", nil},
		{"other letters", "lanes:\n- {tag: gray, entries: [{name: \"小明 é\", service: a, when: [{from: path, op: exists}]}]}\n- {\"tag\": blue} # é\n", current, "revision: 13\nlanes:\n- {tag: gray, listed: 2026-11-22T10:00:00Z, entries: [{name: \"小明 é\", service: a, when: [{from: path, op: exists}]}]}\n- {\"tag\": blue, listed: 2026-11-22T11:30:00Z} # é\n", nil},
		{"document markers", "---\nlanes: []\n...\n", current, "---\nrevision: 13\nlanes: []\n...\n", nil},
		{"revision 0", "revision: 0\n", current, "revision: 13\n", nil},
		{"a lost document again", "revision: 12\nlanes:\n- tag: gray\n  listed: 2026-01-01T00:00:00Z\n", nil, "revision: 13\nlanes:\n- tag: gray\n  listed: 2026-01-01T00:00:00Z\n", nil},
		{"stale", "revision: 11\n", current, "", ErrStale},
		{"ahead", "revision: 13\n", current, "", ErrStale},
		{"a new lane with a time", "lanes:\n- tag: blue\n  listed: 2026-01-01T00:00:00Z\n", current, "", ErrLane},
		{"invalid", "lanes: x\n", current, "", ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Prepare([]byte(tt.content), tt.current, now)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("Prepare: %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("Prepare (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStaleNamesBothRevisions(t *testing.T) {
	_, err := Prepare([]byte("# mine\nrevision: 11\n"), &Document{Revision: 12}, t0)
	const want = "line 2: revision: 11 is stale, revision 12 is published: take over what changed (`graychain rules get` shows it), or leave revision out to replace it"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestSetConsumer(t *testing.T) {
	const lanes = "lanes: [{tag: gray}, {tag: blue}]\n"
	ignore := Consumer{Consumer: "a", Baseline: graylib.ModeIgnore, Ignore: []graylib.Tag{"gray"}}
	all := Consumer{Consumer: "a", Baseline: graylib.ModeAll}
	tests := []struct {
		name    string
		content string
		set     Consumer
		want    string
	}{
		{"no messages", lanes + "# end\n", ignore, lanes + "# end\nmessages:\n  - consumer: a\n    baseline: ignore\n    ignore: [gray]\n"},
		{"no line end", "lanes: [{tag: gray}]", ignore, "lanes: [{tag: gray}]\nmessages:\n  - consumer: a\n    baseline: ignore\n    ignore: [gray]"},
		{"messages empty", lanes + "messages: # none\nmarks: []\n", ignore, lanes + "messages: # none\n  - consumer: a\n    baseline: ignore\n    ignore: [gray]\nmarks: []\n"},
		{"messages an empty list", lanes + "messages: [] # none\n", all, lanes + "messages: # none\n  - consumer: a\n    baseline: all\n"},
		{"another consumer", lanes + "messages:\n- consumer: b # b\n  baseline: all\n\n# marks\nmarks: []\n", ignore, lanes + "messages:\n- consumer: b # b\n  baseline: all\n- consumer: a\n  baseline: ignore\n  ignore: [gray]\n\n# marks\nmarks: []\n"},
		{"another consumer on one line", lanes + "messages: [{consumer: b}] # x\n", ignore, lanes + "messages: [{consumer: b}, {consumer: a, baseline: ignore, ignore: [gray]}] # x\n"},
		{"narrower ones", lanes + "messages:\n- {consumer: a, topic: T}\n", all, lanes + "messages:\n- {consumer: a, topic: T}\n- consumer: a\n  baseline: all\n"},
		{"all to ignore", lanes + "messages:\n  - consumer: a # who\n    baseline: all # what\n    filter: server # where\n", ignore, lanes + "messages:\n  - consumer: a # who\n    baseline: ignore # what\n    ignore: [gray]\n    filter: server # where\n"},
		{"ignore to all", lanes + "messages:\n  - consumer: a # who\n    baseline: ignore # what\n    # lanes\n    ignore: [gray] # gray\n    filter: client\n", all, lanes + "messages:\n  - consumer: a # who\n    baseline: all # what\n    # lanes\n    filter: client\n"},
		{"ignore to all, list in lines", lanes + "messages:\n  - consumer: a\n    baseline: ignore\n    ignore:\n      - gray # x\n      - blue\nmarks: []\n", all, lanes + "messages:\n  - consumer: a\n    baseline: all\nmarks: []\n"},
		{"ignore to ignore", lanes + "messages:\n  - consumer: a\n    baseline: ignore\n    ignore:\n    - blue\n    # both\n    - gray\n  - consumer: b\n", ignore, lanes + "messages:\n  - consumer: a\n    baseline: ignore\n    ignore: [gray]\n  - consumer: b\n"},
		{"ignore first", lanes + "messages:\n- ignore: [gray]\n  baseline: ignore\n  consumer: a\n", all, lanes + "messages:\n- baseline: all\n  consumer: a\n"},
		{"one line", lanes + "messages: [{consumer: a, ignore: [gray], baseline: ignore}]\n", all, lanes + "messages: [{consumer: a, baseline: all}]\n"},
		{"one line, more", lanes + "messages: [{consumer: a}]\n", ignore, lanes + "messages: [{consumer: a, baseline: ignore, ignore: [gray]}]\n"},
		{"all in one line", "{lanes: [{tag: gray}]}", ignore, "{messages: [{consumer: a, baseline: ignore, ignore: [gray]}], lanes: [{tag: gray}]}"},
		{"an empty mapping", "{}\n", all, "{messages: [{consumer: a, baseline: all}]}\n"},
		{"already so", lanes + "messages: [{consumer: a, baseline: all, filter: client}]\n", all, lanes + "messages: [{consumer: a, baseline: all, filter: client}]\n"},
		{"comments alone", "# mine\n", all, "# mine\nmessages:\n  - consumer: a\n    baseline: all\n"},
		{"nothing", "", all, "messages:\n  - consumer: a\n    baseline: all\n"},
		{"Windows", "lanes: [{tag: gray}]\r\nmessages:\r\n- consumer: a\r\n  baseline: all\r\n", ignore, "lanes: [{tag: gray}]\r\nmessages:\r\n- consumer: a\r\n  baseline: ignore\r\n  ignore: [gray]\r\n"},
		{"odd names", lanes, Consumer{Consumer: "1.0", Group: "yes", Topic: "%RETRY%x", Filter: graylib.FilterClient}, lanes + "messages:\n  - consumer: \"1.0\"\n    group: \"yes\"\n    topic: \"%RETRY%x\"\n    filter: client\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := SetConsumer([]byte(tt.content), tt.set)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("SetConsumer (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("invalid", func(t *testing.T) {
		_, err := SetConsumer([]byte(lanes), Consumer{Consumer: "a", Baseline: graylib.ModeIgnore, Ignore: []graylib.Tag{"red"}})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("error %v, want ErrInvalid", err)
		}
	})
}

func TestAddLane(t *testing.T) {
	lane := Lane{Tag: "gray", Propagate: Bool(false), ColourFromNode: true, Entries: []Entry{{
		Name: "小明", Service: "a", Path: "/x*", Match: MatchAny, When: []Condition{
			{From: graylib.FromQuery, Key: "name", Op: OpEqual, Value: Value{"007"}},
			{From: graylib.FromIP, Op: OpIn, Value: Value{"10.0.0.0/8"}},
			{From: graylib.FromBody, Key: "a.b", Op: OpRegex, Value: Value{"\"\\d\"\n"}},
			{From: graylib.FromPath, Op: OpExists},
		},
	}}}
	const text = "tag: gray\n    propagate: false\n    colourFromNode: true\n    entries: [{name: \"小明\", service: a, path: \"/x*\", match: any, when: [" +
		`{from: query, key: name, op: "==", value: "007"}, {from: ip, op: "in", value: ["10.0.0.0/8"]}, {from: body, key: a.b, op: "regex", value: "\"\\d\"\n"}, {from: path, op: "exists"}]}]` + "\n"
	for content, want := range map[string]string{
		"":                             "lanes:\n  - " + text,
		"# mine\n":                     "# mine\nlanes:\n  - " + text,
		"revision: 1\n":                "revision: 1\nlanes:\n  - " + text,
		"lanes:\n  - tag: blue # x\n":  "lanes:\n  - tag: blue # x\n  - " + text,
		"lanes:\n  - tag: blue\n# x\n": "lanes:\n  - tag: blue\n  - " + text + "# x\n",
	} {
		got, err := AddLane([]byte(content), lane)
		if err != nil {
			t.Errorf("AddLane(%q): %v", content, err)
			continue
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("AddLane(%q) (-want +got):\n%s", content, diff)
		}
	}
	if _, err := AddLane([]byte("lanes: [{tag: gray}]"), lane); !errors.Is(err, ErrInvalid) {
		t.Errorf("listed twice: %v, want ErrInvalid", err)
	}
}

// TestEditingKeepsTheRest draws documents in odd layouts: what editing adds and changes is what was asked for (the package
// compares), and every line of before is there still.
func TestEditingKeepsTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eol := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "eol")
		lines := drawDocument(t)
		content := strings.Join(lines, eol)
		if rapid.Bool().Draw(t, "last line ends") {
			content += eol
		}
		if !strings.Contains(content, eol) {
			eol = "\n" // one line doesn't tell
		}
		doc, err := Parse([]byte(content))
		if err != nil {
			t.Fatalf("the test's document is no good: %v\n%s", err, content)
		}
		next, err := Prepare([]byte(content), nil, t0)
		if err != nil {
			t.Fatalf("Prepare: %v\n%s", err, content)
		}
		set, err := SetConsumer(next, Consumer{Consumer: "new", Baseline: graylib.ModeAll})
		if err != nil {
			t.Fatalf("SetConsumer: %v\n%s", err, next)
		}
		if again, err := SetConsumer(set, Consumer{Consumer: "new", Baseline: graylib.ModeAll}); err != nil || string(again) != string(set) {
			t.Fatalf("a second time: %v\n%s", err, again)
		}
		rest := string(set)
		for _, l := range lines {
			if strings.HasPrefix(l, "revision:") || strings.HasPrefix(l, "messages:") || strings.Contains(l, "{tag:") {
				continue // changed in the middle
			}
			i := strings.Index(rest, l+eol)
			if i < 0 && !strings.HasSuffix(rest, l) {
				t.Fatalf("line %q is gone or moved:\n%s\nbecame\n%s", l, content, set)
			}
			if i >= 0 {
				rest = rest[i+len(l):]
			}
		}
		if got := mustParse2(t, set); len(got.Lanes) != len(doc.Lanes) || len(got.Messages) != len(doc.Messages)+1 {
			t.Fatalf("lanes or consumers lost:\n%s", set)
		}
	})
}

func mustParse2(t *rapid.T, content []byte) *Document {
	doc, err := Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// drawDocument draws the lines of a good document.
func drawDocument(t *rapid.T) []string {
	var lines []string
	n := 0
	noise := func(indent int) {
		if c := rapid.SampledFrom([]string{"", "", "", "blank", "comment"}).Draw(t, "noise"); c == "blank" {
			lines = append(lines, "")
		} else if c == "comment" {
			n++
			lines = append(lines, fmt.Sprintf("%*s# note %d: é [", indent, "", n))
		}
	}
	tail := func() string { return rapid.SampledFrom([]string{"", "  # é: x"}).Draw(t, "tail") }
	quote := func(s string) string {
		return rapid.SampledFrom([]string{s, `"` + s + `"`, "'" + s + "'"}).Draw(t, "quote")
	}
	noise(0)
	sections := rapid.Permutation([]string{"revision", "lanes", "messages", "marks"}).Draw(t, "sections")
	tags := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9]{2,5}`).Filter(func(s string) bool {
		_, err := graylib.ParseTag(s)
		return err == nil && scalar(s) == s
	}), 0, 3, rapid.ID[string]).Draw(t, "tags")
	for _, s := range sections {
		switch s {
		case "revision":
			if rapid.Bool().Draw(t, "has revision") {
				lines = append(lines, "revision: 7"+tail())
			}
		case "lanes":
			lines = append(lines, "lanes:"+tail())
			indent := rapid.IntRange(0, 4).Draw(t, "indent")
			gap := rapid.IntRange(1, 3).Draw(t, "gap")
			for _, tag := range tags {
				noise(indent)
				if rapid.Bool().Draw(t, "flow") {
					lines = append(lines, fmt.Sprintf("%*s-%*s{tag: %s, state: active}%s", indent, "", gap, "", quote(tag), tail()))
					continue
				}
				fields := rapid.Permutation([]string{"tag: " + quote(tag), quote("state") + ": active", "propagate: true", "entries: []"}).Draw(t, "fields")
				for i, f := range fields {
					dash := "-"
					if i > 0 {
						dash = " "
						noise(indent + 1 + gap)
					}
					lines = append(lines, fmt.Sprintf("%*s%s%*s%s%s", indent, "", dash, gap, "", f, tail()))
				}
			}
		case "messages":
			switch rapid.IntRange(0, 3).Draw(t, "messages") {
			case 0:
			case 1:
				lines = append(lines, "messages: [{consumer: a}]"+tail())
			case 2:
				lines = append(lines, "messages: []"+tail())
			case 3:
				lines = append(lines, "messages:"+tail())
				noise(2)
				lines = append(lines, "  - consumer: a"+tail(), "    baseline: all"+tail())
			}
		case "marks":
			if len(tags) > 0 && rapid.Bool().Draw(t, "marks") {
				lines = append(lines, "marks:", "- {producer: c, topic: T, tag: "+tags[0]+", when: [{from: keys, op: exists}]}"+tail())
			}
		}
		noise(0)
	}
	return lines
}
