package rules

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

// memory is a config centre that remembers everything.
type memory struct {
	versions []Version        // oldest first; nil content = deleted
	broken   error            // why the history can't be had
	race     func()           // called before the next publishing
	now      func() time.Time // nil = time.Now
}

// put takes a text as published now, or some time ago where it begins with "ago 1h;".
func (m *memory) put(content string) {
	v := Version{At: time.Now()}
	if m.now != nil {
		v.At = m.now()
	}
	if rest, ok := strings.CutPrefix(content, "ago "); ok {
		ago, text, _ := strings.Cut(rest, ";")
		d, err := time.ParseDuration(ago)
		if err != nil {
			panic(err)
		}
		v.At, content = v.At.Add(-d), text
	}
	if content != "" {
		v.Content = []byte(content)
	}
	m.versions = append(m.versions, v)
}

func (m *memory) current() []byte {
	if len(m.versions) == 0 {
		return nil
	}
	return m.versions[len(m.versions)-1].Content
}

func digest(content []byte) string {
	if len(content) == 0 {
		return ""
	}
	s := md5.Sum(content)
	return hex.EncodeToString(s[:])
}

func (m *memory) Get(context.Context) ([]byte, string, error) {
	return m.current(), digest(m.current()), nil
}

func (m *memory) Publish(_ context.Context, content []byte, cas string) error {
	if race := m.race; race != nil {
		m.race = nil
		race()
	}
	if digest(m.current()) != cas {
		return fmt.Errorf("memory: %w", ErrConflict)
	}
	m.put(string(content))
	return nil
}

func (m *memory) History(_ context.Context, limit int) ([]Version, error) {
	if m.broken != nil {
		return nil, m.broken
	}
	out := slices.Clone(m.versions)
	slices.Reverse(out)
	if limit > 0 {
		out = out[:min(limit, len(out))]
	}
	for i := range out {
		out[i].Judge()
	}
	return out, nil
}

const (
	rollFirst = `# the first
revision: 1
lanes:
  - tag: gray # ours
    listed: 2026-01-01T00:00:00Z
    entries: [{name: x, service: a, when: [{from: query, key: name, op: "==", value: one}]}]
`
	rollSecond = `revision: 2
lanes:
  - {tag: gray, listed: 2026-01-01T00:00:00Z, state: retired}
  - {tag: blue, listed: 2026-01-02T00:00:00Z, entries: [{name: x, service: a, when: [{from: query, key: name, op: "==", value: two}]}]}
messages: [{consumer: a, baseline: ignore, ignore: [blue]}]
`
)

