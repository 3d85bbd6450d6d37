package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

const red, blue graylib.Tag = "red", "blue"

// changeLimit is when a change must be everywhere even where a push was lost: one poll, and a busy machine's allowance.
const changeLimit = 30 * time.Second

// G7: a rule change is in effect on every instance within a second, while requests go on and none reaches a wrong place.
func TestRuleChangesReachEveryInstance(t *testing.T) {
	s := chain(t)
	changes := 8
	if full() {
		changes = 30
	}
	listLanes(t, s, red)
	laneFor(t, s, red, "a", "c")
	load := &traffic{PerSecond: 50, Tags: []graylib.Tag{graylib.Untagged, red}, Place: fixed("a", "c")}
	load.start(s)
	defer load.end(t)
	var all times
	for n := range changes {
		value := changeValue + strconv.Itoa(n)
		revision, at := publishChange(t, s, value)
		all = append(all, reached(t, s, revision, at)...)
		r := suite.Request{Path: "/A/a", Header: http.Header{changeHeader: {value}}}
		a, err := s.Send(t.Context(), r)
		if err != nil || a.Tag != red {
			t.Errorf("%s with %s: %s has tag %s (%v), want %s: revision %d colours it", r, changeHeader, value, a.Tag, err, red, revision)
		}
	}
	load.end(t)
	t.Logf("%d changes on %d instances, from when Nacos had it until each applies it: %v", changes, len(s.Instances()), all)
	if p99 := all.quantile(0.99); full() && p99 > time.Second {
		t.Errorf("broke G7 dynamic: p99 is %v, want 1s at most", p99)
	}
}

// laneFor gives the suite a lane for one test, and leaves the rules alone.
func laneFor(t *testing.T, s *suite.Suite, tag graylib.Tag, services ...string) {
	t.Helper()
	if err := s.AddLane(t.Context(), tag, services...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := s.RemoveLane(ctx, tag); err != nil && !errors.Is(err, suite.ErrNoLane) {
			t.Errorf("lane %s did not go: %v", tag, err)
		}
	})
}

var changed = regexp.MustCompile(`"` + changeValue + `[^"]*"`)

// publishChange publishes another value of what picks lane red beside its name, as fast as Nacos takes it, and
// returns the revision and when Nacos had it: how long it took to store it is told apart, on a busy machine seconds.
func publishChange(t *testing.T, s *suite.Suite, value string) (revision int64, at time.Time) {
	t.Helper()
	store, err := s.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, changeLimit, "publishing "+value, func() bool {
		content, sum, err := store.Get(t.Context())
		if err != nil {
			return false
		}
		doc, err := rules.Parse(content)
		if err != nil {
			t.Fatal(err)
		}
		old := changed.Find(content)
		next, err := rules.Prepare([]byte(strings.Replace(string(content), string(old), strconv.Quote(value), 1)), doc, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		revision = doc.Revision + 1
		sent := time.Now()
		if store.Publish(t.Context(), next, sum) != nil {
			return false // a read may lag behind the last change
		}
		if at = time.Now(); at.Sub(sent) > 500*time.Millisecond {
			t.Logf("storing revision %d took Nacos %v", revision, at.Sub(sent).Round(time.Millisecond))
		}
		return true
	})
	return revision, at
}

// reached waits until all live instances apply the revision, and returns how long after the publishing each did.
func reached(t *testing.T, s *suite.Suite, revision int64, published time.Time) times {
	t.Helper()
	var took times
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, i := range s.Instances() {
		if !i.Live() {
			continue
		}
		all.Go(func() {
			var last graylib.Status
			for time.Since(published) < changeLimit {
				st, err := i.Status(t.Context())
				if err == nil && st.Rules.Revision >= revision {
					mu.Lock()
					took = append(took, time.Since(published))
					mu.Unlock()
					return
				}
				last = st
				select {
				case <-t.Context().Done():
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
			t.Errorf("broke G7 dynamic: %s is on revision %d %v after %d was published (refused: %q)", i.Name, last.Rules.Revision, changeLimit, revision, last.Rules.Refusal)
		})
	}
	all.Wait()
	return took
}

// The commands that look back, turn back, and tell who applies what, on the real server's own history.
func TestRulesHistoryRollbackStatus(t *testing.T) {
	s := chain(t)
	nacos := "--nacos=" + s.NacosAddr()
	listLanes(t, s, red)
	first, at := publishChange(t, s, changeValue+"first")
	reached(t, s, first, at)
	second, at := publishChange(t, s, changeValue+"second")
	reached(t, s, second, at)

	code, out := cli(t, nil, "rules", "history", nacos, "--output=json")
	var history []struct {
		Revision         int64
		At               time.Time
		Content, Problem string
	}
	if err := json.Unmarshal([]byte(out), &history); code != 0 || err != nil || len(history) < 2 {
		t.Fatalf("rules history: exit code %d, %v:\n%s", code, err, out)
	}
	if history[0].Revision != second || history[1].Revision != first || time.Since(history[0].At).Abs() > time.Minute ||
		!strings.Contains(history[1].Content, changeValue+"first") || history[0].Problem != "" {
		t.Errorf("rules history begins with %+v and %+v", history[0], history[1])
	}

	code, out = cli(t, nil, "rules", "rollback", nacos, "--to="+strconv.FormatInt(first, 10))
	if want := fmt.Sprintf("published revision %d (before: %d)", second+1, second); code != 0 || !strings.Contains(out, want) {
		t.Fatalf("rules rollback: exit code %d, want %q:\n%s", code, want, out)
	}
	code, out = cli(t, nil, "rules", "status", nacos, "--wait=10s")
	if want := fmt.Sprintf("published is revision %d at nacos %s; 4 of 4 live instances are there\n", second+1, s.NacosAddr()); code != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("rules status: exit code %d, want %q:\n%s", code, want, out)
	}
	r := suite.Request{Path: "/A/a", Header: http.Header{changeHeader: {changeValue + "first"}}}
	if a, err := s.Send(t.Context(), r); err != nil || a.Tag != red {
		t.Errorf("after the rollback to the revision that colours it %s has tag %s (%v), want %s", r, a.Tag, err, red)
	}
	code, out = cli(t, nil, "rules", "rollback", nacos, "--to=999999")
	if code != 1 || !strings.Contains(out, "revision 999999: no such revision in the history") || strings.Count(out, "\n") != 1 {
		t.Errorf("rollback to what never was: exit code %d:\n%s", code, out)
	}

	// What every instance refuses is named, each with its reason; and the way out is what the line says.
	store, err := s.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, changeLimit, "a document by hand", func() bool {
		_, sum, err := store.Get(t.Context())
		return err == nil && store.Publish(t.Context(), []byte("revision: 1\nlanes: [{tag: gray}]\n"), sum) == nil
	})
	eventually(t, changeLimit, "all refuse it", func() bool {
		code, out = cli(t, nil, "rules", "status", nacos)
		return code == 1 && strings.Count(out, "refused: ") == 5
	})
	if !strings.Contains(out, "publish with `graychain rules apply`") {
		t.Errorf("rules status doesn't name the way out:\n%s", out)
	}
	code, out = cli(t, nil, "rules", "rollback", nacos, "--to="+strconv.FormatInt(second+1, 10))
	if code != 0 {
		t.Fatalf("rules rollback over a document by hand: exit code %d:\n%s", code, out)
	}
	if code, out = cli(t, nil, "rules", "status", nacos, "--wait=15s"); code != 0 {
		t.Errorf("rules status after it: exit code %d:\n%s", code, out)
	}
}
