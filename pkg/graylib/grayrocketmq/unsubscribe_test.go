package grayrocketmq

import (
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestUnsubscribedLeaves: a consumer that has unsubscribed from its last topic leaves its groups, and joins none that comes later: a
// member that wants nothing.
func TestUnsubscribedLeaves(t *testing.T) {
	s := newSim(t)
	b := newSimBroker(t)
	s.at("b", map[int]string{0: b.Addr})
	for _, topic := range []string{"T", "%RETRY%g_gray"} {
		s.has("b", topic, 1)
	}
	c := s.consumer(t, "gray", listed(graylib.ModeAuto, "gray"))
	start(t, c)
	if groups := c.Groups(); len(groups) != 1 {
		t.Fatalf("groups %q, want one", groups)
	}
	if err := c.Unsubscribe("T"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it leaves its group", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(c.Groups()) == 0 && len(b.members["g_gray"]) == 0
	})
}
