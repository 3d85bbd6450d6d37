package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

// The message step of the well-known MSE walkthrough: with `all` a gray message appears in both A's logs; after
// `ignore: [gray]`, without a restart, only in gray A's; and back.
func TestMessageModesChangeWithoutARestart(t *testing.T) {
	s := chain(t)
	demo := withLane(t, s, gray, "a", "c")
	before := pids(s)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := s.SetMode(ctx, gray, graylib.ModeAuto); err != nil {
			t.Errorf("back to the default: %v", err)
		}
	})
	for _, mode := range []graylib.Mode{graylib.ModeAll, graylib.ModeIgnore, graylib.ModeAll, graylib.ModeAuto} {
		published := time.Now()
		if _, err := s.SetMode(t.Context(), gray, mode); err != nil {
			t.Fatal(err)
		}
		t.Logf("mode %s: in effect on every instance after %v", mode, time.Since(published).Round(time.Millisecond))
		_, j := closes(t, s, request(t, "/A/dubbo?name="+demo.Name), gray)
		var handledBy []graylib.Tag
		for _, m := range j.Loop.Messages {
			for _, e := range m.Handled() {
				handledBy = append(handledBy, e.Tag)
			}
		}
		slices.Sort(handledBy)
		want := []graylib.Tag{gray}
		if mode == graylib.ModeAll {
			want = []graylib.Tag{graylib.Untagged, gray}
		}
		if !slices.Equal(handledBy, want) {
			t.Errorf("mode %s: handled by %v, want %v", mode, handledBy, want)
		}
		logLine(t, s, j)
		if mode == graylib.ModeIgnore {
			for _, m := range j.Loop.Messages {
				for _, e := range m.Skipped() {
					if n := countInLog(t, s, e.Instance, `"id":"`+m.ID+`"`, "invoke result"); n != 0 {
						t.Errorf("message %s stands in the log of %s, which ignores it", m.ID, e.Instance)
					}
				}
			}
		}
	}
	if after := pids(s); !slices.Equal(before, after) {
		t.Errorf("processes changed: %v, then %v", before, after)
	}
}

func pids(s *suite.Suite) []int {
	var out []int
	for _, i := range s.Instances() {
		out = append(out, i.PID())
	}
	slices.Sort(out)
	return out
}
