package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestApplyKnowsTheLanesByTheHistory: where what is published doesn't tell which lanes the services have, the history does. A service
// that was never away takes what is published then.
func TestApplyKnowsTheLanesByTheHistory(t *testing.T) {
	const twelve, gray = "ago 1h;" + publishedGray, "  - {tag: gray, listed: 1999-12-31T10:00:00Z}\n"
	const notYAML = "revision: 13\nlanes:\n\t- tag: gray\n"
	for _, tt := range []struct {
		name      string
		published []string
		broken    error // of the history
		file      string
		want      string // published afterwards; "" = refused
		err       error
		text      string // of the error
	}{
		{"not YAML, the file lacks the lane", []string{twelve, notYAML}, nil, "lanes: []\n", "", ErrLane, "gray is missing"},
		{"not YAML, the file moves its listing", []string{twelve, notYAML}, nil, "lanes:\n  - {tag: gray, listed: 1999-12-31T11:00:00Z}\n", "", ErrLane, "was listed at 1999-12-31T10:00:00Z"},
		{"not YAML", []string{twelve, notYAML}, nil, "lanes:\n  - {tag: gray}\n  - {tag: blue}\n", "revision: 14\nlanes:\n" + gray + "  - {tag: blue, listed: 2000-01-01T00:00:00Z}\n", nil, ""},
		{"not YAML, a lane that nobody knows", []string{twelve, notYAML}, nil, "lanes:\n" + gray + "  - {tag: blue, listed: 1999-12-31T10:00:00Z}\n", "", ErrLane, "blue is not published yet"},
		{"not YAML, made of it", []string{twelve, notYAML}, nil, "revision: 13\nlanes:\n" + gray, "revision: 14\nlanes:\n" + gray, nil, ""},
		{"not YAML, made of another", []string{twelve, notYAML}, nil, "revision: 12\nlanes:\n" + gray, "", ErrStale, "12 is stale, revision 13 is published"},
		{"not YAML, no revision", []string{twelve, "]\n"}, nil, "lanes:\n" + gray, "revision: 13\nlanes:\n" + gray, nil, ""},
		{"broken, the lane taken out too", []string{twelve, "revision: 13\ncolour: x\n"}, nil, "lanes: []\n", "", ErrLane, "gray is missing"},
		{"broken after the lane was dropped by hand", []string{twelve, "revision: 13\n", "revision: 14\ncolour: x\n"}, nil, "lanes: []\n", "", ErrLane, "gray is missing"},
		{"deleted", []string{twelve, ""}, nil, "revision: 12\n", "", ErrLane, "gray is missing"},
		{"deleted, with a higher revision", []string{twelve, ""}, nil, "revision: 13\n", "", ErrLane, "gray is missing"},
		{"deleted, whole", []string{twelve, ""}, nil, "revision: 13\nlanes:\n" + gray, "revision: 14\nlanes:\n" + gray, nil, ""},
		{"deleted, without a revision", []string{twelve, ""}, nil, "lanes:\n  - {tag: gray}\n", "revision: 13\nlanes:\n" + gray, nil, ""},
		{"deleted, stale", []string{twelve, ""}, nil, "revision: 11\nlanes:\n" + gray, "", ErrStale, "11 is stale, revision 12 was published last"},
		{"deleted after the lane had been forgotten", []string{"ago 3h;" + publishedForgotten, "ago 10m;revision: 13\n", ""}, nil, "lanes: []\n", "revision: 14\nlanes: []\n", nil, ""},
		{"pasted without revision and listed", []string{twelve, "lanes:\n  - {tag: gray}\n"}, nil, "lanes:\n  - {tag: gray}\n", "revision: 13\nlanes:\n" + gray, nil, ""},
		{"pasted, made of what services have", []string{twelve, "lanes:\n  - {tag: gray}\n"}, nil, "revision: 12\nlanes:\n" + gray, "revision: 13\nlanes:\n" + gray, nil, ""},
		{"by hand, a lower revision", []string{twelve, strings.Replace(publishedGray, "12", "3", 1)}, nil, "lanes:\n  - {tag: gray}\n", "revision: 13\nlanes:\n" + gray, nil, ""},
		{"by hand, a lower revision, made of it", []string{twelve, strings.Replace(publishedGray, "12", "3", 1)}, nil, strings.Replace(publishedGray, "12", "3", 1), "", ErrStale, "`graychain rules rollback --to 12`"},
		{"by hand, the lane is gone", []string{twelve, "revision: 13\n"}, nil, "lanes:\n" + gray, "revision: 14\nlanes:\n" + gray, nil, ""},
		{"by hand, the lane is gone, listed is looked up", []string{twelve, "revision: 13\n"}, nil, "lanes:\n  - {tag: gray}\n", "revision: 14\nlanes:\n" + gray, nil, ""},
		{"by hand, the lane is gone, and from the file", []string{twelve, "revision: 13\n"}, nil, "messages: [{consumer: a}]\n", "", ErrLane,
			"services refuse what is published, and have revision 12: `graychain rules rollback --to 12` puts that in force again (lanes: lane gray is missing"},
		{"by hand, the lane is gone, and the very same again", []string{twelve, "revision: 13\n"}, nil, "revision: 13\n", "", ErrLane, "gray is missing"},
		{"by hand, no listed", []string{twelve, "revision: 13\nlanes:\n  - {tag: gray}\n"}, nil, "lanes:\n  - {tag: gray}\n", "revision: 14\nlanes:\n" + gray, nil, ""},
		{"by hand, listed moves", []string{twelve, strings.NewReplacer("12", "13", "T10", "T11").Replace(publishedGray)}, nil, "lanes:\n  - {tag: gray}\n", "revision: 14\nlanes:\n" + gray, nil, ""},
		{"by hand, forgotten without notice", []string{twelve, strings.Replace(publishedForgotten, "12", "13", 1)}, nil, "lanes:\n  - {tag: gray}\n", "revision: 14\nlanes:\n" + gray, nil, ""},
		{"by hand, forgotten without notice, made of it", []string{twelve, strings.Replace(publishedForgotten, "12", "13", 1)}, nil, strings.Replace(publishedForgotten, "12", "13", 1), "", ErrLane, "less than 30s from now"},
		{"by hand, and all is well", []string{twelve, strings.Replace(publishedGray, "12", "13", 1)}, nil, strings.Replace(publishedGray, "12", "13", 1) + "messages: []\n", strings.Replace(publishedGray, "12", "14", 1) + "messages: []\n", nil, ""},
		{"the lane had been forgotten", []string{"ago 3h;" + publishedForgotten, "ago 10m;revision: 13\n"}, nil, "lanes: []\n", "revision: 14\nlanes: []\n", nil, ""},
		{"pasted, the very first", []string{"lanes:\n  - {tag: gray}\n"}, nil, "lanes:\n  - {tag: gray}\n", "revision: 1\nlanes:\n  - {tag: gray, listed: 2000-01-01T00:00:00Z}\n", nil, ""},
		{"the history can't be had, pasted", []string{twelve, "lanes:\n  - {tag: gray}\n"}, errors.New("memory: no right to"), "lanes:\n  - {tag: gray}\n", "", ErrLanesUnknown, "services refuse what is published (revision: is missing"},
		{"the history can't be had, no listed", []string{twelve, "revision: 13\nlanes:\n  - {tag: gray}\n"}, errors.New("memory: no right to"), "lanes:\n  - {tag: gray}\n", "", ErrLanesUnknown, "memory: no right to"},
		{"the history can't be had, good by itself", []string{twelve}, errors.New("memory: no right to"), "lanes:\n  - {tag: gray}\n", "revision: 13\nlanes:\n" + gray, nil, ""},
		{"the history is lost", []string{""}, nil, "revision: 12\nlanes:\n" + gray, "", ErrLanesUnknown, "the history has no good document"},
		{"the history can't be had", []string{twelve, notYAML}, errors.New("memory: no right to"), "revision: 13\nlanes:\n" + gray, "", ErrLanesUnknown, "the history can't be asked: memory: no right to"},
		{"the history can't be had, broken alone", []string{twelve, publishedGray + "colour: x\n"}, errors.New("memory: no right to"), "lanes:\n  - {tag: gray}\n", "revision: 13\nlanes:\n" + gray, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
				m := &memory{broken: tt.broken}
				for _, c := range tt.published {
					m.put(c)
				}
				before := len(m.versions)
				_, err := Apply(t.Context(), m, []byte(tt.file))
				if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error %v, want %v with %q", err, tt.err, tt.text)
				}
				if tt.want == "" && len(m.versions) != before || tt.want != "" && string(m.current()) != tt.want {
					t.Errorf("published:\n%s\nwant:\n%s", m.current(), tt.want)
				}
				if m.broken = nil; tt.want == "" || tt.err != nil {
					return
				}
				history, _ := m.History(t.Context(), 0)
				if have := servicesHave(history, time.Now()); !same(have.last, mustParse(t, tt.want)) || have.highest != have.last.Revision {
					t.Errorf("a service that was never away doesn't take it: it has %+v, the highest is %d", have.last, have.highest)
				}
			})
		})
	}
}

