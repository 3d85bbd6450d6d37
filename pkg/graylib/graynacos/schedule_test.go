package graynacos

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var t0 = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// play runs a schedule from t0 and returns when it reads, as offsets. Pushes and changes are at the given offsets; a
// change is found by the first read at or after it.
func play(span time.Duration, pushes, changes []time.Duration) []time.Duration {
	var s schedule
	var reads []time.Duration
	now := t0
	for {
		at := s.next(now)
		if at.Before(now) {
			at = now
		}
		if len(pushes) > 0 && !at.Before(t0.Add(pushes[0])) {
			now = t0.Add(pushes[0])
			s.pushed(now)
			pushes = pushes[1:]
			continue
		}
		if at.After(t0.Add(span)) {
			return reads
		}
		now = at
		changed := false
		for len(changes) > 0 && !now.Before(t0.Add(changes[0])) {
			changed, changes = true, changes[1:]
		}
		s.read(now, changed, false)
		reads = append(reads, now.Sub(t0))
	}
}

func TestScheduleAfterStart(t *testing.T) {
	s := time.Second
	want := []time.Duration{0, s, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 7 * s, 8 * s, 9 * s, 10 * s, 20 * s, 30 * s, 40 * s}
	if diff := cmp.Diff(want, play(45*s, nil, nil)); diff != "" {
		t.Errorf("reads (-want +got):\n%s", diff)
	}
}

func TestScheduleAfterPush(t *testing.T) {
	s, ms := time.Second, time.Millisecond
	got := play(59*s, []time.Duration{33 * s}, nil)
	want := []time.Duration{33 * s, 33*s + 250*ms, 34 * s}
	for i := 1; i <= 9; i++ {
		want = append(want, time.Duration(34+i)*s)
	}
	want = append(want, 53*s)
	after := got[:0]
	for _, at := range got {
		if at >= 33*s {
			after = append(after, at)
		}
	}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("reads after the push (-want +got):\n%s", diff)
	}
}

func TestScheduleAfterLostPush(t *testing.T) {
	s := time.Second
	got := play(60*s, nil, []time.Duration{31 * s})
	var after []time.Duration
	for _, at := range got {
		if at >= 31*s {
			after = append(after, at)
		}
	}
	want := []time.Duration{40 * s, 41 * s, 42 * s, 43 * s, 44 * s, 45 * s, 46 * s, 47 * s, 48 * s, 49 * s, 50 * s, 60 * s}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Errorf("reads after the change (-want +got):\n%s", diff)
	}
}

func TestScheduleAfterFailure(t *testing.T) {
	var s schedule
	now := t0
	for range 100 {
		now = s.next(now)
		s.read(now, false, true)
	}
	if got, want := now.Sub(t0), 99*time.Second; got != want {
		t.Errorf("100 failing reads took %v, want %v: one a second for as long as they fail", got, want)
	}
}

func TestScheduleKeepsTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pushes []time.Duration
		at := time.Duration(0)
		for _, gap := range rapid.SliceOfN(rapid.Int64Range(0, int64(2*time.Second)), 0, 200).Draw(t, "gaps") {
			at += time.Duration(gap)
			pushes = append(pushes, at)
		}
		last := append([]time.Duration(nil), pushes...)
		reads := play(at+30*time.Second, pushes, nil)
		for i := range reads {
			if i > 0 && reads[i]-reads[i-1] < minGap {
				t.Fatalf("reads at %v and %v are less than %v apart", reads[i-1], reads[i], minGap)
			}
			if i > 0 && reads[i]-reads[i-1] > pollSlow {
				t.Fatalf("no read between %v and %v", reads[i-1], reads[i])
			}
		}
		for _, p := range last { // each push is followed by a read soon, storms included
			found := false
			for _, r := range reads {
				found = found || r >= p && r <= p+minGap
			}
			if !found {
				t.Fatalf("no read within %v of the push at %v: %v", minGap, p, reads)
			}
		}
	})
}
