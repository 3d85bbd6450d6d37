package grayrocketmq

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// liveFor is how long an answer about a lane's consumers is used; while it is asked for anew the old one serves for as long again.
// It serves the reason in a hop; it decides who handles a message only where a consumer broadcasts and its service isn't in the
// registry.
const (
	liveFor    = time.Second
	liveWithin = 500 * time.Millisecond
	liveMost   = 256 // lanes and topics: tags come over the wire
)

// laneTopic is a lane as a topic's messages are concerned: its version may not want the topic.
type laneTopic struct {
	tag   graylib.Tag
	topic string
}

// liveness knows which lanes have a live consumer, by the broker's list of their groups' members.
type liveness struct {
	ask func(ctx context.Context, lane laneTopic) (bool, error)
	now func() time.Time

	mu    sync.Mutex // never held while the brokers are asked
	known map[laneTopic]*liveAnswer
}

type liveAnswer struct {
	live   bool
	at     time.Time     // when it came; zero = none did yet
	asking chan struct{} // closed when the answer that is asked for has come; nil = none is
}

// consumer tells whether the lane has a live consumer. Who asks about a lane of which nothing recent is known waits for the answer,
// liveWithin at most; nobody else does. An answer that can't be had counts as the one before, or as no.
func (l *liveness) consumer(lane laneTopic) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.known[lane]
	if a == nil {
		if l.known == nil || len(l.known) >= liveMost {
			l.known = make(map[laneTopic]*liveAnswer)
		}
		a = &liveAnswer{}
		l.known[lane] = a
	}
	age := l.now().Sub(a.at)
	if age < liveFor {
		return a.live
	}
	if a.asking == nil {
		a.asking = make(chan struct{})
		go l.refresh(lane, a)
	}
	if age >= 2*liveFor {
		asking := a.asking
		l.mu.Unlock()
		<-asking
		l.mu.Lock()
	}
	return a.live
}

func (l *liveness) refresh(lane laneTopic, a *liveAnswer) {
	ctx, cancel := context.WithTimeout(context.Background(), liveWithin)
	defer cancel()
	live, err := l.ask(ctx, lane) //graycheck:ignore the answer is kept for all messages
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		a.live = live
	}
	a.at = l.now()
	close(a.asking)
	a.asking = nil
}

// askLive asks the brokers whether a lane's group has a live member of the lane's own that wants the topic; stand-ins are always
// there. The clients' ids don't say what those want that broadcast.
func (c *Consumer) askLive(ctx context.Context, lane laneTopic) (bool, error) {
	for _, addr := range c.brokers.list() {
		members, err := c.api.Members(ctx, addr, graylib.LaneGroup(c.baseGroup(), lane.tag))
		if err != nil {
			c.locate(ctx) // another machine may be the master by now
			return false, err
		}
		for _, id := range members {
			if m, err := ownership.ParseMember(id); err == nil && m.Role == ownership.Own && m.Wants(lane.topic) || c.broadcasting() {
				return true, nil
			}
		}
	}
	return false, nil
}

// locate asks the name server where the brokers are that have the consumer's topics. Where it doesn't answer the old addresses stay.
func (c *Consumer) locate(ctx context.Context) {
	c.mu.Lock()
	subs := c.subs
	c.mu.Unlock()
	routes := make(map[string]remoting.Route, len(subs))
	for _, s := range subs {
		r, err := c.api.Route(ctx, s.topic)
		if err != nil {
			return
		}
		routes[s.topic] = r
	}
	c.brokers.set(brokersOf(routes))
}

// brokerAddrs are the addresses of brokers' masters, by the brokers' names. It is safe for concurrent use.
type brokerAddrs struct {
	mu sync.Mutex
	at map[string]string
}

func (b *brokerAddrs) set(at map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = maps.Clone(at)
}

func (b *brokerAddrs) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Values(b.at))
}
