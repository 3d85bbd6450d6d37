package graylib_test

import (
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

func drawInstance(t *rapid.T) graylib.Instance {
	return graylib.Instance{
		ID:     rapid.StringMatching(`[a-z]{1,4}`).Draw(t, "id"),
		Addr:   rapid.SampledFrom([]string{"", "h:1", "h:2", "h:3", "h:4"}).Draw(t, "addr"),
		Tag:    rapid.SampledFrom([]graylib.Tag{"", "", "gray", "blue", "Malformed", "baseline"}).Draw(t, "tag"),
		Weight: rapid.SampledFrom([]float64{1, 1, 1, 0, -1, 2.5, math.NaN(), math.Inf(1)}).Draw(t, "weight"),
	}
}

var sameInstances = cmpopts.EquateEmpty()

func TestSnapshotChoosesAsChooseDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instances := rapid.SliceOfN(rapid.Custom(drawInstance), 0, 12).Draw(t, "instances")
		before := append([]graylib.Instance(nil), instances...)
		s := graylib.NewSnapshot(instances)
		for _, tag := range []graylib.Tag{"", "gray", "blue", "red", "Malformed", "baseline"} {
			want, wantReason := graylib.Choose(instances, tag)
			set, reason := s.Choose(tag)
			if diff := cmp.Diff(want, set.Instances(), sameInstances); diff != "" || reason != wantReason {
				t.Fatalf("tag %q: reason %q, want %q; instances (-Choose +Snapshot):\n%s", tag, reason, wantReason, diff)
			}
			picked := map[string]bool{}
			for range 4 * len(want) {
				in, ok := set.Pick()
				if !ok {
					t.Fatal("nothing picked of some")
				}
				picked[in.Addr] = true
				// G1 and G2: nobody gets an instance of another lane, an untagged request none of any.
				if in.Tag != graylib.Untagged && in.Tag != tag || reason == graylib.ReasonLane && in.Tag != tag {
					t.Fatalf("tag %q: reason %q, instance %+v", tag, reason, *in)
				}
			}
			if _, ok := set.Pick(); ok != (len(want) > 0) {
				t.Fatalf("picked %v of %d", ok, len(want))
			}
		}
		if diff := cmp.Diff(before, instances, sameInstances, cmpopts.EquateNaNs()); diff != "" {
			t.Fatalf("the instances were changed (-before +after):\n%s", diff)
		}
	})
}

func TestChoose(t *testing.T) {
	base := graylib.Instance{Addr: "h:1", Weight: 1}
	gray := graylib.Instance{Addr: "h:2", Weight: 1, Tag: "gray"}
	off := graylib.Instance{Addr: "h:3", Weight: 0, Tag: "gray"}
	bad := graylib.Instance{Addr: "h:4", Weight: 1, Tag: "Gray"}
	none := []graylib.Instance(nil)
	tests := []struct {
		name   string
		in     []graylib.Instance
		tag    graylib.Tag
		want   []graylib.Instance
		reason graylib.Reason
	}{
		{"untagged", []graylib.Instance{gray, base}, "", []graylib.Instance{base}, graylib.ReasonBaseline},
		{"untagged, only a lane", []graylib.Instance{gray}, "", none, graylib.ReasonBaseline},
		{"lane", []graylib.Instance{gray, base}, "gray", []graylib.Instance{gray}, graylib.ReasonLane},
		{"other lane", []graylib.Instance{gray, base}, "blue", []graylib.Instance{base}, graylib.ReasonNoInstance},
		{"lane without weight", []graylib.Instance{off, base}, "gray", []graylib.Instance{base}, graylib.ReasonNoInstance},
		{"malformed", []graylib.Instance{bad, base}, "Gray", []graylib.Instance{base}, graylib.ReasonNoInstance},
		{"nobody", nil, "gray", none, graylib.ReasonNoInstance},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, reason := graylib.Choose(tt.in, tt.tag)
			if diff := cmp.Diff(tt.want, got, sameInstances); diff != "" || reason != tt.reason {
				t.Errorf("reason %q, want %q; instances (-want +got):\n%s", reason, tt.reason, diff)
			}
		})
	}
}

