package ownership

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

type scenario struct {
	name      string
	own       int
	standIns  int
	unwilling int // of own: the first ones, whose application doesn't want the topic
	joined    int // this many are members from the start
	budget    budget
	states    int // at most
	rules     rules
}

func (s scenario) start() *world {
	w := &world{now: epoch, listed: make(map[string]bool), mode: graylib.ModeAuto, budget: s.budget}
	add := func(service string, tag graylib.Tag, role Role, i int, topic string) {
		id := "h@" + InstanceName(service, tag, role, []string{topic}, fmt.Sprint(i))
		r := NewRoster(60 * time.Second)
		m := NewMachine(id, Config{RetryMax: time.Second, Retry: time.Second}, r)
		m.rules = s.rules
		w.members = append(w.members, &life{id: id, mode: w.mode, roster: r, m: m})
	}
	for i := range s.standIns {
		add("a", "", StandIn, i, "t")
	}
	for i := range s.own {
		topic := "t"
		if i < s.unwilling {
			topic = "other"
		}
		add("a", "gray", Own, i, topic)
	}
	for _, l := range w.members[:s.joined] {
		l.joined = true
		w.listed[l.id] = true
	}
	for _, l := range w.members[:s.joined] {
		w.readList(l, w.now)
		w.reallocate(l)
		w.settle(l)
	}
	return w
}

// search visits every state of a scenario once, breadth first, so that a counterexample is a shortest one.
func (s scenario) search() (states int, whole bool, broken string) {
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(violation)
			if !ok {
				panic(r)
			}
			broken = string(v)
		}
	}()
	first := s.start()
	seen := map[[16]byte]struct{}{first.key(): {}}
	defer func() { states = len(seen) }()
	level := []*world{first}
	for len(level) > 0 {
		var next []*world
		for _, w := range level {
			for _, n := range w.steps() {
				k := n.key()
				if _, old := seen[k]; old {
					continue
				}
				seen[k] = struct{}{}
				if k[0]%32 == 0 && !n.converge() {
					return len(seen), false, "G5: messages are left\n" + n.trace.String()
				}
				next = append(next, n)
			}
			if len(seen) > s.states {
				return len(seen), false, ""
			}
		}
		level = next
	}
	return len(seen), true, ""
}

// full tells whether the searches are to be run whole (make check-full-messages).
func full() bool { return os.Getenv("GRAYCHAIN_MODEL") == "full" }

func scenarios() []scenario {
	limit := 25_000 // a few seconds under the race detector
	if full() {
		limit = 4_000_000
	}
	return []scenario{
		{name: "planned: lane joins a stand-in and leaves", own: 1, standIns: 1, joined: 1, budget: budget{leaves: 2, seconds: 2}, states: limit},
		{name: "planned: two and two", own: 2, standIns: 2, joined: 2, budget: budget{leaves: 1, seconds: 1}, states: limit},
		{name: "planned: handlers fail while the queue is given", own: 1, standIns: 1, joined: 1, budget: budget{leaves: 1, fails: 2, seconds: 2}, states: limit},
		{name: "planned: modes", own: 1, standIns: 2, joined: 2, budget: budget{modes: 2, seconds: 1}, states: limit},
		{name: "planned: a lane that doesn't want the topic, and one that does", own: 2, unwilling: 1, standIns: 1, joined: 2, budget: budget{leaves: 1, seconds: 1}, states: limit},
		{name: "crash of any", own: 1, standIns: 2, joined: 2, budget: budget{crashes: 1, seconds: 2}, states: limit},
		{name: "crash of both sides", own: 1, standIns: 2, joined: 3, budget: budget{crashes: 2, seconds: 1}, states: limit},
		{name: "crash before the newcomer is born", own: 0, standIns: 2, joined: 1, budget: budget{crashes: 1, seconds: 2, jumps: 3}, states: limit},
		{name: "connection lost and back", own: 1, standIns: 1, joined: 2, budget: budget{drops: 2, seconds: 4}, states: limit},
		{name: "connection lost while handlers fail", own: 1, standIns: 1, joined: 2, budget: budget{drops: 1, fails: 2, seconds: 2}, states: limit},
		{name: "cut off", own: 1, standIns: 1, joined: 2, budget: budget{cuts: 1, seconds: 3, jumps: 3}, states: limit},
		{name: "cut off while modes change", own: 1, standIns: 1, joined: 2, budget: budget{cuts: 1, modes: 1, seconds: 1, jumps: 3}, states: limit},
		{name: "connection lost, crash", own: 1, standIns: 2, joined: 3, budget: budget{drops: 1, crashes: 1, seconds: 3}, states: limit},
	}
}

func TestEveryInterleavingKeepsThePromises(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			states, whole, broken := s.search()
			if broken != "" {
				t.Fatalf("after %d states broke %s", states, broken)
			}
			extent := "all"
			if !whole {
				extent = "the first"
			}
			t.Logf("%s %d states in %v", extent, states, time.Since(began).Round(time.Millisecond))
		})
	}
}

// A search that finds nothing proves little unless it finds what is there: with one rule switched off, it must.
func TestSearchFindsWhatARuleIsFor(t *testing.T) {
	for _, tc := range []struct {
		name string
		off  rules
		in   string
		want string
		far  bool // only a long search gets there
	}{
		{"drain", rules{noDrain: true}, "planned: lane joins a stand-in and leaves", "G6", false},
		{"the right to begin ends with time", rules{beginForever: true}, "cut off", "G6", true},
		{"a lock is taken from those that are gone alone", rules{unlockUnseen: true}, "planned: lane joins a stand-in and leaves", "mutual exclusion", false},
		{"settling after a lost connection", rules{noSettle: true}, "connection lost and back", "mutual exclusion", false},
		{"what was abandoned isn't finished", rules{abandonFinishes: true}, "planned: handlers fail while the queue is given", "G5", false},
		{"no commit after a loss", rules{commitAfterLoss: true}, "connection lost and back", "G6", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.far && !full() {
				t.Skip("takes a search of up to 2,000,000 states: run with GRAYCHAIN_MODEL=full")
			}
			all := scenarios()
			i := slices.IndexFunc(all, func(s scenario) bool { return s.name == tc.in })
			s := all[i]
			s.rules = tc.off
			s.states = 2_000_000
			states, _, broken := s.search()
			if !strings.Contains(broken, tc.want) {
				t.Fatalf("without this rule %d states show no broken %s: got %q", states, tc.want, broken)
			}
			t.Logf("found after %d states:\n%s", states, broken)
		})
	}
}
