package lanestate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 60s: %s", what)
		}
	}
}

// world is a topic and a group on the shared broker, with a lane listed long ago.
type world struct {
	*testing.T
	rt           *graylib.Runtime
	topic, group string
	reader       *Reader
	brokers      map[string]string

	mu     sync.Mutex
	got    map[string]int // id -> times
	seen   map[string]*primitive.MessageExt
	answer func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult
}

func newWorld(t *testing.T) *world {
	namesrv := testenv.Namesrv(t)
	name := fmt.Sprintf("lanestate-%x", time.Now().UnixNano())
	w := &world{T: t, topic: "T-" + name, group: "G-" + name, got: map[string]int{}, seen: map[string]*primitive.MessageExt{}}
	rules := &graylibtest.Rules{
		List:    []graylib.Lane{{Tag: "gray", Listed: time.Now().Add(-time.Hour), State: graylib.LaneActive, Propagate: true}},
		Consume: graylib.Consumption{Baseline: graylib.ModeAuto, Default: graylib.ModeAuto, Filter: graylib.FilterServer},
	}
	var err error
	w.rt, err = graylib.New(graylib.Identity{Service: "a", Addr: "127.0.0.1:1"}, graylib.WithRules(graylib.StaticRules(rules)),
		graylib.WithLogger(slog.New(slog.DiscardHandler)), graylib.WithConfig(graylib.Config{NamesrvAddr: namesrv}))
	if err != nil {
		t.Fatal(err)
	}
	if w.reader, err = Open(remoting.Config{NameServers: []string{namesrv}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.reader.Close() })
	if w.brokers, err = w.reader.Brokers(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) handle(ctx context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range msgs {
		w.got[m.MsgId]++
		w.seen[m.MsgId] = m
		if w.answer != nil {
			return w.answer(ctx, m), nil
		}
	}
	return consumer.ConsumeSuccess, nil
}

func (w *world) answers(f func(context.Context, *primitive.MessageExt) consumer.ConsumeResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func (w *world) times(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got[id]
}

func (w *world) all(ids []string, times int) func() bool {
	return func() bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return w.times(id) < times })
	}
}

// consume starts a baseline instance, which stands in for the lane; a message dies at its second failure.
func (w *world) consume() (stop func()) {
	w.Helper()
	c, err := grayrocketmq.OpenConsumer([]consumer.Option{consumer.WithGroupName(w.group), consumer.WithMaxReconsumeTimes(1)}, grayrocketmq.WithConsumerRuntime(w.rt))
	if err != nil {
		w.Fatal(err)
	}
	if err := c.Subscribe(w.topic, consumer.MessageSelector{}, w.handle); err != nil {
		w.Fatal(err)
	}
	if err := c.Start(); err != nil {
		w.Fatal(err)
	}
	var once sync.Once
	stop = func() { once.Do(func() { _ = c.Shutdown() }) }
	w.Cleanup(stop)
	return stop
}

func (w *world) send(tag graylib.Tag, n int) (ids []string) {
	w.Helper()
	p, err := grayrocketmq.OpenProducer([]producer.Option{producer.WithGroupName("P-" + w.group)}, grayrocketmq.WithProducerRuntime(w.rt))
	if err != nil {
		w.Fatal(err)
	}
	if err := p.Start(); err != nil {
		w.Fatal(err)
	}
	defer func() { _ = p.Shutdown() }()
	for i := range n {
		m := primitive.NewMessage(w.topic, []byte(fmt.Sprint("body ", i)))
		m.WithKeys([]string{"key", fmt.Sprint(i)})
		m.WithTag("buy")
		m.WithProperty("mine", "yes")
		r, err := p.SendSync(graylib.WithTag(w.Context(), tag), m)
		if err != nil {
			w.Fatal(err)
		}
		ids = append(ids, r.MsgID)
	}
	return ids
}

// lane reads the lane's group.
func (w *world) lane() *Group {
	w.Helper()
	list, err := w.reader.Read(w.Context(), w.brokers, Of{Base: w.group, Kind: graylib.GroupLane, Lane: "gray"})
	if err != nil || list[0].Err() != nil {
		w.Fatal(err, list[0].Problems)
	}
	return &list[0]
}

