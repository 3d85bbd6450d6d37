package graylib

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// Set is a group of instances to pick from: one lane of a service, or its baseline. It is immutable but for the cursor
// of its round robin, and safe for concurrent use.
type Set struct {
	instances []Instance
	alias     *aliasTable   // nil where all weights are equal
	cursor    atomic.Uint64 // of which the lower half counts
}

func newSet(instances []Instance) *Set {
	s := &Set{instances: instances, alias: newAliasTable(instances)}
	if n := len(instances); n > 0 {
		// Start anywhere, so that callers that start together don't all begin with the same instance.
		s.cursor.Store(rand.Uint64N(uint64(n)))
	}
	return s
}

// Len returns the number of instances.
func (s *Set) Len() int { return len(s.instances) }

// Instances returns the instances. The slice must not be changed.
func (s *Set) Instances() []Instance { return s.instances }

// Pick returns the next instance: in turn where all weights are equal, by chance in proportion to the weights otherwise.
// It takes constant time and allocates nothing. It returns false for an empty set.
func (s *Set) Pick() (*Instance, bool) {
	switch n := len(s.instances); {
	case n == 0:
		return nil, false
	case n == 1:
		return &s.instances[0], true
	case s.alias != nil:
		return &s.instances[s.alias.pick()], true
	default:
		return &s.instances[uint32(s.cursor.Add(1))%uint32(n)], true // 32 bits are divided in half the time
	}
}

// aliasTable draws from a discrete distribution in constant time (Walker's alias method, M. D. Vose,
// https://doi.org/10.1109/32.92917).
type aliasTable struct {
	prob  []float64
	other []int32
}

func newAliasTable(instances []Instance) *aliasTable {
	if len(instances) < 2 {
		return nil
	}
	equal, top := true, 0.0
	for _, in := range instances {
		equal = equal && in.Weight == instances[0].Weight
		top = max(top, in.Weight)
	}
	if equal {
		return nil
	}
	n := len(instances)
	sum := 0.0 // of weights relative to the greatest: sums of huge weights don't overflow
	for _, in := range instances {
		sum += in.Weight / top
	}
	t := &aliasTable{prob: make([]float64, n), other: make([]int32, n)}
	scaled := make([]float64, n)
	var small, large []int32
	for i, in := range instances {
		scaled[i] = in.Weight / top / sum * float64(n)
		if scaled[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		t.prob[s], t.other[s] = scaled[s], l
		scaled[l] -= 1 - scaled[s]
		if scaled[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, i := range append(small, large...) {
		t.prob[i], t.other[i] = 1, i
	}
	return t
}

func (t *aliasTable) pick() int {
	i := rand.IntN(len(t.prob))
	if rand.Float64() < t.prob[i] {
		return i
	}
	return int(t.other[i])
}

// Snapshot is what a registry knew of one service at one time, with every lane and the baseline precomputed. It is
// immutable and safe for concurrent use.
type Snapshot struct {
	all      []Instance
	baseline *Set
	lanes    map[Tag]*Set
}

// NewSnapshot builds a snapshot. Instances that can't be routed to (no address, no weight, malformed tag) are left out of
// it. The slice is copied.
func NewSnapshot(instances []Instance) *Snapshot {
	s := &Snapshot{lanes: make(map[Tag]*Set)}
	byTag := make(map[Tag][]Instance)
	for _, in := range instances {
		if routable(in) {
			s.all = append(s.all, in)
			byTag[in.Tag] = append(byTag[in.Tag], in)
		}
	}
	s.baseline = newSet(byTag[Untagged])
	delete(byTag, Untagged)
	for tag, list := range byTag {
		s.lanes[tag] = newSet(list)
	}
	return s
}

var emptySnapshot = NewSnapshot(nil)

// Instances returns all instances that can be routed to. The slice must not be changed.
func (s *Snapshot) Instances() []Instance { return s.all }

// Baseline returns the baseline's instances.
func (s *Snapshot) Baseline() *Set { return s.baseline }

// Lane returns the instances of a tag's lane, or nil where it has none.
func (s *Snapshot) Lane(tag Tag) *Set { return s.lanes[tag] }

// Tags returns the tags of the lanes that have instances, sorted.
func (s *Snapshot) Tags() []Tag {
	tags := make([]Tag, 0, len(s.lanes))
	for t := range s.lanes {
		tags = append(tags, t)
	}
	slices.Sort(tags)
	return tags
}

// Choose is [Choose] over this snapshot, by one map look-up and without allocation: what the registry knows, whatever was ejected
// and whichever zone is near. Calls are made by [Call.Next].
func (s *Snapshot) Choose(tag Tag) (*Set, Reason) {
	if tag == Untagged {
		return s.baseline, ReasonBaseline
	}
	if lane := s.lanes[tag]; lane != nil {
		return lane, ReasonLane
	}
	return s.baseline, ReasonNoInstance
}

// Table holds the newest snapshot of one service; a registry's push swaps it. Its methods are safe for concurrent use and
// readers never block.
//
// Beside the snapshot it knows which instances failed, see [Ejection]: the first [Runtime] that asks for a table decides
// how they are ejected, and which zone is its own. Before that nothing is ejected.
type Table struct {
	service string
	view    atomic.Pointer[view]
	health  healths

	mu       sync.Mutex
	watchers map[*func(old, now *Snapshot)]struct{}
}

// NewTable returns an empty table for the service, as named in the registry.
func NewTable(service string) *Table {
	t := &Table{service: service, watchers: make(map[*func(old, now *Snapshot)]struct{})}
	t.health.settings.After = -1 // until a runtime asks for it
	t.view.Store(newView(emptySnapshot, nil, ""))
	return t
}

// Service returns the service's name in the registry.
func (t *Table) Service() string { return t.service }

// Load returns the newest snapshot, never nil.
func (t *Table) Load() *Snapshot { return t.view.Load().snapshot }

// rebuild works out where calls go. It is called with health.mu held.
func (t *Table) rebuild(s *Snapshot) {
	var out map[string]*health
	if m := t.health.suspects.Load(); m != nil {
		out = *m
	}
	t.view.Store(newView(s, out, t.health.zone))
}

// swap puts a snapshot in place and returns the one before.
func (t *Table) swap(s *Snapshot) *Snapshot {
	t.health.mu.Lock()
	defer t.health.mu.Unlock()
	old := t.Load()
	t.forget(s)
	t.rebuild(s)
	return old
}

// Store puts a new snapshot in place (nil = no instances) and tells the watchers, one after the other, before it returns.
func (t *Table) Store(s *Snapshot) {
	if s == nil {
		s = emptySnapshot
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.swap(s)
	for fn := range t.watchers {
		(*fn)(old, s)
	}
}

// Watch calls fn after each change, until cancel is called; fn isn't running any more when cancel returns. fn must not
// block, nor call the table's Store or Watch, nor its own cancel.
func (t *Table) Watch(fn func(old, now *Snapshot)) (cancel func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := &fn
	t.watchers[key] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.watchers, key)
	}
}
