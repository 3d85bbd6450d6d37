package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// within bounds what a test waits for: retries and rebalances of the client take up to 20 s each when something is missed.
const within = 60 * time.Second

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// ruleSource is a document that tests change.
type ruleSource struct {
	now    atomic.Pointer[graylibtest.Rules]
	origin atomic.Value
	read   atomic.Pointer[time.Time]

	mu       sync.Mutex
	watchers map[int]func(graylib.Rules)
}

func newRuleSource(r *graylibtest.Rules) *ruleSource {
	s := &ruleSource{watchers: make(map[int]func(graylib.Rules))}
	s.origin.Store("nacos")
	s.readAt(time.Now().Add(time.Hour)) // strays don't wait
	s.now.Store(r)
	return s
}

// readAt says when the document was read last.
func (s *ruleSource) readAt(t time.Time) { s.read.Store(&t) }

func (s *ruleSource) Rules() graylib.Rules { return s.now.Load() }
func (s *ruleSource) Status() graylib.RulesStatus {
	return graylib.RulesStatus{Revision: 1, Origin: s.origin.Load().(string), ReadAt: *s.read.Load()}
}

func (s *ruleSource) Watch(fn func(graylib.Rules)) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := len(s.watchers)
	s.watchers[id] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, id)
	}
}
func (s *ruleSource) Close() error { return nil }

