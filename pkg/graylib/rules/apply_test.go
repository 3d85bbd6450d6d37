package rules

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

// fakeStore is a config centre whose reads lag behind its writes.
type fakeStore struct {
	lag time.Duration

	mu      sync.Mutex
	writes  []write // from the oldest
	before  func(n int, s *fakeStore)
	publish int // how often it was called
	fail    error
}

type write struct {
	at      time.Time
	content string
}

func (s *fakeStore) newest() string {
	if len(s.writes) == 0 {
		return ""
	}
	return s.writes[len(s.writes)-1].content
}

func (s *fakeStore) put(content string) {
	s.writes = append(s.writes, write{time.Now(), content})
}

func sum(content string) string {
	if content == "" {
		return ""
	}
	h := md5.Sum([]byte(content))
	return hex.EncodeToString(h[:])
}

func (s *fakeStore) Get(context.Context) ([]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	content := ""
	for _, w := range s.writes {
		if time.Since(w.at) >= s.lag {
			content = w.content
		}
	}
	if content == "" {
		return nil, "", nil
	}
	return []byte(content), sum(content), nil
}

func (s *fakeStore) Publish(_ context.Context, content []byte, casMD5 string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.publish++
	if s.before != nil {
		s.before(s.publish, s)
	}
	if s.fail != nil {
		return s.fail
	}
	if sum(s.newest()) != casMD5 {
		return fmt.Errorf("fake: %w", ErrConflict)
	}
	s.put(string(content))
	return nil
}

// storeWith returns a store that held the content long before.
func storeWith(content string) *fakeStore {
	s := &fakeStore{lag: 100 * time.Millisecond}
	if content != "" {
		s.writes = []write{{time.Now().Add(-time.Hour), content}}
	}
	return s
}

const publishedGray = "revision: 12\nlanes:\n- tag: gray\n  listed: 1999-12-31T10:00:00Z\n"

// publishedForgotten has a lane that may leave at 1999-12-31T11:00:30Z.
const publishedForgotten = publishedGray + "  state: retired\n  until: 1999-12-31T11:00:00Z\n"

// TestDrop: a lane leaves by the word of who has seen that nothing of it is left, and then only.
func TestDrop(t *testing.T) {
	until := time.Date(1999, 12, 31, 11, 0, 0, 0, time.UTC)
	soon := strings.Replace(publishedForgotten, "1999-12-31T11:00:00Z", "2000-01-01T00:00:10Z", 1)
	for _, tt := range []struct {
		name      string
		published string
		until     time.Time
		err       error
	}{
		{"its time has come", publishedForgotten, until, nil},
		{"too early", soon, time.Date(2000, 1, 1, 0, 0, 10, 0, time.UTC), ErrLane},
		{"another time", publishedForgotten, until.Add(time.Second), ErrRelisted},
		{"listed again", publishedGray, until, ErrRelisted},
		{"marked", publishedForgotten + "marks: [{producer: c, topic: T, tag: gray, when: [{from: keys, op: exists}]}]\n", until, ErrMarked},
		{"gone already", "revision: 13\n", until, ErrNoLane},
		{"nothing is published", "", until, ErrNoLane},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
				store := storeWith(tt.published)
				got, err := Drop(t.Context(), store, "gray", tt.until)
				want := tt.published
				if tt.err == nil {
					want = "revision: 13\nlanes:\n"
				}
				if !errors.Is(err, tt.err) || store.newest() != want || got.Changed != (tt.err == nil) {
					t.Errorf("%v, %+v, want %v; published:\n%s", err, got, tt.err, store.newest())
				}
			})
		})
	}
}

