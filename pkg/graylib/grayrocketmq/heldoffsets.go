package grayrocketmq

import (
	"context"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// heldOffsets remembers how far a consumer saw its groups' queues, whichever of its members it was: brokers forget offsets that they
// have acknowledged, where one is killed before it has written them, or another takes over that lags behind. The zero value is empty.
// It is safe for concurrent use.
type heldOffsets struct {
	mu sync.Mutex
	by map[groupQueue]heldOffset
}

type groupQueue struct {
	group string
	queue remoting.Queue
}

// heldOffset is an offset that a broker gave or acknowledged.
type heldOffset struct {
	offset int64
	at     time.Time // what lies before the offset was stored earlier
}

func (h *heldOffsets) note(group string, q remoting.Queue, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = make(map[groupQueue]heldOffset)
	}
	h.by[groupQueue{group, q}] = heldOffset{offset, time.Now().Add(time.Millisecond)} // brokers compare milliseconds
}

func (h *heldOffsets) last(group string, q remoting.Queue) (heldOffset, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.by[groupQueue{group, q}]
	return o, ok
}

// committed reads the queue's offset. Where none is stored, that of a queue which this process held is where it was last; another
// queue is newer than the group, and all in it is its. It is stored at once, so that others see that the group has begun on it.
func (q *laneQueue) committed(ctx context.Context, s *remoting.Session) (int64, error) {
	group := q.m.place.group
	offset, found, err := s.ConsumerOffset(ctx, s.Addr(), group, q.q)
	if err != nil || found {
		return offset, err
	}
	last, held := q.m.c.held.last(group, q.q)
	if held {
		// Not past messages that were stored since: the topic may have been deleted and made anew, or this broker may lack some.
		if offset, err = s.SearchOffset(ctx, s.Addr(), q.q, last.at); err != nil {
			return 0, err
		}
		offset = min(offset, last.offset)
		q.m.c.log().Warn("the broker has forgotten a queue's offset: going on where it was", "group", group, "queue", q.q.String(), "offset", offset)
	} else if offset, err = s.MinOffset(ctx, s.Addr(), q.q); err != nil {
		return 0, err
	}
	return offset, s.SetConsumerOffset(ctx, s.Addr(), group, q.q, offset)
}