func (s *ruleSource) put(r *graylibtest.Rules) {
	s.now.Store(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fn := range s.watchers {
		fn(r)
	}
}

// listed is a document with these lanes, listed long ago, in one mode.
func listed(mode graylib.Mode, tags ...graylib.Tag) *graylibtest.Rules {
	r := &graylibtest.Rules{Consume: graylib.Consumption{Baseline: mode, Default: graylib.ModeAll, Filter: graylib.FilterServer}}
	if mode == graylib.ModeIgnore {
		r.Consume.Ignore = tags
	}
	for _, tag := range tags {
		r.List = append(r.List, graylib.Lane{Tag: tag, Listed: time.Now().Add(-time.Hour), State: graylib.LaneActive, Propagate: true})
	}
	return r
}

// world is a topic and a group of a test's own, on the shared broker.
type world struct {
	t       *testing.T
	namesrv string
	topic   string
	group   string
	source  *ruleSource
	api     *remoting.Client
	ended   atomic.Bool
	mayFail atomic.Bool // sends may
	keys    primitive.Credentials
	off     bool // the kill switch of the runtimes that are made from now on
}

var worlds atomic.Int64

func newWorld(t *testing.T, r *graylibtest.Rules) *world {
	t.Helper()
	return newWorldAt(t, r, testenv.Namesrv(t), primitive.Credentials{})
}

// newWorldAt is a world on a broker of the test's own.
func newWorldAt(t *testing.T, r *graylibtest.Rules, addr string, keys primitive.Credentials) *world {
	t.Helper()
	name := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, t.Name())
	name = fmt.Sprintf("%s-%x-%d", name, time.Now().UnixNano(), worlds.Add(1))
	api, err := remoting.New(remoting.Config{NameServers: []string{addr}, AccessKey: keys.AccessKey, SecretKey: keys.SecretKey, Timeout: within / 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	w := &world{t: t, namesrv: addr, topic: "T-" + name, group: "G-" + name, source: newRuleSource(r), api: api, keys: keys}
	t.Cleanup(func() { w.ended.Store(true) }) // runs last
	return w
}

// runtime is a process's runtime.
func (w *world) runtime(service string, tag graylib.Tag, r graylib.Reporter) *graylib.Runtime {
	w.t.Helper()
	return w.runtimeOf(service, tag, r, w.source)
}

// runtimeOf is the runtime of a process that has its rules from elsewhere.
func (w *world) runtimeOf(service string, tag graylib.Tag, r graylib.Reporter, source graylib.RulesSource) *graylib.Runtime {
	w.t.Helper()
	opts := []graylib.Option{
		graylib.WithRules(source), graylib.WithLogger(slog.New(slog.NewTextHandler(testLog{w.t, &w.ended}, nil))),
		graylib.WithConfig(graylib.Config{
			Disabled: w.off, NamesrvAddr: w.namesrv, RocketMQAccessKey: w.keys.AccessKey, RocketMQSecretKey: w.keys.SecretKey,
		}),
	}
	if r != nil {
		opts = append(opts, graylib.WithReporter(r))
	}
	rt, err := graylib.New(graylib.Identity{Service: service, Tag: tag, Addr: "127.0.0.1:1"}, opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	return rt
}

// testLog writes the log of a test, and nothing after its end: goroutines of the client outlive it.
type testLog struct {
	t     *testing.T
	ended *atomic.Bool
}

func (l testLog) Write(p []byte) (int, error) {
	if testing.Verbose() && !l.ended.Load() {
		l.t.Logf("%s", strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// producer is a started producer of service c.
func (w *world) producer(tag graylib.Tag, opts ...ProducerOption) rocketmq.Producer {
	w.t.Helper()
	opts = append([]ProducerOption{WithProducerRuntime(w.runtime("c", tag, nil))}, opts...)
	client := []producer.Option{producer.WithGroupName("P-" + w.group)}
	if !w.mayFail.Load() { // then a slow broker is waited for: what the client sends again may be stored twice, which is two messages
		client = append(client, producer.WithSendMsgTimeout(30*time.Second))
	}
	p, err := OpenProducer(client, opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = p.Shutdown() })
	return p
}

// send sends n messages synchronously and returns their ids.
func (w *world) send(p rocketmq.Producer, tag graylib.Tag, n int) []string {
	w.t.Helper()
	ctx := graylib.WithTag(context.Background(), tag)
	ids := make([]string, n)
	for i := range ids {
		r, err := p.SendSync(ctx, primitive.NewMessage(w.topic, []byte("body")))
		if err != nil {
			w.t.Fatal(err)
		}
		ids[i] = r.MsgID
	}
	return ids
}

// sink is what an application's handler saw.
type sink struct {
	mu   sync.Mutex
	got  map[string]int         // id -> times
	tags map[string]graylib.Tag // id -> the context's tag
	act  func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult
}

func newSink() *sink { return &sink{got: make(map[string]int), tags: make(map[string]graylib.Tag)} }

func (s *sink) handle(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	for _, m := range msgs {
		s.mu.Lock()
		s.got[m.MsgId]++
		s.tags[m.MsgId] = graylib.TagFrom(ctx)
		act := s.act
		s.mu.Unlock()
		if act != nil {
			if r := act(ctx, m); r != consumer.ConsumeSuccess {
				return r, nil
			}
		}
	}
	return consumer.ConsumeSuccess, nil
}

func (s *sink) times(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[id]
}

// size is the number of messages seen.
func (s *sink) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

func (s *sink) tag(id string) graylib.Tag {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tags[id]
}

// all tells whether each of the ids was seen.
func (s *sink) all(ids []string) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return s.times(id) == 0 })
}

// exactly fails the test where an id was not seen n times.
func (s *sink) exactly(t *testing.T, what string, ids []string, n int) {
	t.Helper()
	for _, id := range ids {
		if got := s.times(id); got != n {
			t.Errorf("%s: message %s was handled %d times, want %d", what, id, got, n)
		}
	}
}

// open makes a consumer of service a.
func (w *world) open(tag graylib.Tag, s *sink, r graylib.Reporter, client []consumer.Option, opts ...ConsumerOption) *Consumer {
	w.t.Helper()
	client = append([]consumer.Option{consumer.WithGroupName(w.group)}, client...)
	opts = append([]ConsumerOption{WithConsumerRuntime(w.runtime("a", tag, r)), settled(w.t)}, opts...)
	c, err := OpenConsumer(client, opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.Subscribe(w.topic, consumer.MessageSelector{}, s.handle); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.shutdown(c) })
	return c
}

// handled is a started consumer of service a with a handler of its own.
func (w *world) handled(tag graylib.Tag, h Handler, client ...consumer.Option) *Consumer {
	w.t.Helper()
	c := w.open(tag, newSink(), nil, client)
	if err := c.Subscribe(w.topic, consumer.MessageSelector{}, h); err != nil {
		w.t.Fatal(err)
	}
	start(w.t, c)
	return c
}

// settled keeps the client from a race with itself, which the race detector would report now and then: its first rebalance
// writes what its route updater reads, 10 ms after the start (internal/model.go:70, consumer/push_consumer.go:505). The
// updater goes first, and starting again takes the lock that it held.
func settled(t *testing.T) ConsumerOption {
	return func(o *consumerOptions) {
		o.settle = func(client rocketmq.PushConsumer) {
			began := time.Now()
			eventually(t, "the client's route updater has run", func() bool { return time.Since(began) > 40*time.Millisecond })
			if err := client.Start(); err != nil {
				t.Error(err)
			}
		}
	}
}

// shutdown shuts a consumer down. (The client's own shutdown races with its rebalance, internal/client.go:555 and 576: test binaries with
// the race detector have it without, see scripts/racemod.sh.)
func (w *world) shutdown(c *Consumer) {
	w.t.Helper()
	if err := c.Shutdown(); err != nil && !errors.Is(err, ErrDrain) {
		w.t.Error(err)
	}
}

// consumer is a started consumer of service a.
func (w *world) consumer(tag graylib.Tag, s *sink, opts ...ConsumerOption) *Consumer {
	w.t.Helper()
	c := w.open(tag, s, nil, nil, opts...)
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// laneOwns waits until the consumer, the lane gray's or a stand-in, owns all queues of the lane's group: of these topics, or of the
// world's where none is named, and of the group's retries. A member that was there before it may have had them, and handles what is sent
// until it gives them up; of what fails then the deliveries count anew.
func (w *world) laneOwns(c *Consumer, topics ...string) {
	w.t.Helper()
	w.owns(c, graylib.LaneGroup(w.group, "gray"), topics...)
}

// owns waits until the consumer owns all queues of a group, as laneOwns does. After a kill too: who is started before the others have
// seen that the dead one is gone can't know whose lock it meets, and waits until that lapses.
func (w *world) owns(c *Consumer, group string, topics ...string) {
	w.t.Helper()
	if len(topics) == 0 {
		topics = []string{w.topic}
	}
	topics = append(slices.Clone(topics), retryTopic(group))
	eventually(w.t, "the group's queues are owned by the one who is to have them", func() bool {
		owned := ownedBy(c, group)
		return !slices.ContainsFunc(topics, func(topic string) bool {
			route, err := w.api.Route(w.t.Context(), topic)
			return err != nil || slices.ContainsFunc(route.Queues, func(q remoting.Queue) bool {
				return !slices.Contains(owned, topic+" "+queueName(&primitive.MessageQueue{BrokerName: q.Broker, QueueId: q.ID}))
			})
		})
	})
}

// knowsLane waits until the baseline's consumer knows that the lane gray consumes the topic: in mode all there are no copies before.
func (w *world) knowsLane(c *Consumer) {
	w.t.Helper()
	eventually(w.t, "the baseline knows that the lane lives", func() bool { return c.laneLive("gray", w.topic) })
}

// createTopic makes the topic before any consumer does, with so many queues on each broker.
func (w *world) createTopic(queues int) remoting.Route {
	w.t.Helper()
	ctx := w.t.Context()
	brokers, err := w.api.Brokers(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, addr := range brokers {
		if err := w.api.CreateTopic(ctx, addr, w.topic, queues); err != nil {
			w.t.Fatal(err)
		}
	}
	var route remoting.Route
	eventually(w.t, "the topic has a route", func() bool {
		route, err = w.api.Route(ctx, w.topic)
		return err == nil && len(route.Queues) == queues*len(brokers)
	})
	return route
}
