package grayrocketmq

import (
	"context"
	"errors"
	"testing"
	"time"

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
