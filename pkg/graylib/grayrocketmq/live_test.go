package grayrocketmq

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// TestLivenessHoldsNobodyUp: an answer that is long in coming holds up neither who asks about another lane nor, while the last answer
// is recent, who asks about the same.
func TestLivenessHoldsNobodyUp(t *testing.T) {
	slowLane, otherLane := laneTopic{"slow", "T"}, laneTopic{"slow", "another topic"}
	var clock time.Time
	slow, asked := make(chan error), make(chan laneTopic, 8)
	l := &liveness{
		now: func() time.Time { return clock },
		ask: func(_ context.Context, lane laneTopic) (bool, error) {
			asked <- lane
			if lane != slowLane {
				return true, nil
			}
			return true, <-slow
		},
	}
	clock = time.Unix(1_000_000, 0)
	first := make(chan bool, 2)
	for range cap(first) { // the second waits for the answer that the first one asks for
		go func() { first <- l.consumer(slowLane) }()
	}
	await := func(want laneTopic) {
		t.Helper()
		select {
		case lane := <-asked:
			if lane != want {
				t.Fatalf("asked about %v, want %v", lane, want)
			}
		case <-time.After(within):
			t.Fatalf("nobody asked about %v", want)
		}
	}
	await(slowLane)
	if !l.consumer(otherLane) {
		t.Error("the other lane isn't live")
	}
	await(otherLane)
	slow <- nil
	for range cap(first) {
		select {
		case live := <-first:
			if !live {
				t.Error("the slow lane isn't live")
			}
		case <-time.After(within):
			t.Fatal("the answer has come, and is waited for")
		}
	}

	clock = clock.Add(liveFor) // no goroutine of the above reads it any more
	for range 2 {
		if !l.consumer(slowLane) {
			t.Error("the answer before doesn't serve while it is asked for anew")
		}
	}
	await(slowLane)
	slow <- errors.New("no answer")
	eventually(t, "the answer is taken in", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.known[slowLane].asking == nil
	})
	if !l.consumer(slowLane) {
		t.Error("no answer doesn't count as the one before")
	}

	clock = clock.Add(2 * liveFor)
	go func() { slow <- nil }() // too old to serve: it is waited for
	if !l.consumer(slowLane) {
		t.Error("the new answer isn't used")
	}
	await(slowLane)
	if len(asked) != 0 {
		t.Errorf("asked %d times more than needed", len(asked))
	}
}

// TestLiveAfterAFailover: a broker that lists nobody, or doesn't answer, may not be the master any more. Where the name server says so the new one
// is asked at once; while nobody is listed there either it isn't asked again for 30 s.
func TestLiveAfterAFailover(t *testing.T) {
	lane := laneTopic{tag: "gray", topic: "T"}
	member := "127.0.0.1@" + ownership.InstanceName("a", "gray", ownership.Own, []string{"T"}, "1")
	for name, silent := range map[string]bool{"the old master lists nobody": false, "the old master is silent": true} {
		t.Run(name, func(t *testing.T) {
			s, old, master := newSim(t), newSimBroker(t), newSimBroker(t)
			s.has("b", "T", 1)
			s.at("b", map[int]string{0: old.Addr})
			c := s.consumer(t, "", listed(graylib.ModeAuto, "gray"))
			c.subs = []*subscription{{topic: "T"}}
			clock := time.Unix(1_000_000, 0)
			c.live.now = func() time.Time { return clock }
			asked := func() (n int) {
				for _, r := range s.Seen() {
					if r.Code == codeRoute {
						n++
					}
				}
				return n
			}
			ask := func(want bool, lookups int, when string) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				before := asked()
				live, err := c.askLive(ctx, lane)
				if got := asked() - before; live != want || err != nil || got != lookups {
					t.Errorf("%s: live %t, %d look-ups, error %v; want %t and %d", when, live, got, err, want, lookups)
				}
			}
			c.locate(t.Context())
			ask(false, 1, "at first")
			ask(false, 0, "soon after")
			clock = clock.Add(locateEvery)

			master.mu.Lock()
			master.members["g_gray"] = []string{member}
			master.mu.Unlock()
			s.at("b", map[int]string{0: master.Addr, 1: old.Addr})
			if silent {
				defer old.standStill()()
			}
			ask(true, 1, "after the failover")
			ask(true, 0, "by the new master")
		})
	}
}

// TestLaneLiveByTopic: a lane whose instances don't want a topic isn't live for it. A list that was read lately counts while the
// connection is made anew, an old one doesn't.
func TestLaneLiveByTopic(t *testing.T) {
	const listLife = time.Hour // of ids that are gone; no matter here
	lane := "127.0.0.1@" + ownership.InstanceName("a", "gray", ownership.Own, []string{"T"}, "1")
	standIn := "127.0.0.1@" + ownership.InstanceName("a", "", ownership.StandIn, []string{"T", "U"}, "2")
	b := &laneBroker{roster: ownership.NewRoster(listLife)} // without a connection
	m := &laneMember{brokers: map[string]*laneBroker{"b": b}}
	for _, tc := range []struct {
		name   string
		readAt time.Time
		ids    []string
		topic  string
		want   bool
	}{
		{"wanted", time.Now(), []string{lane, standIn}, "T", true},
		{"not wanted by the lane", time.Now(), []string{lane, standIn}, "U", false},
		{"no instance of the lane", time.Now(), []string{standIn}, "T", false},
	} {
		b.roster.Read(tc.readAt, tc.ids)
		if got := m.live(tc.topic); got != tc.want {
			t.Errorf("%s: live %t, want %t", tc.name, got, tc.want)
		}
	}
	old := &laneBroker{roster: ownership.NewRoster(listLife)}
	old.roster.Read(time.Now().Add(-listTrust-time.Second), []string{lane, standIn})
	m.brokers["b"] = old
	if m.live("T") {
		t.Error("a list that is too old is believed")
	}
}