func TestApply(t *testing.T) {
	tests := []struct {
		name      string
		published string
		content   string
		want      string // published afterwards
		result    Result
		err       error // ErrLanesUnknown: without MayLoseLanes
	}{
		{"first", "", "lanes: [{tag: gray}]\n", "revision: 1\nlanes: [{tag: gray, listed: 2000-01-01T00:00:00Z}]\n", Result{Changed: true, Revision: 1}, nil},
		{"next", publishedGray, "# mine\nlanes: [{tag: blue}, {tag: gray}]\n", "# mine\nrevision: 13\nlanes: [{tag: blue, listed: 2000-01-01T00:00:00Z}, {tag: gray, listed: 1999-12-31T10:00:00Z}]\n", Result{Changed: true, Revision: 13, Previous: 12}, nil},
		{"the same", publishedGray, publishedGray, publishedGray, Result{Revision: 12, Previous: 12}, nil},
		{"comments alone", publishedGray, publishedGray + "# more\n", strings.Replace(publishedGray, "12", "13", 1) + "# more\n", Result{Changed: true, Revision: 13, Previous: 12}, nil},
		{"stale", publishedGray, strings.Replace(publishedGray, "12", "11", 1), publishedGray, Result{}, ErrStale},
		{"drops a lane", publishedGray, "lanes: []\n", publishedGray, Result{}, ErrLane},
		{"drops a lane whose time has come", publishedForgotten, "lanes: []\n", publishedForgotten, Result{}, ErrLane},
		{"broken, such a lane can't be dropped either", publishedForgotten + "colour: x\n", "lanes: []\n", publishedForgotten + "colour: x\n", Result{}, ErrLane},
		{"changes listed", publishedGray, strings.Replace(publishedGray, "T10", "T11", 1), publishedGray, Result{}, ErrLane},
		{"invalid", publishedGray, "lanes: 1\n", publishedGray, Result{}, ErrInvalid},
		{"emptied", publishedGray, "", publishedGray, Result{}, ErrInvalid},
		{"what is published is blank", " \n", "revision: 4\n", "revision: 5\n", Result{Changed: true, Revision: 5}, nil},
		{"blank, and nobody can tell the lanes", " \n", "revision: 4\n", " \n", Result{}, ErrLanesUnknown},
		{"blank, the very first", " \n", "lanes: []\n", "revision: 1\nlanes: []\n", Result{Changed: true, Revision: 1}, nil},
		{"no YAML, and nobody can tell the lanes", publishedGray + "]\n", publishedGray, publishedGray + "]\n", Result{}, ErrLanesUnknown},
		{"what is published is broken", publishedGray + "colour: x\n", publishedGray, strings.Replace(publishedGray, "12", "13", 1),
			Result{Changed: true, Revision: 13, Previous: 12, Notes: []string{"what was published could not be read by anyone, and has been replaced: line 5: colour: unknown field; want one of revision, lanes, messages, marks"}}, nil},
		{"broken, listed is looked up", publishedGray + "colour: x\n", "lanes: [{tag: gray}]\n", "revision: 13\nlanes: [{tag: gray, listed: 1999-12-31T10:00:00Z}]\n",
			Result{Changed: true, Revision: 13, Previous: 12, Notes: []string{"what was published could not be read by anyone, and has been replaced: line 5: colour: unknown field; want one of revision, lanes, messages, marks"}}, nil},
		{"broken, a lane can't be dropped", publishedGray + "colour: x\n", "lanes: []\n", publishedGray + "colour: x\n", Result{}, ErrLane},
		{"broken, stale", publishedGray + "colour: x\n", "revision: 11\n", publishedGray + "colour: x\n", Result{}, ErrStale},
		{"no YAML", publishedGray + "]\n", publishedGray, strings.Replace(publishedGray, "12", "13", 1),
			Result{Changed: true, Revision: 13, Previous: 12, Notes: []string{"what was published could not be read by anyone, and has been replaced: line 5: not YAML: non-map value is specified"}}, nil},
		{"no YAML, listed can't be looked up", publishedGray + "]\n", "lanes: [{tag: gray}]\n", publishedGray + "]\n", Result{}, ErrNotListed},
		{"no YAML, no revision", "]\n", "lanes: []\n", "]\n", Result{}, ErrRevision},
		{"no YAML, a revision in the file", "]\n", "revision: 7\n", "revision: 8\n",
			Result{Changed: true, Revision: 8, Previous: 7, Notes: []string{"what was published could not be read by anyone, and has been replaced: line 1: not YAML: could not find '[' character corresponding to ']'"}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := storeWith(tt.published)
				began := time.Now()
				opts := []Option{MayLoseLanes()}
				if errors.Is(tt.err, ErrLanesUnknown) {
					opts = nil
				}
				got, err := Apply(t.Context(), store, []byte(tt.content), opts...)
				if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
					t.Fatalf("Apply: %v, want %v", err, tt.err)
				}
				if diff := cmp.Diff(tt.want, store.newest()); diff != "" {
					t.Errorf("published (-want +got):\n%s", diff)
				}
				if err != nil {
					if store.publish > 0 {
						t.Error("refused, and published all the same")
					}
					return
				}
				if string(got.Content) != store.newest() || !same(got.Document, mustParse(t, store.newest())) {
					t.Errorf("the result's document isn't what is published: %s", got.Content)
				}
				got.Content, got.Document = nil, nil
				if diff := cmp.Diff(tt.result, got); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				if took := time.Since(began); got.Changed && (took < store.lag || took > time.Second) {
					t.Errorf("returned after %v; a change is read back after %v", took, store.lag)
				}
			})
		})
	}
}

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

