package grayrocketmq

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// Count is how many messages one group's member gave to the handler or skipped, for one reason. Retried deliveries count
// each time.
type Count = graylib.MessageCount

type countKey struct {
	group, tag, reason string
	handled            bool
}

// counter is safe for concurrent use. Tags come over the wire, so there is a bound to how many are told apart.
type counter struct {
	mu sync.Mutex
	n  map[countKey]*atomic.Int64
}

// maxCounts bounds the distinct counts of one consumer; beyond it tags are counted together as "other".
const maxCounts = 512

// of returns the count of what becomes of messages with a tag, the same each time.
func (c *counter) of(group, wireTag string, v verdict) *atomic.Int64 {
	tag := "malformed"
	if t, err := graylib.ParseTag(wireTag); err == nil {
		tag = t.String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[countKey]*atomic.Int64)
	}
	k := countKey{group: group, tag: tag, reason: v.reason, handled: v.handle}
	if c.n[k] == nil && len(c.n) >= maxCounts {
		k.tag = "other"
	}
	n := c.n[k]
	if n == nil {
		n = new(atomic.Int64)
		c.n[k] = n
	}
	return n
}

func (c *counter) list() []Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Count, 0, len(c.n))
	for k, n := range c.n {
		list = append(list, Count{Group: k.group, Tag: k.tag, Handled: k.handled, Reason: k.reason, N: n.Load()})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// counted is a count with what it is of. Most messages are like the one before: they need no look at the counter.
type counted struct {
	tag string // as it stands on the wire
	v   verdict
	n   *atomic.Int64
}

// count counts a message.
func (m *worker) count(msg *primitive.MessageExt, v verdict) {
	tag := msg.GetProperty(graylib.MessageKeys.Tag)
	last := m.counted.Load()
	if last == nil || last.tag != tag || last.v != v {
		last = &counted{tag, v, m.c.counts.of(m.place.group, tag, v)}
		m.counted.Store(last)
	}
	last.n.Add(1)
}
