package grayrocketmq

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// keptSim is a name server with one broker that has topic T, and a started baseline consumer whose rules change.
func keptSim(t *testing.T, log *syncLog, opts ...ConsumerOption) (*sim, *simBroker, *ruleSource, *Consumer) {
	t.Helper()
	s, b, source := newSim(t), newSimBroker(t), newRuleSource(listed(graylib.ModeAuto))
	s.at("b", map[int]string{0: b.Addr})
	s.has("b", "T", 1)
	for _, group := range []string{"g", "g__tagged", "g_gray", "g_blue"} {
		s.has("b", retryTopic(group), 1)
	}
	rt, err := graylib.New(graylib.Identity{Service: "c", Addr: "127.0.0.1:1"}, graylib.WithRules(source), graylib.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	c := s.consumer(t, "", nil, append(opts, WithConsumerRuntime(rt))...)
	start(t, c)
	eventually(t, "the baseline consumes", func() bool { return b.consumed("g", "T", 0) && b.consumed("g__tagged", "T", 0) })
	return s, b, source, c
}

// unjoined returns the groups that can't be joined, in order.
func unjoined(c *Consumer) []string {
	list := []string{}
	for group := range c.State().Unjoined {
		list = append(list, group)
	}
	slices.Sort(list)
	return list
}

// TestListedWhileAway (G8): a lane that is listed while the name server is away makes no instance not ready that consumes; what is
// missing shows in the log, once, and in the state.
func TestListedWhileAway(t *testing.T) {
	log := &syncLog{}
	s, _, source, c := keptSim(t, log)
	s.Close()
	source.put(listed(graylib.ModeAuto, "gray"))
	eventually(t, "the state says what is missing", func() bool { return cmp.Equal(unjoined(c), []string{"g_gray"}) })
	if st := c.rt.Status(); !st.Ready {
		t.Errorf("not ready: %q", st.NotReady)
	}
	if why := c.State().Unjoined["g_gray"]; !strings.Contains(why, s.Addr) {
		t.Errorf("the state says %q; want the name server's address", why)
	}
	eventually(t, "the log says it", func() bool {
		return strings.Contains(log.String(), "can't join") && strings.Contains(log.String(), "g_gray")
	})
	source.put(listed(graylib.ModeAuto)) // it is taken back
	eventually(t, "nothing is missing", func() bool { return len(unjoined(c)) == 0 })
	if st := c.rt.Status(); !st.Ready {
		t.Errorf("not ready: %q", st.NotReady)
	}
}

// TestLanesJoinedOneByOne: a listed lane whose group isn't there, and may not be made, holds up no other lane that is listed with it,
// and is joined when it is there.
func TestLanesJoinedOneByOne(t *testing.T) {
	_, b, source, c := keptSim(t, &syncLog{}, WithoutCreation())
	var mu sync.Mutex
	lacks := true
	b.Handle(codeGroup, func(r remotingtest.Request) remotingtest.Response {
		mu.Lock()
		defer mu.Unlock()
		if lacks && r.Ext["group"] == "g_blue" {
			return remotingtest.Response{Code: 26}
		}
		return remotingtest.Response{Body: fmt.Appendf(nil, `{"groupName":%q}`, r.Ext["group"])}
	})
	source.put(listed(graylib.ModeAuto, "blue", "gray"))
	eventually(t, "the other lane is consumed", func() bool { return b.consumed("g_gray", "T", 0) })
	eventually(t, "the state names the group that is missing", func() bool {
		return cmp.Equal(unjoined(c), []string{"g_blue"}) && strings.Contains(c.State().Unjoined["g_blue"], "create")
	})
	if st := c.rt.Status(); !st.Ready {
		t.Errorf("not ready: %q", st.NotReady)
	}
	mu.Lock()
	lacks = false
	mu.Unlock()
	eventually(t, "it is joined when it is there", func() bool { return b.consumed("g_blue", "T", 0) && len(unjoined(c)) == 0 })
}

// TestFirstJoinIsWhole: an instance isn't ready while a group of its first join is missing.
func TestFirstJoinIsWhole(t *testing.T) {
	s, b := newSim(t), newSimBroker(t)
	s.at("b", map[int]string{0: b.Addr})
	s.has("b", "T", 1)
	b.Handle(codeGroup, func(r remotingtest.Request) remotingtest.Response { return remotingtest.Response{Code: 26} })
	c := s.consumer(t, "", listed(graylib.ModeAuto, "gray"), WithoutCreation(), WithBackgroundStart())
	start(t, c)
	if st := c.rt.Status(); st.Ready || !strings.Contains(strings.Join(st.NotReady, " "), `"g_gray"`) {
		t.Errorf("ready %t, %q; want not ready for want of its groups", st.Ready, st.NotReady)
	}
	b.Handle(codeGroup, func(r remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Body: fmt.Appendf(nil, `{"groupName":%q}`, r.Ext["group"])}
	})
	eventually(t, "it is ready when they are there", func() bool { return c.rt.Status().Ready && len(c.Groups()) == 3 })
}

