package grayrocketmq

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestLivenessHoldsNobodyUp: an answer that is long in coming holds up neither who asks about another lane nor, while the last answer
// is recent, who asks about the same.
func TestLivenessHoldsNobodyUp(t *testing.T) {
	var clock time.Time
	slow, asked := make(chan error), make(chan graylib.Tag, 8)
	l := &liveness{
		now: func() time.Time { return clock },
		ask: func(_ context.Context, tag graylib.Tag) (bool, error) {
			asked <- tag
			if tag != "slow" {
				return true, nil
			}
			return true, <-slow
		},
	}
	clock = time.Unix(1_000_000, 0)
	first := make(chan bool, 2)
	for range cap(first) { // the second waits for the answer that the first one asks for
		go func() { first <- l.consumer("slow") }()
	}
	await := func(want graylib.Tag) {
		t.Helper()
		select {
		case tag := <-asked:
			if tag != want {
				t.Fatalf("asked about %q, want %q", tag, want)
			}
		case <-time.After(within):
			t.Fatalf("nobody asked about %q", want)
		}
	}
	await("slow")
	if !l.consumer("other") {
		t.Error("the other lane isn't live")
	}
	await("other")
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
		if !l.consumer("slow") {
			t.Error("the answer before doesn't serve while it is asked for anew")
		}
	}
	await("slow")
	slow <- errors.New("no answer")
	eventually(t, "the answer is taken in", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.known["slow"].asking == nil
	})
	if !l.consumer("slow") {
		t.Error("no answer doesn't count as the one before")
	}

	clock = clock.Add(2 * liveFor)
	go func() { slow <- nil }() // too old to serve: it is waited for
	if !l.consumer("slow") {
		t.Error("the new answer isn't used")
	}
	await("slow")
	if len(asked) != 0 {
		t.Errorf("asked %d times more than needed", len(asked))
	}
}
