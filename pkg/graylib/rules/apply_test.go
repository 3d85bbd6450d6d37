package rules

import (
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
