package graynacos

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graychain/graychain/pkg/graylib/rules"
	"pgregory.net/rapid"
)

// both is a document of lanes gray and blue, listed before the tests begin.
func both(revision int) string {
	return strings.ReplaceAll(doc(revision, "gray", "blue"), "2026-11-22", "1999-12-31")
}

// without is one of lane blue alone.
func without(revision int) string {
	return strings.ReplaceAll(doc(revision, "blue"), "2026-11-22", "1999-12-31")
}

// A reader that was never away lets no lane go that it hasn't seen being forgotten, whatever the revision, however long that is
// published, and whatever else is published and refused meanwhile.
func TestPresentReadersKeepLanes(t *testing.T) {
	moved := strings.Replace(both(100), "10:00", "11:00", 1)
	past := strings.Replace(both(100), "    entries", "    state: retired\n    until: 1999-12-31T23:00:00Z\n    entries", 1)
	for _, tt := range []struct {
		name    string
		content []string // 20 s each
		want    string
	}{
		{"a higher revision", []string{without(14)}, "lane gray is missing"},
		{"one by hand", []string{without(100)}, "lane gray is missing"},
		{"after a broken one", []string{"revision: 13\nlanes:\n\t- tag: gray\n", without(14)}, "lane gray is missing"},
		{"after a deletion", []string{"", without(14)}, "lane gray is missing"},
		{"one after the other", []string{without(14), without(15), without(16), without(17)}, "lane gray is missing"},
		{"a listing that moves", []string{moved}, "lanes[0].listed: is 1999-12-31T11:00:00Z"},
		{"until in the past", []string{past}, "lanes[0].until: is 1999-12-31T23:00:00Z, less than 30s after it was published"},
	} {
		for _, push := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, pushed: %v", tt.name, push), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
					f := &fakeConfig{content: both(12), lag: 100 * time.Millisecond}
					s, _ := newFakeRules(f, disk{})
					defer s.Close()
					<-s.first
					time.Sleep(45 * time.Second)
					for i, content := range tt.content {
						f.set(content, push)
						time.Sleep(20 * time.Second)
						if i == len(tt.content)-1 {
							time.Sleep(10 * time.Minute)
						}
						synctest.Wait()
						if st := s.Status(); st.Revision != 12 || st.Refusal == "" {
							t.Fatalf("broke G5 nothing lost: status %+v, want revision 12 and a refusal", st)
						}
					}
					if st := s.Status(); !strings.Contains(st.Refusal, tt.want) {
						t.Errorf("refusal %q, want %q", st.Refusal, tt.want)
					}
					f.set(both(101), push)
					time.Sleep(20 * time.Second)
					synctest.Wait()
					wantStatus(t, s, 101, originNacos)
				})
			})
		}
	}
}

// One that was away may have missed that a lane was forgotten; so may one that starts with the document from its disk.
func TestAbsentReadersLetLanesGo(t *testing.T) {
	for _, tt := range []struct {
		name string
		away time.Duration
		back string // what it reads first
		ok   bool
	}{
		{"for a moment", 5 * time.Second, without(14), false},
		{"for long", awayAfter, without(14), true},
		{"for as long as forgetting takes where one clock is slow and the other fast", rules.ForgetNotice + rules.ForgetDelay - 2*rules.MaxSkew, without(14), true},
		{"for long, and a broken one first", awayAfter, "revision: 13\nlanes: x\n", true},
		{"for long, and what it knows first", awayAfter, both(12), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeConfig{content: both(12)}
				s, _ := newFakeRules(f, disk{})
				defer s.Close()
				<-s.first
				time.Sleep(45 * time.Second)
				f.setAway(true)
				time.Sleep(tt.away)
				f.set(tt.back, false)
				f.setAway(false)
				time.Sleep(2 * time.Second)
				f.set(without(14), false)
				time.Sleep(20 * time.Second)
				synctest.Wait()
				if st := s.Status(); (st.Revision == 14) != tt.ok || (st.Refusal == "") != tt.ok {
					t.Errorf("status %+v, want that it takes revision 14: %v", st, tt.ok)
				}
			})
		})
	}
	t.Run("from disk", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := disk{t.TempDir() + "/graychain.yaml"}
			if err := d.save([]byte(both(12))); err != nil {
				t.Fatal(err)
			}
			s, _ := newFakeRules(&fakeConfig{content: without(14)}, d)
			defer s.Close()
			<-s.first
			wantStatus(t, s, 14, originNacos)
		})
	})
}

// A machine that slept while its monotonic clock stood still was away.
func TestSleepIsAbsence(t *testing.T) {
	var a attendance
	began := time.Now()
	a.read(began, true)
	a.confirmed()
	if r := a.reading(began.Add(time.Second)); r.Missed {
		t.Errorf("%+v right after a confirmation", r)
	}
	if r := a.pushed(began.Add(time.Second)); r.Missed || !r.Since.Equal(began.Add(-staleFor)) {
		t.Errorf("%+v for a push 1 s after a read", r)
	}
	if r := a.pushed(began.Round(0).Add(awayAfter)); !r.Missed {
		t.Errorf("%+v for a push when the wall clock is %v further", r, awayAfter)
	}
	a.read(began.Add(awayAfter), true)
	a.read(began.Add(awayAfter+time.Second), true)
	if r := a.reading(began.Add(awayAfter + time.Second)); !r.Missed {
		t.Errorf("%+v: a second read makes up for what was missed before the first", r)
	}
	a.confirmed()
	if r := a.reading(began.Add(awayAfter + time.Second)); r.Missed {
		t.Errorf("%+v after a confirmation", r)
	}
}