func TestRollback(t *testing.T) {
	future := time.Now().Add(time.Hour).UTC().Truncate(time.Second).Format(timeLayout)
	past := time.Now().Add(-time.Hour).UTC().Truncate(time.Second).Format(timeLayout)
	anew := time.Now().Add(-20 * time.Minute).UTC().Truncate(time.Second).Format(timeLayout)
	forgetting := "revision: 2\nlanes:\n  - {tag: gray, listed: 2026-01-01T00:00:00Z, state: retired, until: " + future + "}\n"
	forgotten := strings.Replace(forgetting, future, past, 1)
	for _, tt := range []struct {
		name      string
		published []string
		to        int64
		want      string // NOW stands for the time of the rollback
		notes     []string
		err       error
		errText   string
	}{
		{name: "a lane listed since stays, retired", published: []string{rollFirst, rollSecond}, to: 1,
			want:  strings.Replace(rollFirst, "revision: 1", "revision: 3", 1) + "  - tag: blue\n    listed: 2026-01-02T00:00:00Z\n    state: retired\n",
			notes: []string{"lane blue was listed since: it stays, retired, until it is forgotten"}},
		{name: "and forth again", published: []string{rollFirst, rollSecond, strings.Replace(rollFirst, "revision: 1", "revision: 3", 1) + "  - {tag: blue, listed: 2026-01-02T00:00:00Z, state: retired}\n"}, to: 2,
			want: strings.Replace(rollSecond, "revision: 2", "revision: 4", 1)},
		{name: "the time a lane was listed anew is kept", published: []string{"ago 5h;" + rollFirst, "ago 2h;" + forgotten, "ago 30m;revision: 3\n", "revision: 4\nlanes: [{tag: gray, listed: " + anew + "}]\n"}, to: 1,
			want: strings.NewReplacer("revision: 1", "revision: 5", "2026-01-01T00:00:00Z", anew).Replace(rollFirst)},
		{name: "a time that was moved by hand isn't", published: []string{rollFirst, "revision: 4\nlanes: [{tag: gray, listed: 2026-03-01T00:00:00Z}]\n"}, to: 1,
			want: strings.Replace(rollFirst, "revision: 1", "revision: 5", 1)},
		{name: "a lane that was forgotten is listed anew", published: []string{"ago 5h;" + rollFirst, "ago 2h;" + forgotten, "revision: 4\n"}, to: 1,
			want:  strings.NewReplacer("revision: 1", "revision: 5", "2026-01-01T00:00:00Z", "NOW").Replace(rollFirst),
			notes: []string{"lane gray had been forgotten since: it is listed anew"}},
		{name: "a lane that was dropped by hand is still the services'", published: []string{rollFirst, "revision: 100\n"}, to: 1,
			want: strings.Replace(rollFirst, "revision: 1", "revision: 101", 1)},
		{name: "a lane that is being forgotten stays so", published: []string{rollFirst, forgetting}, to: 1,
			want:  strings.NewReplacer("revision: 1", "revision: 3", "- tag: gray # ours\n    listed: 2026-01-01T00:00:00Z\n", "- tag: gray # ours\n    until: "+future+"\n    listed: 2026-01-01T00:00:00Z\n    state: retired\n").Replace(rollFirst),
			notes: []string{"lane gray is being forgotten: it stays retired"}},
		{name: "back to a lane that was being forgotten, and has been listed anew", to: 2,
			published: []string{"ago 5h;" + rollFirst, "ago 2h;" + forgotten, "ago 30m;revision: 3\n", "revision: 4\nlanes: [{tag: gray, listed: " + anew + "}]\n"},
			want:      "revision: 5\nlanes:\n  - {tag: gray, listed: " + anew + ", state: retired}\n",
			notes:     []string{"lane gray was being forgotten then, and has been listed anew since: it stays listed"}},
		{name: "a lane whose time has passed stays too: something may be left", published: []string{"revision: 1\n", strings.Replace(forgetting, future, past, 1)}, to: 1,
			want:  "revision: 3\nlanes:\n  - tag: gray\n    listed: 2026-01-01T00:00:00Z\n    state: retired\n    until: " + past + "\n",
			notes: []string{"lane gray was listed since: it stays, retired, until it is forgotten"}},
		{name: "deleted since", published: []string{rollFirst, ""}, to: 1, want: strings.Replace(rollFirst, "revision: 1", "revision: 2", 1)},
		{name: "broken since", published: []string{rollFirst, "revision: 9\nlanes: x\n"}, to: 1, want: strings.Replace(rollFirst, "revision: 1", "revision: 2", 1),
			notes: []string{`what was published could not be read by anyone, and has been replaced: line 2: lanes: `}},
		{name: "replaced by hand with a lower revision", published: []string{strings.Replace(rollSecond, "revision: 2", "revision: 12", 1), rollFirst}, to: 12,
			want: strings.Replace(rollSecond, "revision: 2", "revision: 13", 1)},
		{name: "of two with the revision the newest good one", published: []string{strings.Replace(rollFirst, "one", "old", 1), rollFirst, "revision: 1\nlanes: x\n", strings.Replace(rollFirst, "revision: 1", "revision: 2", 1)}, to: 1,
			want: strings.Replace(rollFirst, "revision: 1", "revision: 3", 1)},
		{name: "until was set by hand, without notice", published: []string{"ago 5h;" + rollFirst, forgotten}, to: 1,
			want: strings.Replace(rollFirst, "revision: 1", "revision: 3", 1)},
		{name: "unknown", published: []string{rollFirst, rollSecond}, to: 3, err: ErrNoVersion, errText: "revision 3: no such revision in the history: it has 1, 2 (Nacos keeps 30 days by default)"},
		{name: "broken", published: []string{"revision: 1\nlanes: x\n", rollSecond}, to: 1, err: ErrNoVersion},
		{name: "nothing was ever published", to: 1, err: ErrNoVersion, errText: "it has none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &memory{}
			for _, c := range tt.published {
				m.put(c)
			}
			before := len(m.versions)
			began := time.Now().UTC().Truncate(time.Second)
			result, err := Rollback(t.Context(), m, tt.to)
			if tt.err != nil {
				if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), tt.errText) || len(m.versions) != before {
					t.Fatalf("error %v, want %v with %q and nothing published", err, tt.err, tt.errText)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := string(m.current())
			for at := began; !at.After(time.Now()); at = at.Add(time.Second) {
				got = strings.ReplaceAll(got, at.Format(timeLayout), "NOW")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("published (-want +got):\n%s", diff)
			}
			ok := len(tt.notes) == len(result.Notes)
			for i := range tt.notes {
				ok = ok && strings.HasPrefix(result.Notes[i], tt.notes[i])
			}
			if !ok {
				t.Errorf("notes %q, want %q", result.Notes, tt.notes)
			}
			if !result.Changed || result.Revision != result.Document.Revision || string(result.Content) != string(m.current()) {
				t.Errorf("result %+v", result)
			}
		})
	}
}