func TestWhatWaits(t *testing.T) {
	w := newWorld(t)
	stop := w.consume()
	first := w.send("gray", 3)
	eventually(t, "handled", w.all(first, 1))
	groups, err := w.reader.Groups(t.Context(), w.brokers)
	if err != nil || !slices.Contains(groups.Bases(), w.group) || !groups[graylib.LaneGroup(w.group, "gray")] {
		t.Errorf("groups %v, %v; want %s with its lane's", groups, err, w.group)
	}
	g := w.lane()
	if len(g.Members) != 1 || g.Members[0].Service != "a" || g.Members[0].Role != "standin" || g.Members[0].Tag != "" {
		t.Errorf("members %+v, want one stand-in of a", g.Members)
	}
	eventually(t, "nothing waits", func() bool { return w.lane().Waiting.N == 0 })
	stop()

	sent := time.Now()
	w.send("", 9)
	waiting := w.send("gray", 7)
	w.send("blue", 2)
	var behind int64
	eventually(t, "the broker has indexed them all, and knows of no member", func() bool { // it answers before
		g = w.lane()
		behind = 0
		for _, q := range g.Queues {
			behind += q.Behind
		}
		return g.Waiting.N >= 7 && behind >= 18 && len(g.Members) == 0
	})
	if g.Waiting.N != 7 || g.Waiting.More || g.Waiting.AtMost || g.Waiting.Oldest.Before(sent.Add(-time.Second)) {
		t.Errorf("waiting %+v; want 7 since now", g.Waiting)
	}
	w.reader.limit = 5
	if got := w.lane().Waiting; got.N != 5 || !got.More || got.String() != ">5" {
		t.Errorf("with a limit of 5: %+v", got)
	}
	w.reader.limit = defaultLimit

	until := time.Now().Add(50 * time.Millisecond)
	eventually(t, "until is past", func() bool { return time.Now().After(until) })
	left := func() []string {
		list, err := w.reader.LeftBefore(t.Context(), w.brokers, []string{w.group}, "gray", until)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, l := range list {
			lines = append(lines, strings.ReplaceAll(l.String(), w.group, "G"))
		}
		return lines
	}
	topic := strings.Replace(w.topic, w.group, "G", 1)
	want := []string{"G_gray: 7 on " + topic + " stored before until", "G__tagged: 7 on " + topic + " stored before until"}
	if diff := cmp.Diff(want, left()); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	w.send("gray", 3) // later than until
	if diff := cmp.Diff(want, left()); diff != "" {
		t.Errorf("with messages of later (-want +got):\n%s", diff)
	}
	w.answers(func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		if m.MsgId == waiting[0] && m.ReconsumeTimes == 0 {
			if c, ok := primitive.GetConcurrentlyCtx(ctx); ok {
				c.DelayLevelWhenNextConsume = 18 // 5 s on the tests' broker
			}
			return consumer.ConsumeRetryLater
		}
		return consumer.ConsumeSuccess
	})
	w.consume()
	eventually(t, "handled", w.all(waiting, 1))
	retry := []string{"G_gray: 1 on %RETRY%G_gray to be delivered again later"}
	eventually(t, "but for the one that failed", func() bool { return cmp.Equal(retry, left()) })
	if got := w.lane().Retries; got.N != 1 || got.Oldest.IsZero() {
		t.Errorf("retries %+v, want the delayed one", got)
	}
	eventually(t, "nothing is left", func() bool { return len(left()) == 0 })
	for _, id := range waiting {
		want := 1
		if id == waiting[0] {
			want = 2
		}
		if got := w.times(id); got != want {
			t.Errorf("message %s was handled %d times, want %d", id, got, want)
		}
	}
}