// TestApplySaysThatServicesRefuse: who replaces what services refuse is told so, and why; also where the history must be looked through
// far back for it.
func TestApplySaysThatServicesRefuse(t *testing.T) {
	for _, more := range []int{0, lookBack - 2, 3 * lookBack} {
		synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
			m := &memory{}
			for i := range more {
				m.put(fmt.Sprintf("ago %dm;", 200-i) + strings.Replace(publishedGray, "12", fmt.Sprint(100+i), 1))
			}
			m.put("ago 1h;" + strings.Replace(publishedGray, "12", "200", 1))
			m.put("ago 1m;revision: 201\n")
			got, err := Apply(t.Context(), m, []byte("lanes: [{tag: gray}]\n"))
			if err != nil || got.Revision != 202 || got.Previous != 201 || len(got.Notes) != 1 ||
				!strings.HasPrefix(got.Notes[0], "what was published was refused by services, and has been replaced: lanes: lane gray is missing, which was listed at 1999-12-31T10:00:00Z") {
				t.Errorf("Apply = %+v, %v after %d versions, want revision 202 with a note", got, err, more)
			}
		})
	}
}

// TestMayLoseLanesTakesThePublished: where the history is wrong about the services, its word can be done without.
func TestMayLoseLanesTakesThePublished(t *testing.T) {
	m := &memory{}
	m.put("ago 1h;" + publishedGray)
	m.put("ago 1m;revision: 13\n")
	if got, err := Apply(t.Context(), m, []byte("messages: [{consumer: a}]\n"), MayLoseLanes()); err != nil || got.Revision != 14 {
		t.Errorf("Apply = %+v, %v, want revision 14", got, err)
	}
}

