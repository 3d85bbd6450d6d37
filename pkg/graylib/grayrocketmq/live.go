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
	liveWithin = time.Second // of the brokers' first answer half of it
	liveMost   = 256         // lanes and topics: tags come over the wire

	locateEvery = 30 * time.Second // where no broker lists anybody of a lane
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
// there. The clients' ids don't say what those want that broadcast. A broker that doesn't answer may have another master by now, and one
// that lists nobody may be a slave by now: then the name server is asked where the masters are, and who is another is asked at once.
func (c *Consumer) askLive(ctx context.Context, lane laneTopic) (bool, error) {
	addrs := c.brokers.list()
	live, anybody, err := c.listed(ctx, addrs, lane)
	if err == nil && (anybody || !c.brokers.due(c.live.now())) {
		return live, nil
	}
	c.locate(ctx)
	if now := c.brokers.list(); !slices.Equal(now, addrs) {
		live, _, err = c.listed(ctx, now, lane)
	}
	return live, err
}

// listed asks brokers for live members of a lane's own that want a topic; anybody tells whether they list any member of its group. It
// takes half of the time that is left at most, so that who isn't answered can ask elsewhere.
func (c *Consumer) listed(ctx context.Context, addrs []string, lane laneTopic) (live, anybody bool, err error) {
	if by, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(by)/2)
		defer cancel()
	}
	for _, addr := range addrs {
		members, err := c.api.Members(ctx, addr, graylib.LaneGroup(c.baseGroup(), lane.tag))
		if err != nil {
			return false, anybody, err
		}
		for _, id := range members {
			anybody = true
			if m, err := ownership.ParseMember(id); err == nil && m.Role == ownership.Own && m.Wants(lane.topic) || c.broadcasting() {
				return true, true, nil
			}
		}
	}
	return false, anybody, nil
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
	mu    sync.Mutex
	at    map[string]string
	doubt time.Time // when due was last true
}

func (b *brokerAddrs) set(at map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = maps.Clone(at)
}

// due tells whether the addresses are to be looked up again, as nothing but their age speaks against them: once in locateEvery.
func (b *brokerAddrs) due(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.doubt) < locateEvery {
		return false
	}
	b.doubt = now
	return true
}

func (b *brokerAddrs) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Values(b.at))
}