// TestLeaveHoldsUpNobody: while a lane is being left whose handler runs on, a lane that is listed is joined.
func TestLeaveHoldsUpNobody(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.source.readAt(time.Now()) // strays wait: what the old lane's group has is not handled as one, too
	s := newSink()
	goOn := make(chan struct{})
	end := sync.OnceFunc(func() { close(goOn) })
	defer end()
	s.act = func(ctx context.Context, _ *primitive.MessageExt) consumer.ConsumeResult {
		if graylib.TagFrom(ctx) == "gray" {
			<-goOn
		}
		return consumer.ConsumeSuccess
	}
	c := w.consumer("", s)
	p := w.producer("")
	held := w.send(p, "gray", 1)
	eventually(t, "a handler of the lane's runs", func() bool { return s.all(held) })
	w.source.put(listed(graylib.ModeAuto, "blue"))
	blue := w.send(p, "blue", 4)
	eventually(t, "the new lane's messages are handled", func() bool { return s.all(blue) && slices.Contains(c.Groups(), graylib.LaneGroup(w.group, "blue")) })
	if slices.Contains(c.Groups(), graylib.LaneGroup(w.group, "gray")) {
		t.Error("the old lane's group is still named")
	}
	end()
	stop(t, c)
	s.exactly(t, "the handler that ran on", held, 1)
}

// TestStrangersAreTold: at a start the members of <group> that aren't graylib's are named, once, with what to do; nothing else changes.
func TestStrangersAreTold(t *testing.T) {
	const codeConnections = 203
	ours := ownership.InstanceName("c", "", ownership.Own, []string{"T"}, "1")
	s, log := newSim(t), &syncLog{}
	var brokers []*simBroker
	for i, name := range []string{"b1", "b2"} {
		b := newSimBroker(t)
		b.Handle(codeConnections, func(r remotingtest.Request) remotingtest.Response {
			if r.Ext["consumerGroup"] != "g" {
				return remotingtest.Response{Code: 206, Remark: "not online"}
			}
			return remotingtest.Response{Body: fmt.Appendf(nil, `{"connectionSet":[{"clientId":"h@%s","clientAddr":"h:1"},{"clientId":"h@4711","clientAddr":"h:2"},
				{"clientId":"h@c#-#own#v1#x","clientAddr":"h:%d"}]}`, ours, 3+i)}
		})
		brokers = append(brokers, b)
		s.at(name, map[int]string{0: b.Addr})
		s.has(name, "T", 1)
	}
	rt, err := graylib.New(graylib.Identity{Service: "c", Addr: "127.0.0.1:1"}, graylib.WithRules(newRuleSource(listed(graylib.ModeAuto, "gray"))),
		graylib.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	c := s.consumer(t, "", nil, WithConsumerRuntime(rt))
	start(t, c)
	if st := rt.Status(); !st.Ready {
		t.Errorf("not ready: %q", st.NotReady)
	}
	const want = `members="[h@4711 at h:2 h@c#-#own#v1#x at h:3 h@c#-#own#v1#x at h:4]"`
	if got := log.String(); strings.Count(got, "without graylib") != 1 || !strings.Contains(got, want) || !strings.Contains(got, graylib.EnvMessages+"=on") {
		t.Errorf("the log says\n%s\nwant, once, %s", got, want)
	}
	for _, b := range brokers {
		if n := b.asked(codeConnections); n != 1 {
			t.Errorf("a broker was asked %d times, want once", n)
		}
	}
}

// TestStockMemberIsTold: the same beside the client's own consumer, on a real broker.
func TestStockMemberIsTold(t *testing.T) {
	w, log := newWorld(t, listed(graylib.ModeAuto, "gray")), &syncLog{}
	w.createTopic(2)
	w.producer("") // before any client: the process's logger is set with it
	stock := w.stock(newTally(), "stock")
	t.Cleanup(func() { _ = stock.Shutdown() })
	brokers, err := w.api.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var member string
	eventually(t, "the stock consumer is a member", func() bool {
		for _, addr := range brokers {
			ids, err := w.api.Members(t.Context(), addr, w.group)
			if err != nil || len(ids) != 1 {
				return false
			}
			member = ids[0]
		}
		return true
	})
	rt, err := graylib.New(graylib.Identity{Service: "a", Addr: "127.0.0.1:1"}, graylib.WithRules(w.source),
		graylib.WithConfig(graylib.Config{NamesrvAddr: w.namesrv}), graylib.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	start(t, w.open("", newSink(), nil, nil, WithConsumerRuntime(rt)))
	if got := log.String(); strings.Count(got, "without graylib") != 1 || !strings.Contains(got, member) {
		t.Errorf("the log doesn't name the stock consumer %s once:\n%s", member, got)
	}
}
