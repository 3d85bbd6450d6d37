package grayrocketmq

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// sim is a name server that says what a test wants it to say of where brokers are: masters that change, are missing, or come back.
type sim struct {
	*remotingtest.Server
	mu     sync.Mutex
	topics map[string]map[string]simTopic // by topic and broker
	addrs  map[string]map[int]string      // the brokers: their ids' addresses; 0 is the master
}

type simTopic struct{ queues, perm int }

func newSim(t *testing.T) *sim {
	s := &sim{Server: remotingtest.Start(t), topics: make(map[string]map[string]simTopic), addrs: make(map[string]map[int]string)}
	s.Server.Handle(codeRoute, func(r remotingtest.Request) remotingtest.Response {
		s.mu.Lock()
		defer s.mu.Unlock()
		type broker struct {
			Name  string         `json:"brokerName"`
			Addrs map[int]string `json:"brokerAddrs"`
		}
		type queues struct {
			Name  string `json:"brokerName"`
			Perm  int    `json:"perm"`
			Read  int    `json:"readQueueNums"`
			Write int    `json:"writeQueueNums"`
		}
		var brokers []broker
		var qs []queues
		for _, name := range slices.Sorted(maps.Keys(s.topics[r.Ext["topic"]])) {
			t := s.topics[r.Ext["topic"]][name]
			brokers = append(brokers, broker{name, s.addrs[name]})
			qs = append(qs, queues{name, t.perm, t.queues, t.queues})
		}
		if len(brokers) == 0 {
			return remotingtest.Response{Code: 17}
		}
		body, err := json.Marshal(map[string]any{"brokerDatas": brokers, "queueDatas": qs})
		if err != nil {
			return remotingtest.Response{Code: 1}
		}
		return remotingtest.Response{Body: body}
	})
	return s
}

// at says where a broker is: its ids' addresses. One without the id 0 has no master.
func (s *sim) at(broker string, addrs map[int]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs[broker] = addrs
}

// has says how many queues of a topic a broker has; 0 = the topic isn't there.
func (s *sim) has(broker, topic string, queues int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.topics[topic] == nil {
		s.topics[topic] = make(map[string]simTopic)
	}
	if s.topics[topic][broker] = (simTopic{queues, 6}); queues == 0 {
		delete(s.topics[topic], broker)
	}
}

// simBroker is a broker whose queues stay empty: it keeps members, locks and offsets, and notes what it is asked.
type simBroker struct {
	*remotingtest.Server
	mu      sync.Mutex
	members map[string][]string          // by group
	locks   map[string]map[string]string // by group and queue
	offsets map[string]map[string]int64  // by group and queue
	end     map[string]int64             // by queue: the offset that its next message will have
	refuses int                          // the code that pulls are answered with; 0 = they find nothing
	pulled  map[string]map[string]int    // by group and queue: pulls that were not refused
	events  []string                     // offsets set, and pulls, in order
	still   chan struct{}                // nothing but pulls is answered before it is closed; nil = it answers
}

func simQueue(topic string, id any) string { return fmt.Sprintf("%s/%v", topic, id) }

