package lanestate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// Prefixes of the topics that brokers keep for a group (org.apache.rocketmq.common.MixAll).
const (
	RetryPrefix = "%RETRY%"
	DeadPrefix  = "%DLQ%"
)

// ErrNoBroker is wrapped where the name server knows no broker that takes messages.
var ErrNoBroker = errors.New("no broker is registered at the name server")

// ErrNoClock is wrapped where a broker doesn't tell its time.
var ErrNoClock = remoting.ErrNoClock

// Reader reads from all brokers of a name server. It is safe for concurrent use.
type Reader struct {
	api   *remoting.Client
	limit int64 // how many waiting messages of one group are counted; beyond it the count says that there are more
}

// defaultLimit bounds the messages that are looked at to count them: they come with their bodies.
const defaultLimit = 1000

// Open makes a reader. It connects when it is first used.
func Open(c remoting.Config) (*Reader, error) {
	api, err := remoting.New(c)
	if err != nil {
		return nil, err
	}
	return &Reader{api: api, limit: defaultLimit}, nil
}

// Close ends its connections.
func (r *Reader) Close() error { return r.api.Close() }

// API is the connection itself, for requests that have no place here.
func (r *Reader) API() *remoting.Client { return r.api }

// Brokers returns the brokers: name -> the master's address. The error wraps [ErrNoBroker] where there are none.
func (r *Reader) Brokers(ctx context.Context) (map[string]string, error) {
	brokers, err := r.api.Brokers(ctx)
	if err == nil && len(brokers) == 0 {
		err = ErrNoBroker
	}
	return brokers, err
}

// Masterless returns the names of the brokers that Brokers leaves out: only replicas are registered of them, and what they hold
// can't be known.
func (r *Reader) Masterless(ctx context.Context) ([]string, error) { return r.api.Masterless(ctx) }

// Groups are the consumer groups that the brokers know, by name.
type Groups map[string]bool

// Groups lists the groups of all brokers.
func (r *Reader) Groups(ctx context.Context, brokers map[string]string) (Groups, error) {
	all := make(Groups)
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		list, err := r.api.Groups(ctx, brokers[name])
		if err != nil {
			return nil, fmt.Errorf("broker %q: %w", name, err)
		}
		for _, g := range list {
			all[g] = true
		}
	}
	return all, nil
}

// Bases returns the application's groups that graylib consumes for: those with a <group>__tagged.
func (g Groups) Bases() []string {
	var bases []string
	for name := range g {
		if base, ok := strings.CutSuffix(name, graylib.GroupTaggedSuffix); ok && base != "" {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases
}

// Of names one consumer group to read.
type Of struct {
	Base string // <group>, as the application names it
	Kind graylib.GroupKind
	Lane graylib.Tag // with GroupLane
}

// Name is the group's name.
func (o Of) Name() string {
	switch o.Kind {
	case graylib.GroupLane:
		return graylib.LaneGroup(o.Base, o.Lane)
	case graylib.GroupTagged:
		return graylib.TaggedGroup(o.Base)
	default:
		return o.Base
	}
}

// filter lets the group's messages through, as its members' filter does (design/messages.md, "Groups").
func (o Of) filter(topic string) remoting.Subscription {
	switch o.Kind {
	case graylib.GroupLane:
		return filterOf(topic, o.Lane)
	case graylib.GroupTagged:
		return remoting.Subscription{Topic: topic, Expression: graylib.MessageKeys.Tag + " IS NOT NULL", Type: "SQL92"}
	default:
		return remoting.Subscription{Topic: topic, Expression: graylib.MessageKeys.Tag + " IS NULL", Type: "SQL92"}
	}
}

// Group is what the brokers hold for one consumer group.
type Group struct {
	Name        string   `json:"name"`
	Members     []Member `json:"members"`
	Queues      []Queue  `json:"queues"`                // of its topics
	RetryQueues []Queue  `json:"retryQueues,omitempty"` // of its retry topic
	Waiting     Count    `json:"waiting"`
	Retries     Count    `json:"retries"`     // to be delivered again: stored in the group's retry topic, or delayed until they are
	DeadLetters Count    `json:"deadLetters"` // that the broker still keeps
	Problems    []string `json:"problems,omitempty"`
	err         error    // the first failure
}

// Err is why something of the group is unknown, nil where all is known.
func (g *Group) Err() error { return g.err }

// Member is one live member, as the broker lists it.
type Member struct {
	ID      string      `json:"id"`
	Service string      `json:"service,omitempty"` // empty: the id isn't graylib's
	Tag     graylib.Tag `json:"tag"`
	Role    string      `json:"role,omitempty"` // own or standin
}

// Queue is one queue of a group's topic.
type Queue struct {
	Topic     string `json:"topic"`
	Broker    string `json:"broker"`
	ID        int    `json:"id"`
	Committed int64  `json:"committed"` // -1 = nothing is stored
	End       int64  `json:"end"`       // the offset that its next message will have
	Behind    int64  `json:"behind"`    // End - Committed: messages that the group's filter leaves out count until it has passed them
}

func (q Queue) remoting() remoting.Queue {
	return remoting.Queue{Topic: q.Topic, Broker: q.Broker, ID: q.ID}
}

// Read reads groups, all at once, in this order. What can't be read of a group is said in its Problems. The error is the
// context's alone.
//
// It reads in the order in which a message moves: topics, delayed retries, retry topics and, where nothing was found so far, the
// delayed retries once more. Only a message that fails again while this runs, and whose delay is over before it ends, is seen
// nowhere: who acts upon finding nothing asks twice.
func (r *Reader) Read(ctx context.Context, brokers map[string]string, which ...Of) ([]Group, error) {
	groups := make([]Group, len(which))
	for i, of := range which {
		groups[i] = Group{Name: of.Name(), Members: []Member{}, Queues: []Queue{}}
	}
	free := make(chan struct{}, 16)
	side := func(read func(g *Group, of Of, broker, addr string) error) {
		var all sync.WaitGroup
		for i, of := range which {
			all.Go(func() {
				free <- struct{}{}
				defer func() { <-free }()
				for _, broker := range slices.Sorted(maps.Keys(brokers)) {
					if err := read(&groups[i], of, broker, brokers[broker]); err != nil {
						groups[i].problem(fmt.Errorf("broker %q: %w", broker, err))
					}
				}
			})
		}
		all.Wait()
	}
	delayed := func() {
		held, err := r.delayed(ctx, brokers)
		for i := range groups {
			g := &groups[i]
			if err != nil {
				g.problem(fmt.Errorf("delayed retries: %w", err))
			}
			g.Retries = g.Retries.Plus(held[RetryPrefix+g.Name])
		}
	}
	side(func(g *Group, of Of, broker, addr string) error { return r.readTopics(ctx, g, of, broker, addr) })
	delayed()
	side(func(g *Group, _ Of, broker, addr string) error { return r.readRetries(ctx, g, broker, addr) })
	if !slices.ContainsFunc(groups, func(g Group) bool { return g.err != nil || g.Waiting.N+g.Retries.N > 0 }) {
		delayed()
	}
	return groups, ctx.Err()
}

func (g *Group) problem(err error) {
	if g.err == nil {
		g.err = err
	}
	g.Problems = append(g.Problems, err.Error())
}

// readTopics adds the members that one broker lists, and what it holds in the group's topics.
func (r *Reader) readTopics(ctx context.Context, g *Group, of Of, broker, addr string) error {
	ids, err := r.api.Members(ctx, addr, g.Name)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(g.Members, func(m Member) bool { return m.ID == id }) {
			g.Members = append(g.Members, member(id))
		}
	}
	topics, err := r.api.TopicsOf(ctx, addr, g.Name)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		if strings.HasPrefix(topic, RetryPrefix) || strings.HasPrefix(topic, DeadPrefix) {
			continue
		}
		queues, err := r.queues(ctx, broker, addr, g.Name, topic)
		if err != nil {
			return err
		}
		g.Queues = append(g.Queues, queues...)
		for _, q := range queues {
			g.Waiting = g.Waiting.Plus(r.count(ctx, addr, g.Name, q, span{from: max(q.Committed, 0), to: q.End}, of.filter(topic), r.limit-g.Waiting.N))
		}
	}
	return nil
}

