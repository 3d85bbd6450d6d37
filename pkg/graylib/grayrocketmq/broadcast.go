package grayrocketmq

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
)

// broadcasting tells whether each instance gets each message (consumer.BroadCasting). Each instance then has one client of
// the client's own kind, which keeps its offsets in a file of its own: nothing of a queue is owned, and nothing is handed over.
// A lane's instances are in <group>_<tag>, the baseline's in <group>, and each decides by itself what of it is its own.
func (c *Consumer) broadcasting() bool { return c.set.model == consumer.BroadCasting }

// broadcastInstance is the instance name of a broadcasting client: its file of offsets is named by it, and so it is the same
// after a restart. With the application's own name, or the client's default, several instances on one host are told apart as
// far as they are without graylib.
func (c *Consumer) broadcastInstance(group string) string {
	name := c.set.instance
	if name == "" {
		name = "DEFAULT"
	}
	id := c.rt.Identity()
	return strings.Join([]string{name, id.Service, id.Tag.String(), group}, "#")
}

// Why a broadcast message was handled or skipped.
const (
	reasonNoInstance   = "broadcast: the lane has no live instance"
	reasonLaneInstance = "broadcast: the lane's instances have it"
)

// decideBroadcast says what becomes of a message in a broadcasting member. m.dead says that no instance of the tag's lane is
// live, or was when the message was stored. Nothing waits: what is in doubt is the baseline's at once, and may then be a lane's too.
func decideBroadcast(k kind, own graylib.Tag, m seen, rules graylib.Rules, c graylib.Consumption) verdict {
	if !m.wanted {
		return verdict{reason: reasonExpression}
	}
	if k == kindLane {
		v := decide(k, own, m, rules, c)
		v.wait = false
		return v
	}
	if m.tag == "" {
		return verdict{handle: true, reason: reasonUntagged}
	}
	m.read = m.stored.Add(strayWait) // no stray waits
	v := decideTagged(m, rules, c)
	switch {
	case v.handle, v.reason == reasonMode+string(graylib.ModeIgnore):
		return v
	case m.dead:
		return verdict{handle: true, reason: reasonNoInstance}
	}
	return verdict{reason: reasonLaneInstance}
}

// lanesSeen knows which lanes of the own service have instances in the registry, and since when. It is safe for concurrent use.
type lanesSeen struct {
	tables  []*graylib.Table
	unwatch []func()

	mu    sync.Mutex
	since map[graylib.Tag]time.Time // when a lane was seen to come; without an entry it was there before
	began time.Time
	heard map[graylib.Tag]heardLane // listed lanes, by the brokers' answers; where the registry doesn't tell
}

// heardLane is what the brokers said last of a lane.
type heardLane struct {
	live  bool
	since time.Time // when an answer said first that it is; if it was the first answer: when the watch began
}

// heardMargin is how far a broker's clock may be ahead of this machine's without a message being left out.
const heardMargin = 2 * time.Second

// seenWithin bounds the wait for the registry's first answer.
const seenWithin = 3 * time.Second

// watchLanes follows the own service in the registry: its HTTP and its RPC endpoint, whichever it has.
func (c *Consumer) watchLanes(ctx context.Context) *lanesSeen {
	s := &lanesSeen{since: make(map[graylib.Tag]time.Time), began: time.Now(), heard: make(map[graylib.Tag]heardLane)}
	if c.rt.Registry() == nil {
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, seenWithin)
	defer cancel()
	service := c.rt.Identity().Service
	for _, endpoint := range []string{service, service + graylib.RPCServiceSuffix} {
		t, err := c.rt.Table(ctx, endpoint)
		if err != nil {
			c.log().Warn("the registry doesn't say yet which lanes have instances", "endpoint", endpoint, "error", err)
		}
		s.tables = append(s.tables, t)
		s.unwatch = append(s.unwatch, t.Watch(s.changed))
	}
	return s
}

func (s *lanesSeen) changed(old, now *graylib.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tag := range now.Tags() {
		if old.Lane(tag) == nil {
			s.since[tag] = time.Now()
		}
	}
}

func (s *lanesSeen) close() {
	for _, f := range s.unwatch {
		f()
	}
}

// live tells whether a lane has an instance; known is false where the service isn't in the registry at all.
func (s *lanesSeen) live(tag graylib.Tag) (live, known bool) {
	for _, t := range s.tables {
		snapshot := t.Load()
		if snapshot.Lane(tag) != nil {
			return true, true
		}
		known = known || len(snapshot.Instances()) > 0
	}
	return false, known
}

// before tells whether the lane was seen to come only after a message was stored: its instances begin at the end of the
// queues, and may not have it.
func (s *lanesSeen) before(tag graylib.Tag, stored time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return stored.Before(s.since[tag])
}

// hear notes what the brokers say of a lane, and tells whether the lane came only after a message was stored, as far as that
// tells.
func (s *lanesSeen) hear(tag graylib.Tag, live bool, stored time.Time) (before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, known := s.heard[tag]
	if live && !h.live {
		if h.since = s.began; known {
			h.since = time.Now()
		}
	}
	h.live = live
	s.heard[tag] = h
	return stored.Before(h.since.Add(heardMargin))
}

// broadcastDead tells whether a listed lane's instances may not have a message: none is live, or they came after it was stored.
func (c *Consumer) broadcastDead(tag graylib.Tag, stored time.Time) bool {
	live, known := c.lanes.live(tag)
	if known {
		return !live || c.lanes.before(tag, stored)
	}
	live = c.live.consumer(laneTopic{tag: tag})
	return c.lanes.hear(tag, live, stored) || !live
}

// broadcastLive tells whether a lane's instances have the messages of now: by the registry or, where the service isn't in it,
// by the brokers' lists of the lane's group.
func (c *Consumer) broadcastLive(tag graylib.Tag) bool {
	if live, known := c.lanes.live(tag); known {
		return live
	}
	return c.live.consumer(laneTopic{tag: tag})
}
