package grayrocketmq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

func TestLoop(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	base, gray := newSink(), newSink()
	w.consumer("", base)
	w.consumer("gray", gray)
	p := w.producer("")
	plain := w.send(p, "", 20)
	tagged := w.send(p, "gray", 20)
	eventually(t, "all are handled", func() bool { return base.all(plain) && gray.all(tagged) })
	base.exactly(t, "baseline, untagged", plain, 1)
	base.exactly(t, "baseline, gray", tagged, 0)
	gray.exactly(t, "lane, gray", tagged, 1)
	gray.exactly(t, "lane, untagged", plain, 0)
	if got := gray.tag(tagged[0]); got != "gray" {
		t.Errorf("the handler's context has tag %q, want gray", got)
	}
}

func TestPanicIsRetriedInItsGroup(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	base, gray := newSink(), newSink()
	first := make(chan struct{}, 1)
	first <- struct{}{}
	gray.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult {
		select {
		case <-first:
			panic("first delivery")
		default:
			return consumer.ConsumeSuccess
		}
	}
	w.consumer("", base)
	w.consumer("gray", gray)
	ids := w.send(w.producer(""), "gray", 1)
	eventually(t, "the message is delivered again", func() bool { return gray.times(ids[0]) == 2 })
	if got := gray.tag(ids[0]); got != "gray" {
		t.Errorf("retried with tag %q, want gray", got)
	}
	base.exactly(t, "baseline", ids, 0)
}

