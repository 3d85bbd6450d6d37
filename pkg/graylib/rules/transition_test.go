package rules

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

// with makes a document of a revision and lanes.
func with(revision int64, lanes ...Lane) *Document {
	return &Document{Revision: revision, Lanes: lanes}
}

func listed(tag graylib.Tag, at time.Time) Lane { return Lane{Tag: tag, Listed: at} }

func forgotten(tag graylib.Tag, at, until time.Time) Lane {
	return Lane{Tag: tag, Listed: at, State: graylib.LaneRetired, Until: until}
}

func TestCheckTransition(t *testing.T) {
	gray := listed("gray", t0)
	later := t0.Add(time.Hour)
	until := t0.Add(time.Minute)
	tests := []struct {
		name       string
		last, next *Document
		now        time.Time
		want       string // "" = accepted; else the lines
		cause      error
	}{
		{"the first", nil, with(1, gray), t0, "", nil},
		{"the first, of any revision", nil, with(12), t0, "", nil},
		{"the next", with(1, gray), with(2, gray, listed("blue", later)), t0, "", nil},
		{"much later", with(1, gray), with(20, gray), t0, "", nil},
		{"no revision", nil, with(0), t0, "revision: is missing: publish with `graychain rules apply`, which sets it", ErrRevision},
		{"no revision after one", with(3), with(0), t0, "revision: is missing: publish with `graychain rules apply`, which sets it", ErrRevision},
		{"the same revision", with(3), with(3), t0, "revision: is 3, not higher than the last good document's 3; publish with `graychain rules apply`, which sets it", ErrRevision},
		{"a lower revision", with(3), with(2), t0, "revision: is 2, not higher than the last good document's 3; publish with `graychain rules apply`, which sets it", ErrRevision},
		{"not listed", with(1), with(2, Lane{Tag: "gray"}), t0, "lanes[0].listed: is missing in lane gray: publish with `graychain rules apply`, which sets it", ErrNotListed},
		{"listed no more", with(1, gray), with(2, Lane{Tag: "gray"}), t0, "lanes[0].listed: is missing in lane gray: publish with `graychain rules apply`, which sets it", ErrNotListed},
		{"another time listed", with(1, gray), with(2, listed("gray", later)), t0, "lanes[0].listed: is 2026-11-22T11:00:00Z, but lane gray was listed at 2026-11-22T10:00:00Z; leave it as it was", ErrLane},
		{"the same time, elsewhere", with(1, gray), with(2, listed("gray", t0.In(time.FixedZone("CST", 8*3600)))), t0, "", nil},
		{"dropped", with(1, gray), with(2), later, "lanes: lane gray is missing, which was listed at 2026-11-22T10:00:00Z and hasn't been forgotten; keep it: `graychain lanes retire gray` and then `graychain lanes forget gray` let it leave", ErrLane},
		{"dropped too early", with(1, forgotten("gray", t0, until)), with(2), until.Add(ForgetDelay - 1), "lanes: lane gray is missing, which is being forgotten and may leave at 2026-11-22T10:01:30Z; keep it: `graychain lanes forget gray` takes it out when it may", ErrLane},
		{"forgotten", with(1, forgotten("gray", t0, until)), with(2), until.Add(ForgetDelay), "", nil},
		{"left, and listed anew", with(1, forgotten("gray", t0, until)), with(3, listed("gray", later)), later, "", nil},
		{"a revision that skips many drops no lane", with(1, gray), with(100), later, "lanes: lane gray is missing, which was listed at 2026-11-22T10:00:00Z and hasn't been forgotten; keep it: `graychain lanes retire gray` and then `graychain lanes forget gray` let it leave", ErrLane},
		{"nor moves its listing", with(1, gray), with(100, listed("gray", later)), later, "lanes[0].listed: is 2026-11-22T11:00:00Z, but lane gray was listed at 2026-11-22T10:00:00Z; leave it as it was", ErrLane},
		{"nor while it is being forgotten", with(1, forgotten("gray", t0, until)), with(100), until, "lanes: lane gray is missing, which is being forgotten and may leave at 2026-11-22T10:01:30Z; keep it: `graychain lanes forget gray` takes it out when it may", ErrLane},
		{"listed anew before it had left", with(1, forgotten("gray", t0, until)), with(100, listed("gray", until.Add(-time.Second))), later, "lanes[0].listed: is 2026-11-22T10:00:59Z, but lane gray was listed at 2026-11-22T10:00:00Z; leave it as it was", ErrLane},
		{"listed again in time", with(1, forgotten("gray", t0, until)), with(2, gray), until, "", nil},
		{"all at once", with(3, gray), with(3, Lane{Tag: "blue"}), t0, "revision: is 3, not higher than the last good document's 3; publish with `graychain rules apply`, which sets it\n" +
			"lanes[0].listed: is missing in lane blue: publish with `graychain rules apply`, which sets it\n" +
			"lanes: lane gray is missing, which was listed at 2026-11-22T10:00:00Z and hasn't been forgotten; keep it: `graychain lanes retire gray` and then `graychain lanes forget gray` let it leave", ErrLane},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckTransition(tt.last, tt.next, Reading{At: tt.now})
			if !errors.Is(err, tt.cause) {
				t.Errorf("error %v, want %v", err, tt.cause)
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("with its line", func(t *testing.T) {
		next := mustParse(t, "revision: 1\nlanes:\n- state: active\n  tag: gray\n")
		err := CheckTransition(with(1), next, Reading{At: t0})
		want := []string{"line 1: revision: is 1,", "line 3: lanes[0].listed: is missing"}
		for i, line := range strings.Split(err.Error(), "\n") {
			if !strings.HasPrefix(line, want[i]) {
				t.Errorf("line %q, want it to begin with %q", line, want[i])
			}
		}
	})
}

// TestCheckTransitionOfWhoWasAway: forgetting takes two revisions, listing anew a third, and a reader that was away may have missed them.
func TestCheckTransitionOfWhoWasAway(t *testing.T) {
	gray, later, until := listed("gray", t0), t0.Add(time.Hour), t0.Add(time.Minute)
	for _, tt := range []struct {
		name       string
		last, next *Document
		ok         bool
	}{
		{"forgotten meanwhile", with(1, gray), with(3), true},
		{"no time to forget it", with(1, gray), with(2), false},
		{"forgotten and listed meanwhile", with(1, gray), with(4, listed("gray", later)), true},
		{"listed anew too soon to have been forgotten", with(1, gray), with(3, listed("gray", later)), false},
		{"listed earlier than before", with(1, gray), with(9, listed("gray", t0.Add(-1))), false},
		{"left and listed meanwhile", with(1, forgotten("gray", t0, until)), with(3, listed("gray", later)), true},
		{"listed before it left", with(1, forgotten("gray", t0, until)), with(2, listed("gray", later)), false},
		{"being forgotten for long", with(1, gray), with(2, forgotten("gray", t0, until)), true},
		{"listed again long ago", with(1, forgotten("gray", t0, until)), with(2, gray), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckTransition(tt.last, tt.next, Reading{At: later, Missed: true, Since: later})
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrLane) {
				t.Errorf("%v, want it to be accepted: %v", err, tt.ok)
			}
		})
	}
}

