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
	id := "10.0.0.1@" + InstanceName("a", "gray", Own, []string{"t", "s", "t"}, "f00")
	got, err := ParseMember(id)
	if err != nil {
		t.Fatal(err)
	}
	want := Member{ID: id, Service: "a", Tag: "gray", Role: Own, topics: []string{topicMark("t"), topicMark("s")}}
	slices.Sort(want.topics)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Member{})); diff != "" {
		t.Error(diff)
	}
	for topic, wanted := range map[string]bool{"s": true, "t": true, "u": false, "%RETRY%g": true} {
		if got.Wants(topic) != wanted {
			t.Errorf("wants %q: %v", topic, !wanted)
		}
	}
	for _, bad := range []string{
		"", "10.0.0.1", "10.0.0.1@4711", "h@a#gray#own#v1#f00", "h@a#gray#own#v3#0#x", "h@a#gray#boss#v2#0#x", "h@a#GRAY#own#v2#0#x", "h@#gray#own#v2#0#x",
		"h@a#gray#own#v2#0#", "h@a#gray#own#v2#0", "h@a#gray#own#v2", "h@a#gray#own",
	} {
		if _, err := ParseMember(bad); !errors.Is(err, ErrUnknownMember) {
			t.Errorf("ParseMember(%q) = %v, want an unknown member", bad, err)
		}
	}
}

func FuzzParseMember(f *testing.F) {
	f.Add("10.0.0.1@a#gray#own#v2#0a,0b#f00")
	f.Add("h@a#-#standin#v2#x#y#z")
	f.Add("@####")
	f.Fuzz(func(t *testing.T, id string) {
		m, err := ParseMember(id)
		if err == nil && (m.Service == "" || !m.Tag.Valid() || m.ID != id) {
			t.Errorf("ParseMember(%q) = %+v", id, m)
		}
	})
}

// wanting draws the topics that a member's application wants; the queues are those of "t".
func wanting(t *rapid.T) []string {
	return rapid.SampledFrom([][]string{{"t"}, {"s", "t"}, {"s"}}).Draw(t, "topics")
}

func wants(ids []string) (n int) {
	for _, id := range ids {
		if m, err := ParseMember(id); err == nil && m.Wants("t") {
			n++
		}
	}
	return n
}

func drawGroup(t *rapid.T) (own, standIns []string, queues []Queue) {
	for i := range rapid.IntRange(0, 4).Draw(t, "own") {
		own = append(own, "h@"+InstanceName("a", "gray", Own, wanting(t), fmt.Sprint(i)))
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "stand-ins") {
		standIns = append(standIns, "h@"+InstanceName("a", "", StandIn, wanting(t), fmt.Sprint(i)))
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
			if len(got) > 0 && wants([]string{id}) == 0 {
				t.Fatalf("%s got %v, which it doesn't want", id, got)
			}
			if !isOwn && len(got) > 0 && (wants(own) > 0 || mode == graylib.ModeIgnore) {
				t.Fatalf("stand-in %s got %v in mode %s with %d own members", id, got, mode, len(own))
			}
			for _, q := range got {
				if other, taken := owner[q]; taken {
					t.Fatalf("%v went to %s and %s", q, other, id)
				}
				owner[q] = id
			}
			if wants([]string{id}) == 1 && isOwn == (wants(own) > 0) {
				least, most = min(least, len(got)), max(most, len(got))
			}
		}
		somebody := wants(own) > 0 || wants(standIns) > 0 && mode != graylib.ModeIgnore
		if somebody && (len(owner) != len(queues) || most-least > 1) {
			t.Fatalf("%d of %d queues have an owner, shares from %d to %d", len(owner), len(queues), least, most)
		}
	})
}

func TestAllocateTakesNothingBesideAnUnknownVersion(t *testing.T) {
	me := "h@" + InstanceName("a", "gray", Own, []string{"t"}, "1")
	for _, other := range []string{"h@a#gray#own#v1#2", "h@a#gray#own#v3#t#2", "h@DEFAULT"} {
		got, err := Allocate(me, []string{me, other}, graylib.ModeAuto, []Queue{{Topic: "t"}})
		if !errors.Is(err, ErrUnknownMember) || got != nil {
			t.Errorf("beside %s Allocate = %v, %v", other, got, err)
		}
	}
}