// TestSendKinds checks every way of sending, by what a consumer of the lane sees.
func TestSendKinds(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	base, gray := newSink(), newSink()
	w.consumer("", base)
	w.consumer("gray", gray)
	reporter := &graylibtest.Reporter{}
	p := w.producer("", WithProducerRuntime(w.runtime("c", "blue", reporter)))
	ctx := graylib.WithRequestID(graylib.WithTag(t.Context(), "gray"), "request-1")

	var seen sync.Map // body -> properties
	gray.act = func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		seen.Store(string(m.Body), m.GetProperties())
		return consumer.ConsumeSuccess
	}
	msg := func(body string) *primitive.Message { return primitive.NewMessage(w.topic, []byte(body)) }
	if _, err := p.SendSync(ctx, msg("sync")); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	async := msg("async")
	if err := p.SendAsync(ctx, func(_ context.Context, r *primitive.SendResult, err error) { answered <- err }, async); err != nil {
		t.Fatal(err)
	}
	if got := async.GetProperty(graylib.MessageKeys.Tag); got != "" {
		t.Errorf("the application's message keeps %s=%q", graylib.MessageKeys.Tag, got)
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
	if err := p.SendOneWay(ctx, msg("one-way")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SendSync(ctx, msg("batch-1"), msg("batch-2"), msg("batch-3")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SendSync(ctx, msg("delayed").WithDelayTimeLevel(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.SendSync(ctx, primitive.NewMessage(w.topic, bytes.Repeat([]byte("x"), 64<<10))); err != nil { // compressed
		t.Fatal(err)
	}
	bodies := []string{"sync", "async", "one-way", "batch-1", "batch-2", "batch-3", "delayed", strings.Repeat("x", 64<<10)}
	eventually(t, "the lane has them all", func() bool {
		return !slices.ContainsFunc(bodies, func(b string) bool { _, ok := seen.Load(b); return !ok })
	})
	for _, b := range bodies {
		v, _ := seen.Load(b)
		got := v.(map[string]string)
		b = b[:min(len(b), 10)]
		if got["gray_tag"] != "gray" || got["gray_env"] != "blue" || got["gray_request_id"] != "request-1" {
			t.Errorf("%s: tag %q, env %q, request %q; want gray, blue, request-1", b, got["gray_tag"], got["gray_env"], got["gray_request_id"])
		}
		if got[primitive.PropertyUniqueClientMessageIdKeyIndex] == "" {
			t.Errorf("%s: has no id of the client's", b)
		}
	}
	if n := len(base.got); n != 0 {
		t.Errorf("the baseline handled %d of the lane's messages", n)
	}
	ids := make(map[string]bool)
	for _, e := range reporter.Events() {
		if e.Kind != graylib.EventProduced || e.MessageTag != "gray" || e.RequestID != "request-1" || e.Topic != w.topic || e.Queue == "" {
			t.Errorf("wrong event: %+v", e)
		}
		ids[e.ID] = true
	}
	if want := len(bodies) - 1; len(ids) != want { // one-way sends are never acknowledged
		t.Errorf("%d ids reported as produced, want %d", len(ids), want)
	}
}

// TestTransaction checks that half messages keep their marks.
func TestTransaction(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	gray := newSink()
	w.consumer("gray", gray)
	reporter := &graylibtest.Reporter{}
	p, err := OpenTransactionProducer(listener{}, []producer.Option{producer.WithGroupName("P-" + w.group)},
		WithProducerRuntime(w.runtime("c", "gray", reporter)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Shutdown() }()
	ctx := graylib.WithTag(t.Context(), "gray")
	yes, err := p.SendMessageInTransaction(ctx, primitive.NewMessage(w.topic, []byte("commit")))
	if err != nil {
		t.Fatal(err)
	}
	no, err := p.SendMessageInTransaction(ctx, primitive.NewMessage(w.topic, []byte("roll back")))
	if err != nil {
		t.Fatal(err)
	}
	last := w.send(w.producer(""), "gray", 4)
	eventually(t, "the committed one is handled", func() bool { return gray.times(yes.MsgID) == 1 && gray.all(last) })
	gray.exactly(t, "rolled back", []string{no.MsgID}, 0)
	events := reporter.Events()
	if len(events) != 1 || events[0].ID != yes.MsgID {
		t.Errorf("reported as produced: %+v, want %s alone", events, yes.MsgID)
	}
}

// listener commits what says so, and sees the tag.
type listener struct{}

func (listener) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	if string(m.Body) == "commit" && m.GetProperty("gray_tag") == "gray" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (listener) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	return primitive.RollbackMessageState
}

// TestFirstOffsets checks where groups begin when messages are there already.
func TestFirstOffsets(t *testing.T) {
	for _, tc := range []struct {
		name string
		from consumer.ConsumeFromWhere
		old  int // times that messages from before the first start are handled
	}{
		{"from last", consumer.ConsumeFromLastOffset, 0},
		{"from first", consumer.ConsumeFromFirstOffset, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
			w.createTopic(4)
			p := w.producer("")
			oldPlain, oldGray := w.send(p, "", 12), w.send(p, "gray", 12)
			base, gray := newSink(), newSink()
			client := []consumer.Option{consumer.WithConsumeFromWhere(tc.from)}
			start(t, w.open("", base, nil, client))
			// The lane begins where <group> did, though its instances come later.
			between := w.send(p, "gray", 12)
			start(t, w.open("gray", gray, nil, client))
			plain, tagged := w.send(p, "", 12), w.send(p, "gray", 12)
			eventually(t, "the new ones are handled", func() bool {
				return base.all(plain) && gray.all(tagged) && gray.all(between) && (tc.old == 0 || base.all(oldPlain) && gray.all(oldGray))
			})
			base.exactly(t, "baseline, old", oldPlain, tc.old)
			gray.exactly(t, "lane, old", oldGray, tc.old)
			base.exactly(t, "baseline, new", plain, 1)
			gray.exactly(t, "lane, between", between, 1)
			gray.exactly(t, "lane, new", tagged, 1)
		})
	}
}

// TestMembersStartAtOnce starts several instances of each kind together on messages that wait: each is handled once.
func TestMembersStartAtOnce(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	w.createTopic(8)
	p := w.producer("")
	plain, tagged := w.send(p, "", 40), w.send(p, "gray", 40)
	base, gray := newSink(), newSink()
	var wg sync.WaitGroup
	for i := range 6 {
		tag, s := graylib.Untagged, base
		if i%2 == 1 {
			tag, s = "gray", gray
		}
		c := w.open(tag, s, nil, []consumer.Option{consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)})
		wg.Go(func() {
			if err := c.Start(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "all are handled", func() bool { return base.all(plain) && gray.all(tagged) })
	base.exactly(t, "baseline, gray", tagged, 0)
	gray.exactly(t, "lane, untagged", plain, 0)
}

// TestQueuesAdded checks that queues which come later are consumed from their beginning.
func TestQueuesAdded(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	w.createTopic(2)
	s := newSink()
	first := w.consumer("", s)
	early := w.send(w.producer(""), "", 8)
	eventually(t, "the first are handled", func() bool { return s.all(early) })
	w.shutdown(first)
	w.createTopic(6)
	more := w.send(w.producer(""), "", 24)
	w.consumer("", s)
	eventually(t, "those on the new queues too", func() bool { return s.all(more) })
	s.exactly(t, "before", early, 1)
	s.exactly(t, "after", more, 1)
}

// TestModes switches between the modes while everything runs.
func TestModes(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAll, "gray"))
	base, gray := newSink(), newSink()
	reporter := &graylibtest.Reporter{}
	start(t, w.open("", base, reporter, nil))
	w.consumer("gray", gray)
	p := w.producer("")
	for round := range 4 {
		mode, copies := graylib.ModeAll, 1
		if round%2 == 1 {
			mode, copies = graylib.ModeIgnore, 0
		}
		w.source.put(listed(mode, "gray"))
		ids := w.send(p, "gray", 10)
		skipped := func() bool {
			n := 0
			for _, e := range reporter.Events() {
				if e.Kind == graylib.EventFinished && e.Result == graylib.ResultSkipped && e.Reason == "mode ignore" && slices.Contains(ids, e.ID) {
					n++
				}
			}
			return n == len(ids)
		}
		eventually(t, fmt.Sprintf("round %d, mode %s: all are through", round, mode), func() bool {
			return gray.all(ids) && (base.all(ids) || copies == 0 && skipped())
		})
		base.exactly(t, "baseline, mode "+string(mode), ids, copies)
		gray.exactly(t, "lane, mode "+string(mode), ids, 1)
	}
	for _, e := range reporter.Events() {
		if e.Kind != graylib.EventFinished || e.Result == graylib.ResultSkipped {
			continue
		}
		if len(e.Hops) != 1 || e.Hops[0].Reason != graylib.ReasonBaseline || e.Hops[0].RequestTag != "gray" || e.Reason != "copy" {
			t.Errorf("a copy beside a live lane is reported as %+v", e)
		}
	}
}

// TestStraysAndDeadLanes checks what the baseline does with tags that no live lane answers to.
func TestStraysAndDeadLanes(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAll, "gray"))
	base := newSink()
	reporter := &graylibtest.Reporter{}
	start(t, w.open("", base, reporter, nil))
	p := w.producer("")
	dead, unlisted := w.send(p, "gray", 3), w.send(p, "unlisted", 3)

	raw, err := rocketmq.NewProducer(producer.WithNameServer([]string{w.namesrv}), producer.WithGroupName("P-raw"), producer.WithInstanceName(newUUID()))
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Shutdown() }()
	bad := primitive.NewMessage(w.topic, []byte("x"))
	bad.WithProperty("gray_tag", "NOT A TAG'")
	r, err := raw.SendSync(t.Context(), bad)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the baseline has them all", func() bool { return base.all(dead) && base.all(unlisted) && base.times(r.MsgID) == 1 })
	if got := base.tag(unlisted[0]); got != "unlisted" {
		t.Errorf("falling back dropped the tag: %q", got)
	}
	if got := base.tag(r.MsgID); got != "" {
		t.Errorf("a malformed tag got into the context: %q", got)
	}
	for _, e := range reporter.Events() {
		if e.Kind != graylib.EventFinished {
			continue
		}
		want := graylib.ReasonNoInstance
		if e.ID == r.MsgID {
			want = graylib.ReasonBaseline
		}
		if len(e.Hops) != 1 || e.Hops[0].Reason != want {
			t.Errorf("reason of the hop in %+v, want %s", e, want)
		}
	}
}

