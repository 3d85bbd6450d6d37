package idempotency

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"
)

// DefaultMarks is how many marks a [Memory] keeps where nothing is said: some 20 MB of them.
const DefaultMarks = 100_000

// Memory is a store of one process. It keeps nothing beyond the process's end, so a crash's repeats are not suppressed; it
// does suppress a message that was stored twice, or that a queue's former owner in the same process had handled.
type Memory struct {
	most int

	mu     sync.Mutex
	claims map[string]claimed
	sweep  int // claims are looked through for lapsed ones when there are more
	marks  map[string]*mark
	due    marksDue
}

var _ Store = (*Memory)(nil)

type claimed struct {
	owner string
	until time.Time
}

type mark struct {
	key   string
	until time.Time
	at    int // its place in the heap
}

// NewMemory makes a store that keeps so many marks; beyond them the one that would run out first goes. 0 means
// [DefaultMarks].
func NewMemory(marks int) (*Memory, error) {
	if marks < 0 {
		return nil, fmt.Errorf("%w: marks %d: want 1 or more, or 0 for %d", ErrInvalidOption, marks, DefaultMarks)
	}
	if marks == 0 {
		marks = DefaultMarks
	}
	return &Memory{most: marks, claims: make(map[string]claimed), sweep: 64, marks: make(map[string]*mark)}, nil
}

// done tells whether a key is marked; marks that ran out go.
func (m *Memory) done(key string, now time.Time) bool {
	for len(m.due) > 0 && !m.due[0].until.After(now) {
		m.drop()
	}
	return m.marks[key] != nil
}

// drop takes off the mark that runs out first.
func (m *Memory) drop() { delete(m.marks, heap.Pop(&m.due).(*mark).key) }

// owned tells whether a key is this owner's, or anybody's where owner is "".
func (m *Memory) owned(key, owner string, now time.Time) bool {
	c, ok := m.claims[key]
	return ok && c.until.After(now) && (owner == "" || c.owner == owner)
}

// Claim implements [Store].
func (m *Memory) Claim(ctx context.Context, key, owner string, lease time.Duration) (State, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	switch {
	case m.done(key, now):
		return Done, nil
	case m.owned(key, "", now) && !m.owned(key, owner, now):
		return Held, nil
	}
	if len(m.claims) >= m.sweep {
		for k, c := range m.claims {
			if !c.until.After(now) {
				delete(m.claims, k)
			}
		}
		m.sweep = max(64, 2*len(m.claims))
	}
	m.claims[key] = claimed{owner, now.Add(lease)}
	return Claimed, nil
}

// Renew implements [Store].
func (m *Memory) Renew(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if !m.owned(key, owner, now) {
		return false, nil
	}
	m.claims[key] = claimed{owner, now.Add(lease)}
	return true, nil
}

// Done implements [Store].
func (m *Memory) Done(ctx context.Context, key string, keep time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.claims, key)
	until := time.Now().Add(keep)
	if old := m.marks[key]; old != nil {
		old.until = until
		heap.Fix(&m.due, old.at)
		return nil
	}
	if len(m.due) >= m.most {
		m.drop()
	}
	m.marks[key] = &mark{key: key, until: until}
	heap.Push(&m.due, m.marks[key])
	return nil
}

// Release implements [Store].
func (m *Memory) Release(ctx context.Context, key, owner string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.owned(key, owner, time.Now()) {
		delete(m.claims, key)
	}
	return nil
}

// marksDue is a heap: the mark that runs out first is at the top.
type marksDue []*mark

func (h marksDue) Len() int           { return len(h) }
func (h marksDue) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h marksDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *marksDue) Push(x any) {
	x.(*mark).at = len(*h)
	*h = append(*h, x.(*mark))
}
func (h *marksDue) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return m
}