func TestSnapshotViews(t *testing.T) {
	s := graylib.NewSnapshot([]graylib.Instance{
		{Addr: "h:1", Weight: 1}, {Addr: "h:2", Weight: 1, Tag: "gray"}, {Addr: "h:3", Weight: 1, Tag: "blue"}, {Addr: "h:4"},
	})
	if diff := cmp.Diff([]graylib.Tag{"blue", "gray"}, s.Tags()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if n := len(s.Instances()); n != 3 {
		t.Errorf("%d instances, want the 3 that can be routed to", n)
	}
	if s.Baseline().Len() != 1 || s.Lane("gray").Len() != 1 || s.Lane("red") != nil {
		t.Errorf("baseline %d, gray %d, red %v", s.Baseline().Len(), s.Lane("gray").Len(), s.Lane("red"))
	}
}

func TestPickTakesTurns(t *testing.T) {
	var instances []graylib.Instance
	for i := range 7 {
		instances = append(instances, graylib.Instance{Addr: fmt.Sprint("h:", i), Weight: 3})
	}
	set := graylib.NewSnapshot(instances).Baseline()
	count := map[string]int{}
	for range 7 * 100 {
		in, _ := set.Pick()
		count[in.Addr]++
	}
	for _, in := range instances {
		if count[in.Addr] != 100 {
			t.Errorf("%s was picked %d times of 700, want 100", in.Addr, count[in.Addr])
		}
	}
}

func TestTableWatch(t *testing.T) {
	table := graylib.NewTable("b")
	if table.Load().Baseline().Len() != 0 {
		t.Fatal("a new table isn't empty")
	}
	var seen []string
	cancel := table.Watch(func(old, now *graylib.Snapshot) {
		if table.Load() != now {
			t.Error("the watcher is told before the change is in place")
		}
		seen = append(seen, fmt.Sprintf("%d->%d", len(old.Instances()), len(now.Instances())))
	})
	one := graylib.NewSnapshot([]graylib.Instance{{Addr: "h:1", Weight: 1}})
	table.Store(one)
	table.Store(nil)
	cancel()
	cancel()
	table.Store(one)
	if diff := cmp.Diff([]string{"0->1", "1->0"}, seen); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// A table is swapped under picks: each pick is of one whole snapshot, and of the right lane. Meant for -race.
func TestTableSwapsUnderPicks(t *testing.T) {
	table := graylib.NewTable("b")
	snapshots := make([]*graylib.Snapshot, 3)
	for i := range snapshots {
		var instances []graylib.Instance
		for n := range 4 {
			tag := graylib.Tag("")
			if n < i {
				tag = "gray"
			}
			instances = append(instances, graylib.Instance{ID: fmt.Sprint(i), Addr: fmt.Sprint("h:", n), Weight: float64(1 + n*i), Tag: tag})
		}
		snapshots[i] = graylib.NewSnapshot(instances)
	}
	table.Store(snapshots[0])
	var watched int // written under the table's lock alone
	cancel := table.Watch(func(_, _ *graylib.Snapshot) { watched++ })
	stop := make(chan struct{})
	var pickers, storers sync.WaitGroup
	for p := range 4 {
		pickers.Go(func() {
			tag := []graylib.Tag{"", "gray"}[p%2]
			for {
				select {
				case <-stop:
					return
				default:
				}
				set, reason := table.Load().Choose(tag)
				in, ok := set.Pick()
				if !ok || (reason == graylib.ReasonLane) != (in.Tag == "gray") {
					t.Errorf("tag %q: reason %q, instance %+v", tag, reason, in)
					return
				}
			}
		})
	}
	const each = 2000
	for s := range 2 {
		storers.Go(func() {
			for i := range each {
				table.Store(snapshots[(i+s)%len(snapshots)])
			}
		})
	}
	storers.Wait()
	close(stop)
	pickers.Wait()
	cancel()
	if watched != 2*each {
		t.Errorf("the watcher was told of %d of %d changes", watched, 2*each)
	}
}