// TestWhatApplyPublishesServicesTake: whatever someone has put there by hand, of which services took some and refused the rest. What
// Apply publishes after it, they take, and no lane of theirs is lost.
func TestWhatApplyPublishesServicesTake(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		clock := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		m := &memory{versions: []Version{{Content: []byte(publishedGray), At: clock}}}
		gray := rapid.SampledFrom([]string{"", "{tag: gray}", "{tag: gray, listed: 1999-12-31T10:00:00Z}", "{tag: gray, listed: 1999-12-31T11:00:00Z}",
			"{tag: gray, listed: 1999-12-31T10:00:00Z, state: retired}", "{tag: gray, listed: 1999-12-31T10:00:00Z, state: retired, until: 2000-01-01T00:03:00Z}"})
		text := func(name string) string {
			content := ""
			if r := rapid.IntRange(0, 20).Draw(rt, name+" revision"); r > 0 {
				content = fmt.Sprintf("revision: %d\n", r)
			}
			content += "lanes:\n- {tag: blue}\n"
			if rapid.Bool().Draw(rt, name+" blue is listed") {
				content = strings.Replace(content, "blue", "blue, listed: 1999-12-31T12:00:00Z", 1)
			}
			if lane := gray.Draw(rt, name+" gray"); lane != "" {
				content += "- " + lane + "\n"
			}
			return content
		}
		for range rapid.IntRange(0, lookBack-2).Draw(rt, "by hand") {
			clock = clock.Add(time.Duration(rapid.IntRange(1, 80).Draw(rt, "pause")) * time.Second)
			v := Version{At: clock}
			switch rapid.IntRange(0, 9).Draw(rt, "kind") {
			case 0: // deleted
			case 1:
				v.Content = []byte("revision: 15\n]\n")
			default:
				v.Content = []byte(text("by hand"))
			}
			m.versions = append(m.versions, v)
		}
		clock = clock.Add(time.Duration(rapid.IntRange(0, 200).Draw(rt, "later")) * time.Second)
		m.now = func() time.Time { return clock }
		history, _ := m.History(context.Background(), 0)
		before := servicesHave(history, clock).last
		p := publisher{store: m, now: m.now}
		file := text("file")
		result, err := p.modify(context.Background(), func([]byte) ([]byte, error) { return []byte(file), nil })
		if err != nil {
			return // refused, and nothing published
		}
		history, _ = m.History(context.Background(), 0)
		if have := servicesHave(history, clock.Add(MaxSkew)).text; !bytes.Equal(have, result.Content) {
			rt.Fatalf("services refuse what was published:\n%s\nthey have:\n%s", result.Content, have)
		}
		for _, l := range before.Lanes {
			if i := result.Document.laneIndex(l.Tag); (i < 0 || !result.Document.Lanes[i].Listed.Equal(l.Listed)) && (l.Until.IsZero() || clock.Before(l.Until.Add(ForgetDelay-MaxSkew))) {
				rt.Fatalf("lane %+v of the services is lost:\n%s", l, result.Content)
			}
		}
	})
}