func TestApplyNamesLinesOfTheFile(t *testing.T) {
	const content = "# mine\nlanes:\n- {tag: blue}\n- tag: gray\n  listed: 1999-12-31T11:00:00Z\n"
	_, err := Apply(t.Context(), storeWith(publishedGray), []byte(content))
	const want = "line 5: lanes[1].listed: is 1999-12-31T11:00:00Z, but lane gray was listed at 1999-12-31T10:00:00Z; leave it as it was"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestApplyRaces lets someone else publish between the reading and the compare-and-set.
func TestApplyRaces(t *testing.T) {
	other := func(n int, s *fakeStore) {
		if n == 1 {
			s.put(strings.Replace(publishedGray, "12", "13", 1) + "messages: [{consumer: other}]\n")
		}
	}
	t.Run("a file with a revision is stale then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := storeWith(publishedGray)
			store.before = other
			_, err := Apply(t.Context(), store, []byte(publishedGray+"# mine\n"))
			if !errors.Is(err, ErrStale) || !strings.Contains(store.newest(), "other") {
				t.Errorf("Apply: %v, want ErrStale; published:\n%s", err, store.newest())
			}
		})
	})
	t.Run("a file without one replaces it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := storeWith(publishedGray)
			store.before = other
			got, err := Apply(t.Context(), store, []byte("lanes: [{tag: gray}]\n"))
			if err != nil || got.Revision != 14 || got.Previous != 13 {
				t.Errorf("Apply = %+v, %v; want revision 14", got, err)
			}
		})
	})
	t.Run("a change is made on the newer text", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := storeWith(publishedGray)
			store.before = other
			calls := 0
			got, err := Modify(t.Context(), store, func(current []byte) ([]byte, error) {
				calls++
				return SetConsumer(current, Consumer{Consumer: "a", Baseline: graylib.ModeIgnore, Ignore: []graylib.Tag{"gray"}})
			})
			if err != nil || got.Revision != 14 || len(got.Document.Messages) != 2 || calls < 2 {
				t.Errorf("Modify = %+v, %v after %d calls; want both changes in revision 14", got, err, calls)
			}
		})
	})
	t.Run("never ending", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := storeWith(publishedGray)
			store.fail = fmt.Errorf("fake: %w", ErrConflict)
			if _, err := Apply(t.Context(), store, []byte("lanes: [{tag: gray}]\n")); !errors.Is(err, ErrConflict) || store.publish != maxAttempts {
				t.Errorf("Apply: %v after %d attempts, want ErrConflict after %d", err, store.publish, maxAttempts)
			}
		})
	})
	t.Run("many at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			store := storeWith(publishedGray)
			var wg sync.WaitGroup
			done := 0
			var mu sync.Mutex
			for i := range 4 {
				wg.Go(func() {
					_ = pause(t.Context(), time.Duration(i)*10*time.Millisecond) // they don't all begin at once
					_, err := Modify(t.Context(), store, func(current []byte) ([]byte, error) {
						return SetConsumer(current, Consumer{Consumer: fmt.Sprintf("c%d", i), Baseline: graylib.ModeAll})
					})
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						done++
					case !errors.Is(err, ErrConflict):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			doc := mustParse(t, store.newest())
			if len(doc.Messages) != done || doc.Revision != int64(12+done) || done == 0 {
				t.Errorf("%d published, the document has %d and revision %d", done, len(doc.Messages), doc.Revision)
			}
		})
	})
}

func TestApplyUnconfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storeWith(publishedGray)
		store.lag = 10 * time.Second
		began := time.Now()
		got, err := Apply(t.Context(), store, []byte("lanes: [{tag: gray}]\n"))
		if !errors.Is(err, ErrUnconfirmed) || got.Revision != 13 {
			t.Errorf("Apply = %+v, %v; want ErrUnconfirmed and revision 13", got, err)
		}
		if took := time.Since(began); took < confirmTimeout || took > confirmTimeout+time.Second {
			t.Errorf("gave up after %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		store := storeWith(publishedGray)
		store.lag = 10 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Apply(ctx, store, []byte("lanes: [{tag: gray}]\n")); !errors.Is(err, ErrUnconfirmed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want ErrUnconfirmed and the deadline", err)
		}
	})
}

func TestApplyStoreErrors(t *testing.T) {
	store := storeWith(publishedGray)
	store.fail = errors.New("fake: away")
	if _, err := Apply(t.Context(), store, []byte("lanes: [{tag: gray}]\n")); !errors.Is(err, store.fail) || store.publish != 1 {
		t.Errorf("error %v after %d attempts", err, store.publish)
	}
	if _, err := Modify(t.Context(), store, func([]byte) ([]byte, error) { return nil, store.fail }); !errors.Is(err, store.fail) {
		t.Errorf("error %v", err)
	}
}
