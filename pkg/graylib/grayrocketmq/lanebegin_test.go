package grayrocketmq

import (
	"context"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// ownedQueue is a queue that its member owns, of whose messages one may be begun and not committed.
func ownedQueue(t *testing.T) *laneQueue {
	t.Helper()
	const me = "127.0.0.1@a#gray#own#v2#0#1"
	now := time.Now()
	roster := ownership.NewRoster(time.Minute)
	roster.Read(now, []string{me})
	q := &laneQueue{m: &laneMember{}, kick: make(chan struct{}, 1), room: make(chan struct{}, 1), machine: ownership.NewMachine(me, ownership.Config{Span: 1}, roster)}
	q.machine.Want(now, true)
	for q.machine.State() != ownership.Owned {
		switch a := q.machine.Next(now); a.Kind {
		case ownership.DoLock:
			q.machine.LockAnswered(now, now, true, nil)
		case ownership.DoRead:
			q.machine.OffsetRead(now, 0, nil)
		default:
			t.Fatalf("in state %s the machine wants %+v", q.machine.State(), a)
		}
	}
	return q
}

// TestWaitingHasNoSlot: a queue whose span is full, since none of its messages can be finished, has no slot while it waits: with a
// few of those no other queue of the topic could begin anything.
func TestWaitingHasNoSlot(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	slots := make(chan struct{}, 1)
	message := func(offset int64) []delivery { return []delivery{{msg: &primitive.MessageExt{QueueOffset: offset}}} }
	admit := func(q *laneQueue, offset int64) bool {
		begun, _, _ := q.admit(ctx, q.machine.Span(), message(offset), slots)
		return len(begun) == 1
	}
	stuck, free := ownedQueue(t), ownedQueue(t)
	if !admit(stuck, 0) {
		t.Fatal("the first message did not begin")
	}
	<-slots // its handler has returned, but it can't be sent back
	ended := make(chan bool)
	go func() { ended <- admit(stuck, 1) }()
	stuck.room <- struct{}{}
	stuck.room <- struct{}{} // so the first one was taken: it waits for room
	if !admit(free, 0) {
		t.Error("a message of another queue could not begin")
	}
	<-slots
	cancel()
	if <-ended || len(slots) != 0 {
		t.Errorf("a message began beyond the span, or a slot is still taken (%d)", len(slots))
	}
}
