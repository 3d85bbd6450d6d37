package ownership

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestParseMember(t *testing.T) {
	id := "10.0.0.1@" + InstanceName("a", "gray", Own, "f00")
	got, err := ParseMember(id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Member{ID: id, Service: "a", Tag: "gray", Role: Own}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{
		"", "10.0.0.1", "10.0.0.1@4711", "h@a#gray#own#v2#x", "h@a#gray#boss#v1#x", "h@a#GRAY#own#v1#x", "h@#gray#own#v1#x", "h@a#gray#own#v1#", "h@a#gray#own#v1",
	} {
		if _, err := ParseMember(bad); !errors.Is(err, ErrUnknownMember) {
			t.Errorf("ParseMember(%q) = %v, want an unknown member", bad, err)
		}
	}
}

func FuzzParseMember(f *testing.F) {
	f.Add("10.0.0.1@a#gray#own#v1#f00")
	f.Add("h@a#-#standin#v1#x#y")
	f.Add("@####")
	f.Fuzz(func(t *testing.T, id string) {
		m, err := ParseMember(id)
		if err == nil && (m.Service == "" || !m.Tag.Valid() || m.ID != id) {
			t.Errorf("ParseMember(%q) = %+v", id, m)
		}
	})
}

func drawGroup(t *rapid.T) (own, standIns []string, queues []Queue) {
	for i := range rapid.IntRange(0, 4).Draw(t, "own") {
		own = append(own, "h@"+InstanceName("a", "gray", Own, fmt.Sprint(i)))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "stand-ins") {
		standIns = append(standIns, "h@"+InstanceName("a", "", StandIn, fmt.Sprint(i)))
	}
	for i := range rapid.IntRange(0, 17).Draw(t, "queues") {
		queues = append(queues, Queue{Topic: "t", Broker: fmt.Sprint("b", i%2), ID: i})
	}
	return own, standIns, queues
}

func TestAllocateGivesEachQueueToOneMember(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own, standIns, queues := drawGroup(t)
		mode := rapid.SampledFrom([]graylib.Mode{graylib.ModeAuto, graylib.ModeAll, graylib.ModeIgnore}).Draw(t, "mode")
		ids := rapid.Permutation(slices.Concat(own, standIns)).Draw(t, "ids")
		owner := map[Queue]string{}
		least, most := len(queues), 0
		for _, id := range ids {
			shuffled := rapid.Permutation(queues).Draw(t, "order")
			got, err := Allocate(id, ids, mode, shuffled)
			if err != nil {
				t.Fatal(err)
			}
			isOwn := slices.Contains(own, id)
			if !isOwn && len(got) > 0 && (len(own) > 0 || mode == graylib.ModeIgnore) {
				t.Fatalf("stand-in %s got %v in mode %s with %d own members", id, got, mode, len(own))
			}
			for _, q := range got {
				if other, taken := owner[q]; taken {
					t.Fatalf("%v went to %s and %s", q, other, id)
				}
				owner[q] = id
			}
			if isOwn == (len(own) > 0) {
				least, most = min(least, len(got)), max(most, len(got))
			}
		}
		somebody := len(own) > 0 || len(standIns) > 0 && mode != graylib.ModeIgnore
		if somebody && (len(owner) != len(queues) || most-least > 1) {
			t.Fatalf("%d of %d queues have an owner, shares from %d to %d", len(owner), len(queues), least, most)
		}
	})
}

func TestAllocateTakesNothingBesideAnUnknownVersion(t *testing.T) {
	me := "h@" + InstanceName("a", "gray", Own, "1")
	got, err := Allocate(me, []string{me, "h@a#gray#own#v2#2"}, graylib.ModeAuto, []Queue{{Topic: "t"}})
	if !errors.Is(err, ErrUnknownMember) || got != nil {
		t.Errorf("Allocate = %v, %v", got, err)
	}
}
