package grayrocketmq

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// TestSlowBrokerKeepsTheConnection: a first heartbeat that isn't answered in time is sent again on the same connection. A real broker
// lists a member whose connection was closed meanwhile (TestBrokerFrozen).
func TestSlowBrokerKeepsTheConnection(t *testing.T) {
	const heartbeat, unanswered = 34, 3
	server := remotingtest.Start(t)
	var beats atomic.Int32
	awake := make(chan struct{})
	server.Handle(heartbeat, func(remotingtest.Request) remotingtest.Response {
		if beats.Add(1) == unanswered {
			close(awake)
		}
		return remotingtest.Response{Late: awake}
	})
	api, err := remoting.New(remoting.Config{NameServers: []string{server.Addr}, SessionTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = api.Close() }()
	m := &laneMember{worker: worker{c: &Consumer{api: api}}, id: "127.0.0.1@member"}
	b := &laneBroker{addr: server.Addr, checked: true, members: make(chan struct{}, 1)}
	if err := m.connect(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.session.Close() }()
	if n := server.Accepted(); n != 1 || beats.Load() < unanswered {
		t.Errorf("%d connections and %d heartbeats, want one connection and %d or more", n, beats.Load(), unanswered)
	}
}

// TestBrokerThatStandsStill: a broker that answers nothing for longer than other requests may take costs no member its queues.
func TestBrokerThatStandsStill(t *testing.T) {
	t.Parallel()
	s, b := newSim(t), newSimBroker(t)
	s.at("b", map[int]string{0: b.Addr})
	s.has("b", "T", 2)
	s.has("b", retryTopic("g_gray"), 1)
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all queues are pulled", func() bool {
		return b.consumed("g_gray", "T", 0) && b.consumed("g_gray", "T", 1) && b.consumed("g_gray", retryTopic("g_gray"), 0)
	})
	connections, goOn := b.Accepted(), b.standStill()
	asked := b.asked(codeLock)
	eventually(t, "each queue's renewal waits", func() bool { return b.asked(codeLock) >= asked+3 })
	time.Sleep(remoting.DefaultTimeout + time.Second/2) // the standstill itself
	goOn()
	asked = b.asked(codeLock)
	eventually(t, "the locks are renewed again", func() bool { return b.asked(codeLock) >= asked+3 })
	if n := b.Accepted() - connections; n != 0 {
		t.Errorf("%d connections were made anew, want none", n)
	}
	if tally := tallyOf(c, "g_gray"); tally.Lost != 0 || len(ownedBy(c, "g_gray")) != 3 {
		t.Errorf("%d queues were lost, owned are %v; want none lost and three owned", tally.Lost, ownedBy(c, "g_gray"))
	}
}