func newSimBroker(t *testing.T) *simBroker {
	b := &simBroker{
		Server: remotingtest.Start(t), members: make(map[string][]string), locks: make(map[string]map[string]string),
		offsets: make(map[string]map[string]int64), pulled: make(map[string]map[string]int), end: make(map[string]int64),
	}
	handle := func(code int, h func(remotingtest.Request) remotingtest.Response) {
		b.Server.Handle(code, func(r remotingtest.Request) remotingtest.Response {
			b.mu.Lock()
			defer b.mu.Unlock()
			response := h(r)
			if response.Late == nil {
				response.Late = b.still
			}
			return response
		})
	}
	ok := func(remotingtest.Request) remotingtest.Response { return remotingtest.Response{} }
	offset := func(n int64) remotingtest.Response {
		return remotingtest.Response{Ext: map[string]string{"offset": strconv.FormatInt(n, 10)}}
	}
	queueOf := func(r remotingtest.Request) string { return simQueue(r.Ext["topic"], r.Ext["queueId"]) }
	handle(codeCheck, ok)
	handle(codeGroup, func(r remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Body: fmt.Appendf(nil, `{"groupName":%q}`, r.Ext["group"])}
	})
	handle(codeHeartbeat, func(r remotingtest.Request) remotingtest.Response {
		var beat struct {
			ClientID        string
			ConsumerDataSet []struct{ GroupName string }
		}
		if err := json.Unmarshal(r.Body, &beat); err != nil {
			return remotingtest.Response{Code: 1, Remark: err.Error()}
		}
		for _, c := range beat.ConsumerDataSet {
			if !slices.Contains(b.members[c.GroupName], beat.ClientID) {
				b.members[c.GroupName] = append(b.members[c.GroupName], beat.ClientID)
			}
		}
		return remotingtest.Response{}
	})
	handle(codeLeave, func(r remotingtest.Request) remotingtest.Response {
		group := r.Ext["consumerGroup"]
		b.members[group] = slices.DeleteFunc(b.members[group], func(id string) bool { return id == r.Ext["clientID"] })
		return remotingtest.Response{}
	})
	handle(codeMembers, func(r remotingtest.Request) remotingtest.Response {
		body, err := json.Marshal(map[string]any{"consumerIdList": b.members[r.Ext["consumerGroup"]]})
		if err != nil {
			return remotingtest.Response{Code: 1}
		}
		return remotingtest.Response{Body: body}
	})
	type lock struct {
		ConsumerGroup, ClientID string
		MqSet                   []remoting.Queue
	}
	handle(codeLock, func(r remotingtest.Request) remotingtest.Response {
		var req lock
		if err := json.Unmarshal(r.Body, &req); err != nil {
			return remotingtest.Response{Code: 1, Remark: err.Error()}
		}
		if b.locks[req.ConsumerGroup] == nil {
			b.locks[req.ConsumerGroup] = make(map[string]string)
		}
		locked := []remoting.Queue{}
		for _, q := range req.MqSet {
			holder := b.locks[req.ConsumerGroup][simQueue(q.Topic, q.ID)]
			if holder == "" || holder == req.ClientID {
				b.locks[req.ConsumerGroup][simQueue(q.Topic, q.ID)] = req.ClientID
				locked = append(locked, q)
			}
		}
		body, err := json.Marshal(map[string]any{"lockOKMQSet": locked})
		if err != nil {
			return remotingtest.Response{Code: 1}
		}
		return remotingtest.Response{Body: body}
	})
	handle(codeUnlock, func(r remotingtest.Request) remotingtest.Response {
		var req lock
		if err := json.Unmarshal(r.Body, &req); err != nil {
			return remotingtest.Response{Code: 1, Remark: err.Error()}
		}
		for _, q := range req.MqSet {
			if b.locks[req.ConsumerGroup][simQueue(q.Topic, q.ID)] == req.ClientID {
				delete(b.locks[req.ConsumerGroup], simQueue(q.Topic, q.ID))
			}
		}
		return remotingtest.Response{}
	})
	handle(codeOffset, func(r remotingtest.Request) remotingtest.Response {
		n, found := b.offsets[r.Ext["consumerGroup"]][queueOf(r)]
		if !found {
			return remotingtest.Response{Code: 22}
		}
		return offset(n)
	})
	handle(codeSetOffset, func(r remotingtest.Request) remotingtest.Response {
		group := r.Ext["consumerGroup"]
		n, err := strconv.ParseInt(r.Ext["commitOffset"], 10, 64)
		if err != nil {
			return remotingtest.Response{Code: 1, Remark: err.Error()}
		}
		if b.offsets[group] == nil {
			b.offsets[group] = make(map[string]int64)
		}
		if _, stored := b.offsets[group][queueOf(r)]; !stored {
			b.events = append(b.events, fmt.Sprintf("%s begins on %s at %d", group, queueOf(r), n))
		}
		b.offsets[group][queueOf(r)] = n
		return remotingtest.Response{}
	})
	end := func(r remotingtest.Request) remotingtest.Response { return offset(b.end[queueOf(r)]) }
	handle(codeMaxOffset, end)
	handle(codeSearchOffset, end) // all there is was stored long ago
	handle(codeMinOffset, func(remotingtest.Request) remotingtest.Response { return offset(0) })
	handle(codePull, func(r remotingtest.Request) remotingtest.Response {
		group, q := r.Ext["consumerGroup"], queueOf(r)
		if b.refuses != 0 {
			return remotingtest.Response{Code: b.refuses, Remark: "not now"}
		}
		if b.pulled[group] == nil {
			b.pulled[group] = make(map[string]int)
		}
		if b.pulled[group][q]++; b.pulled[group][q] == 1 {
			b.events = append(b.events, fmt.Sprintf("%s pulls %s from %s", group, q, r.Ext["queueOffset"]))
		}
		held := make(chan struct{})
		time.AfterFunc(20*time.Millisecond, func() { close(held) })
		return remotingtest.Response{Code: 19, Late: held, Ext: map[string]string{
			"nextBeginOffset": r.Ext["queueOffset"], "minOffset": "0", "maxOffset": strconv.FormatInt(b.end[q], 10),
		}}
	})
	return b
}

