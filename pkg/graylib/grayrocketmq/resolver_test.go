package grayrocketmq

import (
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// moving is a resolver whose answer changes.
type moving struct {
	mu  sync.Mutex
	at  string
	num int
}

func (m *moving) Resolve() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.num++
	return []string{m.at}
}

func (m *moving) Description() string { return "a test's" }

// TestNameServersMove: where no name server answers any more the application's resolver is asked for those that are there now.
func TestNameServersMove(t *testing.T) {
	before, after := newSim(t), newSim(t)
	gone := graylibtest.ReserveAddr(t)
	for _, s := range []*sim{before, after} {
		s.at("b", map[int]string{0: s.Addr})
		s.has("b", "T", 1)
	}
	m := &moving{at: before.Addr}
	c, err := OpenConsumer([]consumer.Option{consumer.WithGroupName("g"), consumer.WithNsResolver(m)},
		WithConsumerRuntime(unitRuntime(t, "", listed(graylib.ModeAuto, "gray"))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Shutdown() }()
	master := func(want string) {
		t.Helper()
		r, err := c.api.Route(t.Context(), "T")
		if err != nil || r.Brokers["b"] != want {
			t.Errorf("route %v, %v; want the master at %s", r, err, want)
		}
	}
	master(before.Addr)
	m.mu.Lock()
	if m.num != 1 {
		t.Errorf("asked %d times while a name server answers, want once", m.num)
	}
	m.at = gone
	m.mu.Unlock()
	before.Close()
	if _, err := c.api.Route(t.Context(), "T"); err == nil {
		t.Error("no error without a name server")
	}
	m.mu.Lock()
	m.at = after.Addr
	m.mu.Unlock()
	master(after.Addr)
}