func TestResend(t *testing.T) {
	w := newWorld(t)
	w.answers(func(context.Context, *primitive.MessageExt) consumer.ConsumeResult { return consumer.ConsumeRetryLater })
	w.consume()
	ids := w.send("gray", 5)
	eventually(t, "they die", func() bool { return w.lane().DeadLetters.N == 5 })
	w.answers(nil)
	group := graylib.LaneGroup(w.group, "gray")
	resend := func(o Resending) (Resent, []DeadLetter, error) {
		var letters []DeadLetter
		o.Group = group
		o.Each = func(l DeadLetter) { letters = append(letters, l) }
		sum, err := w.reader.Resend(t.Context(), w.brokers, o)
		return sum, letters, err
	}
	sum, letters, err := resend(Resending{DryRun: true})
	if err != nil || sum != (Resent{Sent: 5}) || len(letters) != 5 {
		t.Fatalf("dry run: %+v, %v, %v", sum, letters, err)
	}
	for _, l := range letters {
		if !slices.Contains(ids, l.ID) || l.Topic != w.topic || l.Tag != "gray" || !strings.HasPrefix(l.Keys, "key ") || l.Died.IsZero() || l.SentBefore {
			t.Errorf("dead letter %+v", l)
		}
	}
	if sum, _, err := resend(Resending{Topic: "another"}); err != nil || sum != (Resent{}) {
		t.Errorf("of another topic: %+v, %v", sum, err)
	}
	if _, _, err := resend(Resending{ID: "none"}); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("unknown id: %v, want ErrNoDeadLetter", err)
	}
	before := w.times(ids[3])
	first := letters[0].ID
	if sum, _, err := resend(Resending{ID: first}); err != nil || sum.Sent != 1 {
		t.Fatalf("by id: %+v, %v", sum, err)
	}
	if sum, _, err := resend(Resending{}); err != nil || sum.Sent+sum.Before != 5 || sum.Before != 1 {
		t.Fatalf("all: %+v, %v; want 4 sent, 1 before", sum, err)
	}
	eventually(t, "each is handled again", w.all(ids, before+1))
	if sum, letters, err := resend(Resending{}); err != nil || sum != (Resent{Before: 5}) || !letters[0].SentBefore {
		t.Errorf("all again: %+v, %v; want 5 before", sum, err)
	}
	if _, _, err := resend(Resending{ID: first}); !errors.Is(err, ErrSentBefore) {
		t.Errorf("by id again: %v, want ErrSentBefore", err)
	}
	if sum, _, err := resend(Resending{Again: true, ID: ids[0]}); err != nil || sum.Sent != 1 {
		t.Fatalf("again, by id: %+v, %v", sum, err)
	}
	eventually(t, "it is handled once more", w.all(ids[:1], before+2))
	eventually(t, "nothing waits", func() bool { g := w.lane(); return g.Waiting.N+g.Retries.N == 0 })
	for i, id := range ids {
		want := before + 1
		if i == 0 {
			want++
		}
		if got := w.times(id); got != want {
			t.Errorf("message %s was handled %d times, want %d", id, got, want)
		}
		m := w.seen[id]
		if string(m.Body) != fmt.Sprint("body ", i) || m.GetTags() != "buy" || m.GetProperty("mine") != "yes" || m.GetProperty("gray_tag") != "gray" || m.ReconsumeTimes != 0 || m.Topic != w.topic {
			t.Errorf("message %s came back as %s", id, m)
		}
	}
}

func TestHalves(t *testing.T) {
	w := newWorld(t)
	w.consume() // makes the topic
	p, err := grayrocketmq.OpenTransactionProducer(undecided{}, []producer.Option{producer.WithGroupName("P-" + w.group)}, grayrocketmq.WithProducerRuntime(w.rt))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Shutdown() }()
	tag := graylib.Tag(fmt.Sprintf("t%x", time.Now().UnixNano())) // halves of other tests are of other tags
	for range 3 {
		if _, err := p.SendMessageInTransaction(graylib.WithTag(t.Context(), tag), primitive.NewMessage(w.topic, []byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "they are counted", func() bool {
		halves, err := w.reader.Halves(t.Context(), w.brokers)
		if err != nil {
			t.Fatal(err)
		}
		return halves[tag] == 3
	})
}

// undecided leaves transactions open.
type undecided struct{}

func (undecided) ExecuteLocalTransaction(*primitive.Message) primitive.LocalTransactionState {
	return primitive.UnknowState
}
func (undecided) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	return primitive.UnknowState
}

func TestCount(t *testing.T) {
	at := time.Unix(100, 0)
	for _, tc := range []struct {
		a, b Count
		want string
		when time.Time
	}{
		{Count{}, Count{}, "0", time.Time{}},
		{Count{N: 2, Oldest: at}, Count{N: 1, Oldest: at.Add(time.Second)}, "3", at},
		{Count{N: 2}, Count{N: 1, Oldest: at, More: true}, ">3", at},
		{Count{N: 2, AtMost: true}, Count{N: 1}, "<=3", time.Time{}},
		{Count{AtMost: true}, Count{}, "0", time.Time{}},
	} {
		if got := tc.a.Plus(tc.b); got.String() != tc.want || !got.Oldest.Equal(tc.when) {
			t.Errorf("%+v and %+v are %s since %v, want %s since %v", tc.a, tc.b, got, got.Oldest, tc.want, tc.when)
		}
	}
}

func TestLevels(t *testing.T) {
	got, err := levels("1s 2m 3h 1d")
	if diff := cmp.Diff([]time.Duration{time.Second, 2 * time.Minute, 3 * time.Hour, 24 * time.Hour}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := levels(""); err != nil || len(got) != 18 {
		t.Errorf("the default has %d levels, %v; want 18", len(got), err)
	}
	for _, bad := range []string{"1x", "xd"} {
		if _, err := levels(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
