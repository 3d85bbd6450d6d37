package grayrocketmq

import (
	"slices"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// stored returns the offset that a group has on a topic's first queue, and false where it has none.
func (b *simBroker) stored(group, topic string) (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, ok := b.offsets[group][simQueue(topic, 0)]
	return n, ok
}

// forget has the broker lose a group's offsets, and maybe messages: the next one of each queue will have the offset end.
func (b *simBroker) forget(group string, end int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.offsets, group)
	for q := range b.end {
		b.end[q] = end
	}
}

// TestBrokerForgetsOffsets: a broker that has no offset of a queue which this process held is told the one that it forgot: what the
// group has behind it isn't handled again. Nothing that the broker has now is passed over for that.
func TestBrokerForgetsOffsets(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		end, want int64
	}{
		{"and has all messages", 60, 40},
		{"and has lost messages, too", 30, 30},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s, b := newSim(t), newSimBroker(t)
			s.at("b", map[int]string{0: b.Addr})
			s.has("b", "T", 1)
			s.has("b", retryTopic("g_gray"), 1)
			b.begun("g_gray", "T", 1, 40, 60)
			c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
			start(t, c)
			eventually(t, "the queue is pulled", func() bool { return b.consumed("g_gray", "T", 0) })
			b.forget("g_gray", tc.end)
			b.Drop()
			var got int64
			eventually(t, "the broker has an offset again", func() (ok bool) {
				got, ok = b.stored("g_gray", "T")
				return ok
			})
			if got != tc.want {
				t.Errorf("the group goes on at %d, want %d", got, tc.want)
			}
		})
	}
}

// TestRealBrokerForgetsOffsets: the same with a real broker, and a <group> that began at the end of what there was.
func TestRealBrokerForgetsOffsets(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto))
	route := w.createTopic(2)
	p := w.producer("")
	old := w.send(p, "", 20)
	s := newSink()
	c := w.consumer("", s)
	ids := w.send(p, "", 8)
	eventually(t, "all are handled", func() bool { return s.all(ids) })
	eventually(t, "that is committed", func() bool {
		return !slices.ContainsFunc(route.Queues, func(q remoting.Queue) bool {
			end, err := w.api.MaxOffset(t.Context(), route.Brokers[q.Broker], q)
			last, _ := c.held.last(w.group, q)
			return err != nil || last.offset != end
		})
	})
	for _, addr := range route.Brokers {
		// DELETE_SUBSCRIPTIONGROUP, its offsets too
		ext := map[string]string{"groupName": w.group, "cleanOffset": "true"}
		if a, err := w.api.Invoke(t.Context(), addr, remoting.Command{Code: 207, Ext: ext}); err != nil || a.Code != 0 {
			t.Fatalf("delete: %v, code %d %s", err, a.Code, a.Remark)
		}
	}
	c.mu.Lock()
	members := c.joined
	c.mu.Unlock()
	for _, j := range members {
		j.(*laneMember).closeSessions()
	}
	later := w.send(p, "", 8)
	eventually(t, "later ones are handled", func() bool { return s.all(later) })
	s.exactly(t, "stored before the group began", old, 0)
	s.exactly(t, "handled before", ids, 1)
	s.exactly(t, "later", later, 1)
}