// TestLaneListedLater starts an instance whose lane is not listed, lists it, and drops it.
func TestLaneListedLater(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore))
	base, gray := newSink(), newSink()
	w.consumer("", base)
	c := w.consumer("gray", gray)
	if got := c.Groups(); len(got) != 0 {
		t.Fatalf("joined %v though its lane is not listed", got)
	}
	if !c.rt.Status().Ready {
		t.Errorf("not ready: %v", c.rt.Status().NotReady)
	}
	w.source.put(listed(graylib.ModeIgnore, "gray"))
	eventually(t, "it joins", func() bool { return len(c.Groups()) == 1 })
	ids := w.send(w.producer(""), "gray", 10)
	eventually(t, "the lane handles them", func() bool { return gray.all(ids) })
	base.exactly(t, "baseline", ids, 0)
	w.source.put(listed(graylib.ModeIgnore))
	eventually(t, "it leaves", func() bool { return len(c.Groups()) == 0 })
	ids = w.send(w.producer(""), "gray", 10)
	eventually(t, "the baseline handles the strays", func() bool { return base.all(ids) })
	gray.exactly(t, "lane", ids, 0)
}

// TestClientFilterAndTags checks filter: client, with tag lists of the application's own in both filters.
func TestClientFilterAndTags(t *testing.T) {
	for _, filter := range []graylib.Filter{graylib.FilterServer, graylib.FilterClient} {
		t.Run(string(filter), func(t *testing.T) {
			r := listed(graylib.ModeIgnore, "gray")
			r.Consume.Filter = filter
			w := newWorld(t, r)
			base, gray := newSink(), newSink()
			cb, cg := w.open("", base, nil, nil), w.open("gray", gray, nil, nil)
			want := consumer.MessageSelector{Type: consumer.TAG, Expression: "buy || it's"}
			for _, c := range []*Consumer{cb, cg} {
				s := base
				if c == cg {
					s = gray
				}
				if err := c.Subscribe(w.topic, want, s.handle); err != nil {
					t.Fatal(err)
				}
				start(t, c)
			}
			p := w.producer("")
			send := func(tag graylib.Tag, topicTag string) string {
				m := primitive.NewMessage(w.topic, []byte("x"))
				if topicTag != "" {
					m.WithTag(topicTag)
				}
				r, err := p.SendSync(graylib.WithTag(t.Context(), tag), m)
				if err != nil {
					t.Fatal(err)
				}
				return r.MsgID
			}
			var no, plain, tagged []string
			for range 4 {
				no = append(no, send("", "sell"), send("gray", "sell"), send("", ""), send("gray", ""))
				plain = append(plain, send("", "buy"), send("", "it's"))
				tagged = append(tagged, send("gray", "buy"), send("gray", "it's"))
			}
			eventually(t, "the wanted ones are handled", func() bool { return base.all(plain) && gray.all(tagged) })
			base.exactly(t, "baseline, unwanted", no, 0)
			gray.exactly(t, "lane, unwanted", no, 0)
			base.exactly(t, "baseline, gray", tagged, 0)
			gray.exactly(t, "lane, untagged", plain, 0)
		})
	}
}