// refuse has pulls refused with a code; 0 = no longer.
func (b *simBroker) refuse(code int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuses = code
}

// begun stores an offset of a group's on a topic's first queues, whose next messages will have the offset end.
func (b *simBroker) begun(group, topic string, queues int, offset, end int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.offsets[group] == nil {
		b.offsets[group] = make(map[string]int64)
	}
	for id := range queues {
		b.offsets[group][simQueue(topic, id)] = offset
		b.end[simQueue(topic, id)] = end
	}
}

// standStill has the broker answer nothing but pulls until the function that it returns is called.
func (b *simBroker) standStill() (goOn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	still := make(chan struct{})
	b.still = still
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.still = nil
		close(still)
	}
}

// asked returns the number of requests of a code so far.
func (b *simBroker) asked(code int) (n int) {
	for _, r := range b.Seen() {
		if r.Code == code {
			n++
		}
	}
	return n
}

// consumed tells whether a group's messages in a topic's queue are pulled.
func (b *simBroker) consumed(group, topic string, id int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pulled[group][simQueue(topic, id)] > 0
}

// history returns what happened, in order.
func (b *simBroker) history() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events)
}

// consumer is one of the topic T in group g, by the rules r. It consumes in order: in g as in the others without the client's own
// consumer, which races with itself, and asks a broker at random for the members.
func (s *sim) consumer(t *testing.T, tag graylib.Tag, r *graylibtest.Rules, opts ...ConsumerOption) *Consumer {
	t.Helper()
	c, err := OpenConsumer([]consumer.Option{consumer.WithGroupName("g"), consumer.WithNameServer([]string{s.Addr}), consumer.WithConsumerOrder(true)},
		append([]ConsumerOption{WithConsumerRuntime(unitRuntime(t, tag, r))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe("T", consumer.MessageSelector{}, newSink().handle); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Shutdown() })
	return c
}

// ownedBy returns the queues that the consumer owns in a group, as <topic> <broker>/<number>.
func ownedBy(c *Consumer, group string) []string {
	list := []string{}
	for _, g := range c.State().Groups {
		for _, q := range g.Queues {
			if g.Group == group && q.State == graylib.QueueOwned {
				list = append(list, q.Topic+" "+q.Queue)
			}
		}
	}
	return list
}

// readRoutes has the consumer's members read their routes now.
func readRoutes(c *Consumer) {
	eachMember(c, func(m *laneMember) { poke(m.reroute) })
}

// readLists has the consumer's members read their groups' lists now.
func readLists(c *Consumer) {
	eachMember(c, func(m *laneMember) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, b := range m.brokers {
			poke(b.members)
		}
	})
}

func eachMember(c *Consumer, f func(*laneMember)) {
	c.mu.Lock()
	list := slices.Clone(c.joined)
	c.mu.Unlock()
	for _, j := range list {
		if m, ok := j.(*laneMember); ok {
			f(m)
		}
	}
}
