package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// nacosRules reads a document of the test's own from the tests' Nacos, in an instance's process. Nacos doesn't answer before
// the door is thawed.
type nacosRules struct {
	addr, group string
	door        *graylibtest.Door
}

// frozenNacos publishes a document and shuts the door.
func frozenNacos(t *testing.T, document string) *nacosRules {
	t.Helper()
	n := &nacosRules{addr: testenv.Nacos(t), group: "GRAYCHAIN-" + newUUID()}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c, err := graynacos.Dial(ctx, graylib.Config{NacosAddr: n.addr}, nil, graynacos.WithRulesDocument(graylib.RulesDataID, n.group))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		if err := c.Delete(ctx); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
	eventually(t, "the document is published", func() bool { // Nacos's client may drop its first connection
		err := c.Publish(ctx, []byte(document), "")
		return err == nil || errors.Is(err, rules.ErrConflict) // it is there
	})
	host, port, err := net.SplitHostPort(n.addr)
	if err != nil {
		t.Fatal(err)
	}
	n.door = graylibtest.NewDoor(t, net.JoinHostPort(host, strconv.Itoa(atoi(t, port)+1000))) // the port of its gRPC
	n.door.Freeze()
	return n
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// open connects an instance that has no rules on its disk.
func (n *nacosRules) open(t *testing.T, id graylib.Identity) graylib.RulesSource {
	t.Helper()
	_, http, _ := net.SplitHostPort(n.addr)
	_, grpc, _ := net.SplitHostPort(n.door.Addr())
	registry, source, err := graynacos.Open(id, graylib.Config{NacosAddr: n.addr, State: t.TempDir()}, nil,
		graynacos.WithRulesDocument(graylib.RulesDataID, n.group), graynacos.WithGRPCPortOffset(atoi(t, grpc)-atoi(t, http)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = source.Close()
		_ = registry.Close()
	})
	return source
}

// TestNoNacosAtStart starts a baseline's instance and a lane's while Nacos doesn't answer, with no rules on their disks: untagged
// messages are handled, tagged ones wait, and the lane's instance joins no group and isn't ready. When Nacos answers, all is
// as it should be, and each message is handled once.
func TestNoNacosAtStart(t *testing.T) {
	if full(0, 1) == 0 {
		// What TestRulesUnknown shows without a client of Nacos.
		t.Skip("Nacos's client races with itself when it connects anew, which the race detector would report: make check-full-messages-faults")
	}
	w := newWorld(t, listed(graylib.ModeAuto)) // the producer's process knows rules
	w.createTopic(4)
	n := frozenNacos(t, fmt.Sprintf("revision: 1\nlanes:\n  - tag: gray\n    listed: %s\n", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)))
	book := newLedger()
	open := func(tag graylib.Tag, who string) *Consumer {
		source := n.open(t, graylib.Identity{Service: "a", Tag: tag, Addr: "127.0.0.1:1"})
		c := w.open(tag, book.sink(who, nil), nil, nil, WithConsumerRuntime(w.runtimeOf("a", tag, nil, source)))
		start(t, c)
		return c
	}
	base, lane := open("", "baseline"), open("gray", "lane")
	if st := base.rt.Status(); !st.Ready {
		t.Errorf("the baseline's instance isn't ready: %q", st.NotReady)
	}
	if st := lane.rt.Status(); st.Ready || len(lane.Groups()) != 0 || !strings.Contains(strings.Join(st.NotReady, " "), "no rules document") {
		t.Errorf("the lane's instance is ready %t, %q, and joined %v: want not ready, for want of rules", st.Ready, st.NotReady, lane.Groups())
	}
	p := w.producer("")
	tagged, plain := w.send(p, "gray", 20), w.send(p, "", 20)
	eventually(t, "untagged messages are handled", func() bool { return book.all(plain) })
	for _, id := range tagged {
		if d := book.deliveries(id); len(d) != 0 {
			t.Errorf("a tagged message was handled before anybody knew rules: %v", d)
		}
	}
	thawed := time.Now()
	n.door.Thaw()
	eventually(t, "the lane's instance is ready", func() bool { return lane.rt.Status().Ready && len(lane.Groups()) == 1 })
	t.Logf("the lane's instance is ready %v after Nacos answers", time.Since(thawed).Round(time.Millisecond))
	w.laneOwns(lane)
	more := w.send(p, "gray", 20)
	tagged = append(tagged, more...)
	all := append(plain, tagged...)
	eventually(t, "all are handled", func() bool { return book.all(all) })
	settle(t, w, book)
	book.once(t, "no Nacos at the start", all)
	for _, id := range tagged {
		for _, h := range book.deliveries(id) {
			if h.group != graylib.LaneGroup(w.group, "gray") || h.tag != "gray" {
				t.Errorf("broke G4 closed loop: %v with the tag %q", h, h.tag)
			}
		}
	}
	for _, id := range more {
		for _, h := range book.deliveries(id) {
			if h.who != "lane" {
				t.Errorf("broke G4 closed loop: the lane lives: %v", h)
			}
		}
	}
}