// TestSuspend checks that nothing is taken while suspended, and nothing lost.
func TestSuspend(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	s := newSink()
	c := w.consumer("", s)
	p := w.producer("")
	before := w.send(p, "", 8)
	eventually(t, "it runs", func() bool { return s.all(before) })
	c.Suspend()
	held := w.send(p, "", 8)
	probe := w.group + "-probe" // a second group shows that the messages are there to be had
	other := newSink()
	c2 := w.open("", other, nil, []consumer.Option{consumer.WithGroupName(probe), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)})
	start(t, c2)
	eventually(t, "another group has them", func() bool { return other.all(held) })
	s.exactly(t, "suspended", held, 0)
	c.Resume()
	eventually(t, "they come after Resume", func() bool { return s.all(held) })
	s.exactly(t, "resumed", held, 1)
}

// TestShutdownRepeatsNothing stops and starts consumers under load: what was begun is finished and committed.
func TestShutdownRepeatsNothing(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	w.createTopic(4)
	s := newSink()
	s.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult {
		time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond) // work, of uneven length
		return consumer.ConsumeSuccess
	}
	c := w.consumer("", s)
	p := w.producer("")
	ctx, stop := context.WithCancel(t.Context())
	var ids []string
	var sending sync.WaitGroup
	sending.Go(func() {
		for ctx.Err() == nil {
			r, err := p.SendSync(t.Context(), primitive.NewMessage(w.topic, []byte("x")))
			if err != nil {
				t.Error(err)
				return
			}
			ids = append(ids, r.MsgID)
		}
	})
	for range 5 {
		n := s.size()
		eventually(t, "some are handled", func() bool { return s.size() > n+100 })
		w.shutdown(c)
		c = w.consumer("", s)
	}
	stop()
	sending.Wait()
	eventually(t, "all are handled", func() bool { return s.all(ids) })
	s.exactly(t, "over five restarts", ids, 1)
	t.Logf("%d messages", len(ids))
}