// Someone else's change in between is neither lost nor dropped: the lane that it lists stays.
func TestRollbackLosesNoChangeInBetween(t *testing.T) {
	m := &memory{}
	m.put(rollFirst)
	m.put(strings.Replace(rollFirst, "revision: 1", "revision: 2", 1))
	m.race = func() { m.put(strings.Replace(rollSecond, "revision: 2", "revision: 3", 1)) }
	result, err := Rollback(t.Context(), m, 1)
	if err != nil {
		t.Fatal(err)
	}
	if result.Revision != 4 || result.Document.laneIndex("blue") < 0 {
		t.Errorf("revision %d with lanes %v, want 4 with blue", result.Revision, result.Document.Lanes)
	}
}

// Whatever was published when: every rollback may follow what services have, whatever they have seen of it, and keeps
// every lane with its times.
func TestRollbackIsAlwaysSafe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &memory{}
		clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		p := publisher{store: m, now: func() time.Time { return clock }}
		docs := []*Document{}
		for revision := int64(1); revision <= int64(rapid.IntRange(1, 6).Draw(rt, "revisions")); revision++ {
			clock = clock.Add(time.Duration(rapid.IntRange(1, 80).Draw(rt, "pause")) * time.Second)
			doc := &Document{Revision: revision}
			var last *Document
			if len(docs) > 0 {
				last = docs[len(docs)-1]
			}
			for _, tag := range []graylib.Tag{"gray", "blue", "green"} {
				var was *Lane
				if last != nil {
					if i := last.laneIndex(tag); i >= 0 {
						was = &last.Lanes[i]
					}
				}
				what := rapid.IntRange(0, 3).Draw(rt, string(tag))
				switch {
				case was == nil && what > 1:
					doc.Lanes = append(doc.Lanes, Lane{Tag: tag, Listed: clock})
				case was == nil:
				case !was.Until.IsZero() && !clock.Before(was.Until.Add(ForgetDelay)): // it leaves
				case what == 0 && was.Until.IsZero():
					doc.Lanes = append(doc.Lanes, Lane{Tag: tag, Listed: was.Listed, State: graylib.LaneRetired, Until: clock.Add(ForgetNotice)})
				default:
					doc.Lanes = append(doc.Lanes, *was)
				}
			}
			if err := CheckTransition(last, doc, Reading{At: clock, Since: clock}); err != nil {
				rt.Fatalf("the test's own history: %v", err)
			}
			text, err := edited([]byte("revision: 0\n"), doc, func(e *textEditor) error { return e.set(e.root, "revision", fmt.Sprint(revision), "") })
			if err != nil { // lanes are written one by one
				text = []byte(fmt.Sprintf("revision: %d\n", revision))
				for _, l := range doc.Lanes {
					if text, err = AddLane(text, l); err != nil {
						rt.Fatal(err)
					}
				}
			}
			m.versions = append(m.versions, Version{Content: text, At: clock})
			docs = append(docs, doc)
		}
		clock = clock.Add(time.Duration(rapid.IntRange(0, 50).Draw(rt, "later")) * time.Second)
		to := int64(rapid.IntRange(1, len(docs)).Draw(rt, "to"))
		result, err := p.rollback(context.Background(), m, to)
		if err != nil {
			rt.Fatalf("rollback to %d: %v", to, err)
		}
		for i, seen := range docs { // an instance may have missed any of them
			if err := CheckTransition(seen, result.Document, Reading{At: clock, Missed: i < len(docs)-1, Since: clock}); err != nil {
				rt.Fatalf("an instance on revision %d refuses the rollback: %v", seen.Revision, err)
			}
		}
		for _, l := range docs[len(docs)-1].Lanes {
			i := result.Document.laneIndex(l.Tag)
			if i < 0 {
				rt.Fatalf("lane %s was dropped", l.Tag)
			}
			if i >= 0 && (!result.Document.Lanes[i].Listed.Equal(l.Listed) || !result.Document.Lanes[i].Until.Equal(l.Until)) {
				rt.Fatalf("lane %s is %+v, was %+v", l.Tag, result.Document.Lanes[i], l)
			}
		}
	})
}
