package grayrocketmq

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// together has answers wait until so many requests have come.
type together struct {
	mu   sync.Mutex
	left int
	all  chan struct{}
}

func newTogether(n int) *together { return &together{left: n, all: make(chan struct{})} }

func (w *together) with(r remotingtest.Response) remotingtest.Response {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left--; w.left == 0 {
		close(w.all)
	}
	r.Late = w.all
	return r
}

// TestStartAsksAtOnce: a lane's return takes one round trip for the routes, one for all checks and one to join, whatever the number
// of queues and brokers. Each step's answers come only when all its requests have.
func TestStartAsksAtOnce(t *testing.T) {
	const queues = 8 // of the topic, at each broker
	brokers := []*remotingtest.Server{remotingtest.Start(t), remotingtest.Start(t)}
	routes, checks, joins := newTogether(2), newTogether(len(brokers)*(1+1+queues)), newTogether(len(brokers))
	brokers[0].Handle(codeRoute, func(r remotingtest.Request) remotingtest.Response {
		n := queues
		if r.Ext["topic"] == retryTopic("g_gray") {
			n = 1
		}
		return routes.with(remotingtest.Response{Body: fmt.Appendf(nil, `{"brokerDatas":[{"brokerName":"b1","brokerAddrs":{0:%q}},{"brokerName":"b2","brokerAddrs":{0:%q}}],
			"queueDatas":[{"brokerName":"b1","perm":6,"readQueueNums":%d},{"brokerName":"b2","perm":6,"readQueueNums":%d}]}`, brokers[0].Addr, brokers[1].Addr, n, n)})
	})
	for _, b := range brokers {
		b.Handle(codeCheck, func(remotingtest.Request) remotingtest.Response { return checks.with(remotingtest.Response{}) })
		b.Handle(codeGroup, func(remotingtest.Request) remotingtest.Response {
			return checks.with(remotingtest.Response{Body: []byte(`{"groupName":"g_gray"}`)})
		})
		b.Handle(codeOffset, func(remotingtest.Request) remotingtest.Response {
			return checks.with(remotingtest.Response{Ext: map[string]string{"offset": "5"}})
		})
		b.Handle(codeHeartbeat, func(remotingtest.Request) remotingtest.Response { return joins.with(remotingtest.Response{}) })
		b.Handle(codeMembers, func(remotingtest.Request) remotingtest.Response {
			return remotingtest.Response{Body: []byte(`{"consumerIdList":[]}`)} // it isn't listed: it takes no queue
		})
		b.Handle(codeLeave, func(remotingtest.Request) remotingtest.Response { return remotingtest.Response{} })
	}
	c := patient(t, "gray", brokers[0].Addr)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.Shutdown(); err != nil {
		t.Error(err)
	}
	asked := make(map[int]int)
	for _, b := range brokers {
		for _, r := range b.Seen() {
			asked[r.Code]++
		}
	}
	for code, want := range map[int]int{codeRoute: 2, codeCheck: 2, codeGroup: 2, codeOffset: 2 * queues, codeHeartbeat: 2} {
		if asked[code] != want {
			t.Errorf("request %d was asked %d times, want %d", code, asked[code], want)
		}
	}
}

// TestFirstErrorIsTold: what is told of several things that are wrong doesn't depend on which answer comes first.
func TestFirstErrorIsTold(t *testing.T) {
	c := newCluster(t)
	c.topics["T"], c.topics[retryTopic("g_gray")] = true, true
	groups := newTogether(1)
	c.Handle(codeCheck, func(remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Code: 1, Remark: "not supported", Late: groups.all}
	})
	c.Handle(codeGroup, func(remotingtest.Request) remotingtest.Response {
		return groups.with(remotingtest.Response{Code: 1, Remark: "out of order"})
	})
	if err := patient(t, "gray", c.Addr).Start(); !errors.Is(err, ErrNoPropertyFilter) {
		t.Errorf("got %v, want the filter's error", err)
	}
}

// patient is a consumer of one topic whose requests wait for their answers however busy the machine is.
func patient(t *testing.T, tag graylib.Tag, addr string) *Consumer {
	t.Helper()
	c, err := OpenConsumer([]consumer.Option{consumer.WithGroupName("g"), consumer.WithNameServer([]string{addr})},
		WithConsumerRuntime(unitRuntime(t, tag, listed(graylib.ModeAuto, "gray"))))
	if err != nil {
		t.Fatal(err)
	}
	if c.api, err = remoting.New(remoting.Config{NameServers: []string{addr}, Timeout: 30 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe("T", consumer.MessageSelector{}, newSink().handle); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Shutdown() })
	return c
}

func TestAtOnce(t *testing.T) {
	var now, most atomic.Int64
	errOdd := errors.New("odd")
	full := newTogether(mostAtOnce)
	errs := atOnce(3*mostAtOnce, func(i int) error {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if i < mostAtOnce {
			<-full.with(remotingtest.Response{}).Late
		}
		if i%2 == 1 {
			return errOdd
		}
		return nil
	})
	for i, err := range errs {
		if want := map[int]error{0: nil, 1: errOdd}[i%2]; !errors.Is(err, want) {
			t.Errorf("%d: got %v, want %v", i, err, want)
		}
	}
	if most.Load() != mostAtOnce {
		t.Errorf("%d at once, want %d", most.Load(), mostAtOnce)
	}
	if err := firstError(errs); !errors.Is(err, errOdd) || firstError(errs[:1]) != nil {
		t.Errorf("first error: %v", err)
	}
}

// TestAtOnceStops: what is behind a server that can't be reached isn't asked for, one timeout after the other.
func TestAtOnceStops(t *testing.T) {
	var asked atomic.Int64
	full := newTogether(mostAtOnce)
	errs := atOnce(3*mostAtOnce, func(int) error {
		asked.Add(1)
		<-full.with(remotingtest.Response{}).Late
		return fmt.Errorf("%w: gone", remoting.ErrUnreachable)
	})
	if asked.Load() != mostAtOnce {
		t.Errorf("%d were asked, want %d", asked.Load(), mostAtOnce)
	}
	for i, err := range errs {
		if !errors.Is(err, remoting.ErrUnreachable) {
			t.Errorf("%d: got %v", i, err)
		}
	}
}
