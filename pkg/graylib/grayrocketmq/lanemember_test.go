package grayrocketmq

import (
	"sync/atomic"
	"testing"
	"time"

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
	api, err := remoting.New(remoting.Config{NameServers: []string{server.Addr}, Timeout: 50 * time.Millisecond})
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