// TestShutdownPastDrain checks the error, and that what was cut off comes again.
func TestShutdownPastDrain(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	s := newSink()
	hang := make(chan struct{})
	defer close(hang)
	s.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult {
		<-hang
		return consumer.ConsumeSuccess
	}
	c := w.consumer("", s, WithDrain(50*time.Millisecond))
	ids := w.send(w.producer(""), "", 1)
	eventually(t, "the handler runs", func() bool { return s.all(ids) })
	if err := c.Shutdown(); !errors.Is(err, ErrDrain) {
		t.Errorf("Shutdown gave %v, want ErrDrain", err)
	}
	again := newSink()
	w.consumer("", again)
	eventually(t, "the message comes again", func() bool { return again.all(ids) })
}

// TestBackgroundStart starts before there is a name server.
func TestBackgroundStart(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // nobody there yet

	s := newSink()
	failing := w.open("", s, nil, []consumer.Option{consumer.WithNameServer([]string{addr})})
	if err := failing.Start(); !errors.Is(err, remoting.ErrUnreachable) {
		t.Errorf("Start gave %v, want ErrUnreachable", err)
	}
	c := w.open("", s, nil, []consumer.Option{consumer.WithNameServer([]string{addr})}, WithBackgroundStart())
	start(t, c)
	st := c.rt.Status()
	if st.Ready || len(st.NotReady) != 1 || !strings.Contains(st.NotReady[0], addr) {
		t.Errorf("status is ready %v, %v: want not ready, because of %s", st.Ready, st.NotReady, addr)
	}
	forward(t, addr, w.namesrv)
	eventually(t, "it is ready", func() bool { return c.rt.Status().Ready })
	ids := w.send(w.producer(""), "", 4)
	eventually(t, "it serves", func() bool { return s.all(ids) })
}

// forward is a name server's stand-in at another address.
func forward(t *testing.T, addr, to string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
}

// TestWithoutCreation names what is missing.
func TestWithoutCreation(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	c := w.open("", newSink(), nil, nil, WithoutCreation())
	if err := c.Start(); !errors.Is(err, ErrNoTopics) || !strings.Contains(err.Error(), w.topic) {
		t.Errorf("Start gave %v, want ErrNoTopics with the topic", err)
	}
}

// TestRulesUnknown: before any rules document tagged messages wait.
func TestRulesUnknown(t *testing.T) {
	w := newWorld(t, &graylibtest.Rules{Consume: graylib.NoRules.Consumption("", "", "")})
	w.source.origin.Store("none")
	base := newSink()
	c := w.consumer("", base)
	p := w.producer("")
	tagged, plain := w.send(p, "gray", 5), w.send(p, "", 5)
	eventually(t, "untagged messages are handled", func() bool { return base.all(plain) })
	base.exactly(t, "rules unknown", tagged, 0)
	w.source.origin.Store("nacos")
	w.source.put(listed(graylib.ModeAll, "gray"))
	eventually(t, "tagged ones when rules are known", func() bool { return base.all(tagged) })
	if got := c.Groups(); len(got) != 2 {
		t.Errorf("member of %v, want two groups", got)
	}
}

func start(t *testing.T, c *Consumer) {
	t.Helper()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
}