// TestCheckTransitionOfUntil: what was stored since an `until` that comes too late was passed over by some already.
func TestCheckTransitionOfUntil(t *testing.T) {
	gray, until := listed("gray", t0), t0.Add(time.Hour)
	const late = "lanes[0].until: is 2026-11-22T11:00:00Z, less than 30s after it was published: messages of lane gray that were stored since then would be nobody's; take it out, `graychain lanes forget gray` sets it"
	const gone = "lanes[0].until: lane gray has been forgotten at 2026-11-22T11:00:00Z: it can be listed anew when it has left the document"
	for _, tt := range []struct {
		name       string
		last, next *Document
		since      time.Time
		want       string
	}{
		{"in time", with(1, gray), with(2, forgotten("gray", t0, until)), until.Add(-ForgetNotice), ""},
		{"in time, though clocks differ", with(1, gray), with(2, forgotten("gray", t0, until)), until.Add(-5 * time.Second), ""},
		{"too late", with(1, gray), with(2, forgotten("gray", t0, until)), until.Add(time.Second - 5*time.Second), late},
		{"in the past", with(1, gray), with(100, forgotten("gray", t0, until)), until.Add(time.Minute), late},
		{"nobody knows since when", with(1, gray), with(2, forgotten("gray", t0, until)), time.Time{}, ""},
		{"it was so before", with(1, forgotten("gray", t0, until)), with(2, forgotten("gray", t0, until)), until.Add(time.Hour), ""},
		{"moved into the past", with(1, forgotten("gray", t0, until.Add(time.Hour))), with(2, forgotten("gray", t0, until)), until.Add(time.Minute), late},
		{"listed again in time", with(1, forgotten("gray", t0, until)), with(2, gray), until.Add(ForgetDelay + MaxSkew - 1), ""},
		{"listed again too late", with(1, forgotten("gray", t0, until)), with(2, gray), until.Add(ForgetDelay + MaxSkew), gone},
		{"forgotten twice", with(1, forgotten("gray", t0, until)), with(2, forgotten("gray", t0, until.Add(2*time.Hour))), until.Add(time.Hour), gone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := CheckTransition(tt.last, tt.next, Reading{At: tt.since, Since: tt.since}); err != nil {
				got = err.Error()
				if !errors.Is(err, ErrLane) {
					t.Errorf("%v doesn't wrap ErrLane", err)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckPublication(t *testing.T) {
	until := t0.Add(time.Minute)
	tests := []struct {
		name       string
		last, next *Document
		now        time.Time
		want       string
	}{
		{"nothing special", with(1, listed("gray", t0)), with(2, listed("gray", t0)), t0, ""},
		{"the first", nil, with(2, listed("gray", t0)), t0, ""},
		{"listed in the future", nil, with(2, listed("gray", t0)), t0.Add(-2 * time.Minute), "lanes[0].listed: is 2026-11-22T10:00:00Z, in the future; leave it out: publishing sets it"},
		{"forgetting", with(1, listed("gray", t0)), with(2, forgotten("gray", t0, until)), t0, ""},
		{"dropped by hand, though its time has come", with(1, forgotten("gray", t0, until)), with(2), until.Add(time.Hour), "lanes: lane gray is missing, which is being forgotten; keep it: `graychain lanes forget gray` takes it out once nothing of it is left"},
		{"dropped by who knows that nothing is left", with(1, forgotten("blue", t0, until)), with(2), until.Add(ForgetDelay), ""},
		{"dropped before its time: every reader refuses it", with(1, forgotten("gray", t0, until)), with(2), until, ""},
		{"forgetting in the past", with(1, listed("gray", t0)), with(2, forgotten("gray", t0, until)), until, "lanes[0].until: is 2026-11-22T10:01:00Z, less than 30s from now: messages stored by then would be nobody's; leave it out, `graychain lanes forget gray` sets it"},
		{"forgetting without notice", with(1, listed("gray", t0)), with(2, forgotten("gray", t0, until)), until.Add(-20 * time.Second), "lanes[0].until: is 2026-11-22T10:01:00Z, less than 30s from now: messages stored by then would be nobody's; leave it out, `graychain lanes forget gray` sets it"},
		{"going on forgetting", with(1, forgotten("gray", t0, until)), with(2, forgotten("gray", t0, until)), until.Add(time.Hour), ""},
		{"listed again in time", with(1, forgotten("gray", t0, until)), with(2, listed("gray", t0)), until.Add(ForgetDelay - 1), ""},
		{"listed again too late", with(1, forgotten("gray", t0, until)), with(2, listed("gray", t0)), until.Add(ForgetDelay), "lanes[0].until: lane gray has been forgotten at 2026-11-22T10:01:00Z: it can be listed anew when it has left the document"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if err := checkPublication(tt.last, tt.next, "blue", tt.now); err != nil {
				got = err.Error()
				if !errors.Is(err, ErrLane) {
					t.Errorf("%v doesn't wrap ErrLane", err)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}
