package grayrocketmq

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// twoBrokers have a topic's queue each, and no retry topic yet.
func twoBrokers(t *testing.T) (s *sim, retry string) {
	s, retry = newSim(t), retryTopic("g_gray")
	for _, name := range []string{"a", "b"} {
		b := newSimBroker(t)
		s.at(name, map[int]string{0: b.Addr})
		s.has(name, "T", 1)
		b.Server.Handle(codeTopic, func(r remotingtest.Request) remotingtest.Response {
			s.has(name, r.Ext["topic"], 1)
			return remotingtest.Response{}
		})
		b.Server.Handle(codeGroup, func(r remotingtest.Request) remotingtest.Response {
			return remotingtest.Response{Code: 26} // the group isn't there yet
		})
		b.Server.Handle(codeMake, func(remotingtest.Request) remotingtest.Response { return remotingtest.Response{} })
	}
	return s, retry
}

// TestRetryTopicOnEachBroker: where a group is new each of its brokers gets its retry topic at once, not the first alone.
func TestRetryTopicOnEachBroker(t *testing.T) {
	s, retry := twoBrokers(t)
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	start(t, c)
	want := []string{retry + " a/0", retry + " b/0", "T a/0", "T b/0"}
	eventually(t, "all queues are owned", func() bool { return slices.Equal(ownedBy(c, "g_gray"), want) })
}

// TestRetryTopicsAreAwaitedAtOnce: all are created before any is waited for, and then all are waited for at once: a name server that is slow
// to show them, or doesn't, holds up a start for as long with many lanes and brokers as with one.
func TestRetryTopicsAreAwaitedAtOnce(t *testing.T) {
	groups, brokers := []string{"g_1", "g_2", "g_3"}, []string{"a", "b"}
	var mu sync.Mutex
	made, polled := make(map[string]int), make(map[string]int) // by topic; polled since all are made
	var early []string                                         // polled before
	all := func(n map[string]int, least int) bool {
		return !slices.ContainsFunc(groups, func(g string) bool { return n[retryTopic(g)] < least })
	}
	s := newCluster(t)
	s.Handle(codeTopic, func(r remotingtest.Request) remotingtest.Response {
		mu.Lock()
		defer mu.Unlock()
		made[r.Ext["topic"]]++
		return remotingtest.Response{}
	})
	s.Handle(codeRoute, func(r remotingtest.Request) remotingtest.Response {
		mu.Lock()
		defer mu.Unlock()
		topic := r.Ext["topic"]
		switch {
		case all(made, len(brokers)):
			polled[topic]++
		case made[topic] > 0:
			early = append(early, topic)
		}
		if !all(polled, 2) {
			return remotingtest.Response{Code: 17}
		}
		return remotingtest.Response{Body: fmt.Appendf(nil, `{"brokerDatas":[{"brokerName":"a","brokerAddrs":{0:%[1]q}},{"brokerName":"b","brokerAddrs":{0:%[1]q}}],
			"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":1},{"brokerName":"b","perm":6,"readQueueNums":1}]}`, s.Addr)}
	})
	asked := &checks{at: map[string]string{"a": s.Addr, "b": s.Addr}, brokers: brokers, groups: groups, retries: make(map[string]remoting.Route)}
	s.consumer(t, graylib.FilterClient).retryTopics(t.Context(), asked)
	mu.Lock()
	defer mu.Unlock()
	if len(early) > 0 {
		t.Errorf("%q waited for before all were created", slices.Compact(early))
	}
	for _, g := range groups {
		if !hasQueues(asked.retries[retryTopic(g)], brokers...) {
			t.Errorf("group %s: the route of its retry topic is %+v, want queues on %v", g, asked.retries[retryTopic(g)], brokers)
		}
	}
}

// TestRetryTopicThatABrokerMakesLate: what one broker has made already doesn't keep the other's from being looked for.
func TestRetryTopicThatABrokerMakesLate(t *testing.T) {
	t.Parallel()
	s, b := newSim(t), newSimBroker(t)
	retry := retryTopic("g_gray")
	other := newSimBroker(t)
	for name, broker := range map[string]*simBroker{"a": b, "b": other} {
		s.at(name, map[int]string{0: broker.Addr})
		s.has(name, "T", 1)
	}
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"), WithoutCreation())
	start(t, c)
	for _, name := range []string{"a", "b"} {
		s.has(name, retry, 1)
		if !reached(routeEverySlow/2, func() bool { return slices.Contains(ownedBy(c, "g_gray"), retry+" "+name+"/0") }) {
			t.Fatalf("the retry queue of broker %s isn't owned %v after it was made; owned are %v", name, routeEverySlow/2, ownedBy(c, "g_gray"))
		}
	}
}

// TestRetryTopicIsGivenUp: a broker that doesn't make it is not asked each second for ever.
func TestRetryTopicIsGivenUp(t *testing.T) {
	s, _ := twoBrokers(t)
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	start(t, c)
	var m *laneMember
	eachMember(c, func(member *laneMember) { m = member })
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.queues)
	now := time.Now()
	if !m.lacksRetries(now) || m.lacksRetries(now.Add(2*retryPatience)) {
		t.Errorf("lacks retry topics: %t at first, %t later; want them looked for, and then no more", m.lacksRetries(now), m.lacksRetries(now.Add(2*retryPatience)))
	}
}
