package grayrocketmq

import (
	"cmp"
	"slices"
	"sync"

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
	n  map[countKey]int64
}

// maxCounts bounds the distinct counts of one consumer; beyond it tags are counted together as "other".
const maxCounts = 512

func (c *counter) add(group, wireTag string, v verdict) {
	tag := "malformed"
	if t, err := graylib.ParseTag(wireTag); err == nil {
		tag = t.String()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = make(map[countKey]int64)
	}
	k := countKey{group: group, tag: tag, reason: v.reason, handled: v.handle}
	if _, ok := c.n[k]; !ok && len(c.n) >= maxCounts {
		k.tag = "other"
	}
	c.n[k]++
}

func (c *counter) list() []Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Count, 0, len(c.n))
	for k, n := range c.n {
		list = append(list, Count{Group: k.group, Tag: k.tag, Handled: k.handled, Reason: k.reason, N: n})
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}
