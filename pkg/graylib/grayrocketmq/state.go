package grayrocketmq

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// State returns what the consumer knows of itself: its groups, which queues it holds there, how far they are, and what
// happened so far. It asks no broker. From Start to Shutdown it is part of GET /graychain/status too.
func (c *Consumer) State() graylib.ConsumerState {
	c.mu.Lock()
	s := graylib.ConsumerState{Group: c.baseGroup(), Namespace: c.set.namespace, Suspended: c.suspended, Subscriptions: make(map[string]string, len(c.subs))}
	for _, sub := range c.subs {
		s.Subscriptions[sub.topic] = sub.expression()
	}
	s.Unjoined = maps.Clone(c.unjoined)
	members := slices.Clone(c.joined)
	c.mu.Unlock()
	if s.Model = graylib.ModelClustering; c.broadcasting() {
		s.Model = graylib.ModelBroadcasting
	}
	for _, m := range members {
		g := m.state()
		slices.SortFunc(g.Queues, func(a, b graylib.QueueState) int {
			return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Queue, b.Queue))
		})
		for i := range g.Queues {
			q := &g.Queues[i]
			q.Retry = strings.HasPrefix(q.Topic, retryPrefix)
			if q.Retry {
				g.RetryLag += q.Lag
			} else {
				g.Lag += q.Lag
			}
		}
		s.Groups = append(s.Groups, g)
	}
	s.Counts, s.Tallies = c.counts.list(), c.tallies.list()
	return s
}

// groupState is what a member in any group says of it.
func (m *worker) groupState() graylib.GroupState {
	g := graylib.GroupState{Group: m.place.group, Role: graylib.RoleOwn, Queues: []graylib.QueueState{}}
	switch m.place.kind {
	case kindBase, kindAll:
		g.Kind = graylib.GroupBase
	case kindTagged:
		g.Kind = graylib.GroupTagged
	case kindLane:
		g.Kind, g.Lane = graylib.GroupLane, m.place.lane.Tag
		if m.c.rt.Identity().Tag != g.Lane {
			g.Role = graylib.RoleStandIn
		}
	}
	return g
}

func (m *laneMember) state() graylib.GroupState {
	g := m.groupState()
	g.Member = m.id
	if m.place.kind == kindLane {
		g.Modes = make(map[string]graylib.Mode, len(m.subs))
		for _, s := range m.subs {
			g.Modes[s.topic] = m.mode(s.topic)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	g.Running, g.Away = m.running, m.away()
	for _, q := range m.queues {
		if state := q.machine.State(); state != ownership.Idle {
			g.Queues = append(g.Queues, q.state(state))
		}
	}
	return g
}

// state is what is known of a queue; the member's lock is held.
func (q *laneQueue) state(state ownership.State) graylib.QueueState {
	s := graylib.QueueState{
		Topic: q.q.Topic, Queue: queueName(&primitive.MessageQueue{BrokerName: q.q.Broker, QueueId: q.q.ID}), State: state.String(), Committed: -1, Max: -1,
		Waiting: cmp.Or(q.waiting, q.refusal),
	}
	span := q.machine.Span()
	if span == nil {
		return s
	}
	s.Committed, s.Span = span.Committed(), span.Len()
	if q.max > 0 { // some pull was answered
		s.Max = q.max
		s.Lag = max(s.Max-s.Committed, 0)
	}
	return s
}

// groupTally counts what happened in one group. Its fields may be added to by many goroutines.
type groupTally struct {
	taken, given, forced, lost, slow, pulledBytes, handledBytes atomic.Int64
}

// tallies are those of one consumer, by group. It is safe for concurrent use.
type tallies struct {
	mu sync.Mutex
	by map[string]*groupTally
}

// of returns the tally of a group, the same each time.
func (t *tallies) of(group string) *groupTally {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = make(map[string]*groupTally)
	}
	g := t.by[group]
	if g == nil {
		g = &groupTally{}
		t.by[group] = g
	}
	return g
}

func (t *tallies) list() []graylib.GroupTally {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]graylib.GroupTally, 0, len(t.by))
	for group, g := range t.by {
		list = append(list, graylib.GroupTally{
			Group: group, Taken: g.taken.Load(), Given: g.given.Load(), Forced: g.forced.Load(), Lost: g.lost.Load(), Slow: g.slow.Load(),
			PulledBytes: g.pulledBytes.Load(), HandledBytes: g.handledBytes.Load(),
		})
	}
	slices.SortFunc(list, func(a, b graylib.GroupTally) int { return cmp.Compare(a.Group, b.Group) })
	return list
}
