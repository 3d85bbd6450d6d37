package grayrocketmq

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// TestBrokerAway: an instance that starts while one of two brokers can't be asked consumes from the other in all its groups, and
// from the first when it is back.
func TestBrokerAway(t *testing.T) {
	for name, away := range map[string]func(t *testing.T) map[int]string{
		"a replica alone": func(*testing.T) map[int]string { return map[int]string{1: "127.0.0.1:1"} },
		"nobody answers":  func(t *testing.T) map[int]string { return map[int]string{0: graylibtest.ReserveAddr(t)} },
	} {
		t.Run(name, func(t *testing.T) {
			s, here, back := newSim(t), newSimBroker(t), newSimBroker(t)
			s.at("here", map[int]string{0: here.Addr})
			s.at("away", away(t))
			for _, broker := range []string{"here", "away"} {
				s.has(broker, "T", 2)
				for _, group := range []string{"g", "g_gray", "g__tagged"} {
					s.has(broker, retryTopic(group), 1)
				}
			}
			here.begun("g", "T", 2, 7, 9)
			back.begun("g", "T", 2, 5, 6)
			c := s.consumer(t, "", listed(graylib.ModeAuto, "gray"))
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			for _, group := range []string{"g_gray", "g__tagged", "g"} {
				eventually(t, group+" is consumed from the broker that is there", func() bool { return here.consumed(group, "T", 0) && here.consumed(group, "T", 1) })
			}
			eventually(t, "the state says what is missing", func() bool {
				return !slices.ContainsFunc(c.State().Groups, func(g graylib.GroupState) bool { return !cmp.Equal(g.Away, []string{"away"}) })
			})
			s.at("away", map[int]string{0: back.Addr})
			readRoutes(c)
			for _, group := range []string{"g_gray", "g__tagged", "g"} {
				eventually(t, group+" is consumed from the broker that is back", func() bool { return back.consumed(group, "T", 0) && back.consumed(group, "T", 1) })
				history := back.history()
				if group == "g" {
					if !slices.Contains(history, "g pulls T/1 from 5") {
						t.Errorf("g doesn't go on where it was:\n%s", strings.Join(history, "\n"))
					}
					continue
				}
				for id := range 2 {
					begins := slices.Index(history, fmt.Sprintf("%s begins on T/%d at 0", group, id))
					pulls := slices.Index(history, fmt.Sprintf("%s pulls T/%d from 0", group, id))
					if begins < 0 || pulls < begins {
						t.Errorf("%s on T/%d: its first offset is not set before it pulls:\n%s", group, id, strings.Join(history, "\n"))
					}
				}
			}
			eventually(t, "the state is good again", func() bool {
				return !slices.ContainsFunc(c.State().Groups, func(g graylib.GroupState) bool { return len(g.Away) > 0 })
			})
		})
	}
}

// TestBrokerAwayAtTheFirst: where a group begins for the first time on a broker that is away can't be said later: it waits.
func TestBrokerAwayAtTheFirst(t *testing.T) {
	s, here := newSim(t), newSimBroker(t)
	s.at("here", map[int]string{0: here.Addr})
	s.at("away", map[int]string{1: "127.0.0.1:1"})
	s.has("here", "T", 1)
	s.has("away", "T", 1)
	c := s.consumer(t, "", listed(graylib.ModeAuto, "gray"))
	if err := c.Start(); !errors.Is(err, ErrFirstOffsets) || !errors.Is(err, errNoMaster) || !strings.Contains(err.Error(), `"away"`) {
		t.Errorf("got %v, want errNoMaster of the broker %q", err, "away")
	}
}

// TestNoBrokerThere: where none can be asked, a start says so.
func TestNoBrokerThere(t *testing.T) {
	s := newSim(t)
	s.at("away", map[int]string{1: "127.0.0.1:1"})
	s.has("away", "T", 1)
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	if err := c.Start(); !errors.Is(err, errNoMaster) {
		t.Errorf("got %v, want errNoMaster", err)
	}
}

// TestTopicShrinks: queues that leave a topic's route are given up, and taken again when they are back.
func TestTopicShrinks(t *testing.T) {
	s, b := newSim(t), newSimBroker(t)
	s.at("b", map[int]string{0: b.Addr})
	s.has("b", "T", 4)
	s.has("b", retryTopic("g_gray"), 1)
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	owns := func(queues int) {
		t.Helper()
		want := []string{retryTopic("g_gray") + " b/0"}
		for id := range queues {
			want = append(want, fmt.Sprintf("T b/%d", id))
		}
		eventually(t, fmt.Sprintf("the member owns %d queues", queues), func() bool {
			if !cmp.Equal(ownedBy(c, "g_gray"), want) {
				return false
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.locks["g_gray"]) == queues+1
		})
	}
	owns(4)
	s.has("b", "T", 2)
	readRoutes(c)
	owns(2)
	s.has("b", "T", 3)
	readRoutes(c)
	owns(3)
}

// TestBrokerMissingInRoute: a broker that a name server doesn't know, which may have come up a moment ago, keeps its queues for a while.
func TestBrokerMissingInRoute(t *testing.T) {
	q, topic := remoting.Queue{Topic: "T", Broker: "b"}, map[bool]remoting.Route{true: {Queues: []remoting.Queue{{Topic: "T", Broker: "b"}}}}
	lq := &laneQueue{}
	m := &laneMember{queues: map[remoting.Queue]*laneQueue{q: lq}}
	m.c = newSim(t).consumer(t, "", listed(graylib.ModeAuto))
	now := time.Now()
	for i, step := range []struct {
		after time.Duration
		there bool
		gone  bool
	}{
		{0, false, false}, {brokerPatience - 1, false, false}, {brokerPatience, true, false}, {brokerPatience + 1, false, false},
		{2 * brokerPatience, false, false}, {2*brokerPatience + 1, false, true}, {3 * brokerPatience, true, false},
	} {
		if m.missing("T", topic[step.there], now.Add(step.after)); lq.gone != step.gone {
			t.Errorf("step %d: gone %v, want %v", i, lq.gone, step.gone)
		}
	}
}