// TestAllocateByTopics: a queue goes to those who want its topic; the retry topic to those of the candidates that know most.
func TestAllocateByTopics(t *testing.T) {
	one := "h@" + InstanceName("a", "", StandIn, []string{"t"}, "1")
	two := "h@" + InstanceName("a", "", StandIn, []string{"t", "u"}, "2")
	lane := "h@" + InstanceName("a", "gray", Own, []string{"t", "v"}, "3")
	for _, tc := range []struct {
		name, topic string
		ids         []string
		mode        graylib.Mode
		owner       string
	}{
		{"all want it, the lane is there", "t", []string{one, two, lane}, graylib.ModeAuto, lane},
		{"the lane alone wants it", "v", []string{one, two, lane}, graylib.ModeAuto, lane},
		{"the lane alone wants it, and is gone", "v", []string{one, two}, graylib.ModeAuto, ""},
		{"one stand-in alone wants it", "u", []string{one, two, lane}, graylib.ModeAuto, two},
		{"one stand-in alone wants it, mode ignore", "u", []string{one, two, lane}, graylib.ModeIgnore, ""},
		{"retries, the lane is there", "%RETRY%g_gray", []string{one, two, lane}, graylib.ModeAuto, lane},
		{"retries, the lane is gone", "%RETRY%g_gray", []string{one, two}, graylib.ModeAuto, two},
	} {
		owner := ""
		for _, id := range tc.ids {
			got, err := Allocate(id, tc.ids, tc.mode, []Queue{{Topic: tc.topic, Broker: "b"}})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 1 {
				owner += id
			}
		}
		if owner != tc.owner {
			t.Errorf("%s: %q owns it, want %q", tc.name, owner, tc.owner)
		}
	}
}

// TestWantsNothing: a member without topics is understood, and nothing is allotted to it.
func TestWantsNothing(t *testing.T) {
	none, some := "h@"+InstanceName("a", "gray", Own, nil, "1"), "h@"+InstanceName("a", "gray", StandIn, []string{"t"}, "2")
	for _, topic := range []string{"t", "%RETRY%g_gray"} {
		queues := []Queue{{Topic: topic, Broker: "b"}}
		if mine, err := Allocate(none, []string{none, some}, graylib.ModeAuto, queues); err != nil || len(mine) > 0 {
			t.Errorf("%s: a member without topics gets %v, %v", topic, mine, err)
		}
		if mine, err := Allocate(some, []string{none, some}, graylib.ModeAuto, queues); err != nil || len(mine) != 1 {
			t.Errorf("%s: the other one gets %v, %v, want the queue", topic, mine, err)
		}
	}
}

// TestRetryElsewhere: what failed of a topic is retried where somebody wants the topic.
func TestRetryElsewhere(t *testing.T) {
	id := func(role Role, topics ...string) string {
		return "h@" + InstanceName("a", map[Role]graylib.Tag{Own: "gray"}[role], role, topics, fmt.Sprint(role, topics))
	}
	for _, tc := range []struct {
		name          string
		ids           []string
		mode, retries graylib.Mode
		want          bool
	}{
		{"the lane wants it", []string{id(Own, "t"), id(StandIn, "t")}, graylib.ModeAuto, graylib.ModeAuto, false},
		{"the lane doesn't, a stand-in does", []string{id(Own, "s"), id(StandIn, "s", "t")}, graylib.ModeAuto, graylib.ModeAuto, true},
		{"the same in mode all", []string{id(Own, "s"), id(StandIn, "s", "t")}, graylib.ModeAll, graylib.ModeAuto, true},
		{"nobody does", []string{id(Own, "s"), id(StandIn, "s")}, graylib.ModeAuto, graylib.ModeAuto, false},
		{"the lane's owner of the retries doesn't, another one does", []string{id(Own, "t"), id(Own, "s", "u"), id(StandIn, "t")}, graylib.ModeAuto, graylib.ModeAuto, true},
		{"the lane's owner of the retries does", []string{id(Own, "s"), id(Own, "s", "t"), id(StandIn, "t")}, graylib.ModeAuto, graylib.ModeAuto, false},
		{"stand-ins alone", []string{id(StandIn, "t"), id(StandIn, "s", "u")}, graylib.ModeAuto, graylib.ModeAuto, false},
		{"nobody has the retries: another topic is in mode ignore", []string{id(StandIn, "s", "t")}, graylib.ModeAuto, graylib.ModeIgnore, true},
		{"the topic is in mode ignore", []string{id(Own, "s"), id(StandIn, "s", "t")}, graylib.ModeIgnore, graylib.ModeIgnore, false},
		{"a member that can't be understood", []string{id(Own, "s"), id(StandIn, "t"), "h@4711"}, graylib.ModeAuto, graylib.ModeAuto, false},
		{"nobody", nil, graylib.ModeAuto, graylib.ModeAuto, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := RetryElsewhere(tc.ids, tc.mode, tc.retries, "t"); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