// TestForgettingReachesReaders: the way that `lanes forget` goes is open to readers that are there and to those that aren't, with and
// without pushes, and listing anew after it.
func TestForgettingReachesReaders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		push := rapid.Bool().Draw(rt, "pushes")
		clock := rapid.OneOf(rapid.SampledFrom([]int{-15, 15}), rapid.IntRange(-15, 15))
		ahead := time.Duration(clock.Draw(rt, "the clock that sets until is ahead by")) * time.Second
		dropper := time.Duration(clock.Draw(rt, "the clock that drops the lane is ahead by")) * time.Second
		naps := rapid.SliceOfN(rapid.OneOf(rapid.Just(0), rapid.IntRange(20, 50), rapid.IntRange(0, 90)), 4, 4).Draw(rt, "away, in seconds, after each publishing")
		anew := rapid.Bool().Draw(rt, "listed anew")
		synctest.Test(t, func(t *testing.T) {
			f := &fakeConfig{content: "revision: 12\nlanes:\n  - {tag: gray, listed: 1999-12-31T10:00:00Z}\n", lag: 100 * time.Millisecond}
			s, _ := newFakeRules(f, disk{})
			defer s.Close()
			<-s.first
			time.Sleep(45 * time.Second)
			publish := func(content string, nap int) {
				f.setAway(nap > 0)
				f.set(content, push && nap == 0)
				time.Sleep(time.Duration(nap) * time.Second)
				f.setAway(false)
			}
			stamp := func(at time.Time, ahead time.Duration) string { return at.Add(ahead).UTC().Format(time.RFC3339) }
			publish("revision: 13\nlanes:\n  - {tag: gray, listed: 1999-12-31T10:00:00Z, state: retired}\n", naps[0])
			time.Sleep(10 * time.Second)
			until := time.Now().Add(rules.ForgetNotice + time.Second).Truncate(time.Second)
			left := time.Until(until.Add(ahead + rules.ForgetDelay - dropper))
			publish("revision: 14\nlanes:\n  - {tag: gray, listed: 1999-12-31T10:00:00Z, state: retired, until: "+stamp(until, ahead)+"}\n", naps[1])
			time.Sleep(left - time.Duration(naps[1])*time.Second) // not at all where that is past
			publish("revision: 15\n", naps[2])
			want := int64(15)
			if anew {
				time.Sleep(time.Second)
				publish("revision: 16\nlanes: [{tag: gray, listed: "+stamp(time.Now(), dropper)+"}]\n", naps[3])
				want = 16
			}
			time.Sleep(rules.MaxSkew + 25*time.Second) // a lost push is found by the poll, and clocks differ
			synctest.Wait()
			if st := s.Status(); st.Revision != want || st.Refusal != "" {
				rt.Errorf("status %+v, want revision %d and no refusal", st, want)
			}
		})
	})
}

// TestNoPublishingTakesALane: no sequence of documents that skips forgetting takes a lane from a reader that is never away, or moves
// its listing.
func TestNoPublishingTakesALane(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type step struct {
			content string
			push    bool
			wait    time.Duration
		}
		var steps []step
		revision := 12
		for range rapid.IntRange(1, 12).Draw(rt, "documents") {
			revision += rapid.IntRange(0, 4).Draw(rt, "revisions")
			gray := rapid.SampledFrom([]string{"", "", "listed: 1999-12-31T10:00:00Z", "listed: 1999-12-31T10:00:00Z, state: retired",
				"listed: 2000-01-01T00:05:00Z", "listed: 2000-01-01T00:05:00Z, state: retired, until: 2000-01-01T00:00:10Z",
				"listed: 1999-12-31T10:00:00Z, state: retired, until: 1999-12-31T11:00:00Z"}).Draw(rt, "gray")
			content := fmt.Sprintf("revision: %d\nlanes:\n  - {tag: blue, listed: 1999-12-31T10:00:00Z}\n", revision)
			if gray != "" {
				content += "  - {tag: gray, " + gray + "}\n"
			}
			switch rapid.IntRange(0, 5).Draw(rt, "kind") {
			case 0:
				content = ""
			case 1:
				content += "\t]\n"
			}
			steps = append(steps, step{content, rapid.Bool().Draw(rt, "push"), time.Duration(rapid.IntRange(0, 100_000).Draw(rt, "ms")) * time.Millisecond})
		}
		synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
			f := &fakeConfig{content: "revision: 12\nlanes:\n  - {tag: gray, listed: 1999-12-31T10:00:00Z}\n", lag: 100 * time.Millisecond}
			s, _ := newFakeRules(f, disk{})
			defer s.Close()
			<-s.first
			time.Sleep(30 * time.Second)
			listed := time.Date(1999, 12, 31, 10, 0, 0, 0, time.UTC)
			for _, p := range steps {
				f.set(p.content, p.push)
				time.Sleep(p.wait)
				synctest.Wait()
				if lane, ok := s.Rules().Lane("gray"); !ok || !lane.Listed.Equal(listed) || !lane.Until.IsZero() {
					rt.Fatalf("broke G5 nothing lost: lane gray is %+v (listed: %v) after\n%s", lane, ok, p.content)
				}
			}
		})
	})
}