// readRetries adds what one broker holds in the group's topics of retries and dead letters.
func (r *Reader) readRetries(ctx context.Context, g *Group, broker, addr string) error {
	retries, err := r.queues(ctx, broker, addr, g.Name, RetryPrefix+g.Name)
	if err != nil {
		return err
	}
	g.RetryQueues = append(g.RetryQueues, retries...)
	for _, q := range retries {
		from := q.Committed
		if from < 0 { // nothing was consumed of it yet
			if from, err = r.api.MinOffset(ctx, addr, q.remoting()); err != nil {
				return err
			}
		}
		g.Retries = g.Retries.Plus(r.stored(ctx, addr, g.Name, q, from))
	}
	dead, err := r.queues(ctx, broker, addr, g.Name, DeadPrefix+g.Name)
	if err != nil {
		return err
	}
	for _, q := range dead {
		from, err := r.api.MinOffset(ctx, addr, q.remoting())
		if err != nil {
			return err
		}
		g.DeadLetters = g.DeadLetters.Plus(r.stored(ctx, addr, g.Name, q, from))
	}
	return nil
}

func member(id string) Member {
	m, err := ownership.ParseMember(id)
	if err != nil {
		return Member{ID: id}
	}
	return Member{ID: id, Service: m.Service, Tag: m.Tag, Role: string(m.Role)}
}

// queues returns a topic's queues on one broker with a group's offsets; none where the topic isn't there.
func (r *Reader) queues(ctx context.Context, broker, addr, group, topic string) ([]Queue, error) {
	route, err := r.api.Route(ctx, topic)
	if errors.Is(err, remoting.ErrNoTopic) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Queue
	for _, rq := range route.Queues {
		if rq.Broker != broker {
			continue
		}
		q := Queue{Topic: topic, Broker: broker, ID: rq.ID, Committed: -1}
		if q.End, err = r.api.MaxOffset(ctx, addr, rq); err != nil {
			return nil, err
		}
		offset, stored, err := r.api.ConsumerOffset(ctx, addr, group, rq)
		if err != nil {
			return nil, err
		}
		if q.Behind = q.End; stored {
			q.Committed, q.Behind = offset, max(q.End-offset, 0)
		}
		list = append(list, q)
	}
	return list, nil
}

func filterOf(topic string, tag graylib.Tag) remoting.Subscription {
	if tag == graylib.Untagged {
		return remoting.Subscription{Topic: topic, Expression: "*", Type: "TAG"}
	}
	return remoting.Subscription{Topic: topic, Expression: graylib.MessageKeys.Tag + " = '" + string(tag) + "'", Type: "SQL92"}
}
