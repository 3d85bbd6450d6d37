package grayrocketmq

import (
	"slices"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
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
