package grayrocketmq

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestMasterThatChanges: another machine becomes a broker's master, and the one before lives on and refuses pulls. What it refuses
// has the route read, and the members go over; a reading that the next one doesn't confirm changes nothing.
func TestMasterThatChanges(t *testing.T) {
	s := newSim(t)
	before, after := newSimBroker(t), newSimBroker(t)
	s.at("b", map[int]string{0: before.Addr, 1: after.Addr})
	s.has("b", "T", 2)
	s.has("b", retryTopic("g_gray"), 1)
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both queues are pulled", func() bool { return before.consumed("g_gray", "T", 0) && before.consumed("g_gray", "T", 1) })

	before.refuse(2)
	s.at("b", map[int]string{0: after.Addr, 1: before.Addr})
	eventually(t, "both queues are pulled from the new master", func() bool { return after.consumed("g_gray", "T", 0) && after.consumed("g_gray", "T", 1) })
	if lost := tallyOf(c, "g_gray").Lost; lost < 2 {
		t.Errorf("%d queues count as lost, want 2 at least: the connection to the old master was", lost)
	}
}

// TestMasterNamedOnce: one reading alone moves nobody.
func TestMasterNamedOnce(t *testing.T) {
	s := newSim(t)
	here, other := newSimBroker(t), newSimBroker(t)
	s.at("b", map[int]string{0: here.Addr})
	s.has("b", "T", 1)
	s.has("b", retryTopic("g_gray"), 1)
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the queue is owned", func() bool { return len(ownedBy(c, "g_gray")) == 2 })
	m := c.joined[0].(*laneMember)
	read := func(addr string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.locate(m.brokers["b"], addr)
	}
	read(other.Addr)
	read(here.Addr)
	read(other.Addr)
	m.mu.Lock()
	session := m.brokers["b"].session
	m.mu.Unlock()
	select {
	case <-session.Done():
		t.Error("one reading ended the connection")
	default:
	}
	read(other.Addr)
	<-session.Done()
}

// TestRefusedPulls: why a queue stands still is told once, is its state, and passes.
func TestRefusedPulls(t *testing.T) {
	s := newSim(t)
	b := newSimBroker(t)
	s.at("b", map[int]string{0: b.Addr})
	s.has("b", "T", 2)
	s.has("b", retryTopic("g_gray"), 1)
	log, rules := new(syncLog), listed(graylib.ModeAuto, "gray")
	c := s.consumer(t, "gray", rules, WithConsumerRuntime(unitRuntime(t, "gray", rules, graylib.WithLogger(slog.New(slog.NewTextHandler(log, nil))))))
	b.refuse(16)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	waiting := func() (list []string) {
		for _, g := range c.State().Groups {
			for _, q := range g.Queues {
				if q.Waiting != "" {
					list = append(list, q.Waiting)
				}
			}
		}
		return list
	}
	eventually(t, "all queues say what is wrong", func() bool { return len(waiting()) == 3 })
	if says := waiting()[0]; !strings.Contains(says, "code 16: not now") {
		t.Errorf("a queue says %q, want what the broker says", says)
	}
	eventually(t, "it is told", func() bool { return strings.Contains(log.String(), "a broker refuses pulls") })
	b.refuse(0)
	eventually(t, "all queues go on", func() bool { return len(waiting()) == 0 })
	if n := strings.Count(log.String(), "a broker refuses pulls"); n != 1 {
		t.Errorf("told %d times, want once:\n%s", n, log.String())
	}
}

// syncLog is a log in memory.
type syncLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
