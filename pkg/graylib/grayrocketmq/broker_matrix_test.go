package grayrocketmq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
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

// Properties of a matrix's messages.
const (
	propOutcome = "outcome" // what the handler does: "ok", "retry" fails once, "dead" fails always
	propState   = "state"   // what the local transaction says: "commit", "roll back", or unknown and then what a check says
)

// matrixRetries is how often a message that fails is delivered again.
const matrixRetries = 2

// matrixMessage is one message that was sent.
type matrixMessage struct {
	id      string
	what    string // for failures
	outcome string
	tag     graylib.Tag // that it bears
	never   bool        // it was rolled back
}

// senders are an instance's producers: one for each way that needs one of its own.
type senders struct {
	plain, ordered rocketmq.Producer
	tx             rocketmq.TransactionProducer
}

// way is how a message comes by its tag.
type way struct {
	name string
	ctx  graylib.Tag // the context's
	own  graylib.Tag // the producer's instance's
	body string
	tag  graylib.Tag // that the message is to bear
}

var ways = []way{
	{name: "tagged", ctx: "gray", body: "x", tag: "gray"},
	{name: "untagged", body: "x"},
	{name: "marked by payload", body: "xiaoming", tag: "gray"},
	{name: "coloured from node", own: "gray", body: "x", tag: "gray"},
}

var outcomes = []string{"ok", "retry", "dead"}

// matrix is one world with everything running, and what was sent in it.
type matrix struct {
	*world
	book *ledger
	by   map[graylib.Tag]senders
	back rocketmq.Producer // of replies

	replying sync.Mutex // the client refuses messages to a topic while it asks for its route: replies go one after the other

	live bool // the lane's consumer is there from the beginning
	mode graylib.Mode

	mu   sync.Mutex
	sent []matrixMessage
}

func (x *matrix) note(m matrixMessage) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent = append(x.sent, m)
}

// act does what the message says, and replies where somebody asked.
func (x *matrix) act(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
	switch m.GetProperty(propOutcome) {
	case "retry":
		if m.ReconsumeTimes == 0 {
			return consumer.ConsumeRetryLater
		}
	case "dead":
		return consumer.ConsumeRetryLater
	}
	if m.GetProperty(primitive.PropertyCorrelationID) != "" {
		reply, err := consumer.CreateReplyMessage(m, nil)
		if err != nil {
			x.t.Error(err)
			return consumer.ConsumeSuccess
		}
		reply.Body = []byte("reply to " + m.MsgId)
		x.replying.Lock()
		_, err = x.back.SendSync(ctx, reply)
		x.replying.Unlock()
		if err != nil && !x.ended.Load() {
			// The second of two repliers (mode all) finds nobody waiting any more.
			x.t.Logf("reply to %s: %v", m.MsgId, err)
		}
	}
	return consumer.ConsumeSuccess
}

// matrixListener decides transactions as their messages say.
type matrixListener struct{ checked *sync.Map }

func (matrixListener) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	switch m.GetProperty(propState) {
	case "commit":
		return primitive.CommitMessageState
	case "roll back":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (l matrixListener) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	l.checked.Store(m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex), m.GetProperty("gray_tag"))
	if m.GetProperty(propState) == "unknown, then commit" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (x *matrix) senders(own graylib.Tag, checked *sync.Map) senders {
	x.t.Helper()
	s := senders{plain: x.producer(own)}
	x.send(s.plain, "", 1) // see known
	var err error
	s.ordered, err = OpenProducer([]producer.Option{producer.WithGroupName("O-" + x.group), producer.WithQueueSelector(producer.NewHashQueueSelector())},
		WithProducerRuntime(x.runtime("c", own, nil)))
	if err != nil {
		x.t.Fatal(err)
	}
	s.tx, err = OpenTransactionProducer(matrixListener{checked}, []producer.Option{producer.WithGroupName("X-" + x.group)},
		WithProducerRuntime(x.runtime("c", own, nil)))
	if err != nil {
		x.t.Fatal(err)
	}
	if err := s.ordered.Start(); err != nil {
		x.t.Fatal(err)
	}
	if err := s.tx.Start(); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _, _ = s.ordered.Shutdown(), s.tx.Shutdown() })
	m := primitive.NewMessage(x.topic, []byte("see known"))
	m.WithProperty(propState, "roll back")
	if _, err := s.tx.SendMessageInTransaction(context.Background(), m); err != nil {
		x.t.Fatal(err)
	}
	return s
}

// known waits until the broker knows the producers of a group, by their heartbeats: it hands replies, and asks for
// transactions, to none else. The client sends its first one a second after its start, to the brokers that it has met by
// then, and the next 30 s later.
func (x *matrix) known(group string, n int) {
	x.t.Helper()
	brokers, err := x.api.Brokers(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	const producersOf = 204 // GET_PRODUCER_CONNECTION_LIST
	for _, addr := range brokers {
		eventually(x.t, "the broker knows the producers of "+group, func() bool {
			answer, err := x.api.Invoke(x.t.Context(), addr, remoting.Command{Code: producersOf, Ext: map[string]string{"producerGroup": group}})
			return err == nil && bytes.Count(answer.Body, []byte(`"clientId"`)) >= n
		})
	}
}

// message makes one of a kind, a way and an outcome; noted says afterwards that it was sent.
func (x *matrix) message(kind string, w way, outcome string) (m *primitive.Message, noted func(never bool)) {
	m = primitive.NewMessage(x.topic, []byte(w.body))
	m.WithProperty(propOutcome, outcome)
	m.WithProperty(primitive.PropertyUniqueClientMessageIdKeyIndex, primitive.CreateUniqID()) // a send that succeeds takes the client's off again
	return m, func(never bool) {
		x.note(matrixMessage{
			id: m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex), what: kind + ", " + w.name + ", " + outcome,
			outcome: outcome, tag: w.tag, never: never,
		})
	}
}

// sendKinds are the kinds of sending; each sends one message per outcome.
var sendKinds = []struct {
	name string
	send func(x *matrix, ctx context.Context, kind string, w way) error
}{
	{"sync", func(x *matrix, ctx context.Context, kind string, w way) error {
		for _, outcome := range outcomes {
			m, noted := x.message(kind, w, outcome)
			if _, err := x.by[w.own].plain.SendSync(ctx, m); err != nil {
				return err
			}
			noted(false)
		}
		return nil
	}},
	{"async", func(x *matrix, ctx context.Context, kind string, w way) error {
		for _, outcome := range outcomes {
			m, noted := x.message(kind, w, outcome)
			answer := make(chan error, 1)
			err := x.by[w.own].plain.SendAsync(ctx, func(_ context.Context, _ *primitive.SendResult, err error) { answer <- err }, m)
			if err == nil {
				err = <-answer
			}
			if err != nil {
				return err
			}
			noted(false)
		}
		return nil
	}},
	{"one-way", func(x *matrix, ctx context.Context, kind string, w way) error {
		for _, outcome := range outcomes {
			m, noted := x.message(kind, w, outcome)
			if err := x.by[w.own].plain.SendOneWay(ctx, m); err != nil {
				return err
			}
			noted(false)
		}
		return nil
	}},
	{"batch", func(x *matrix, ctx context.Context, kind string, w way) error {
		var list []*primitive.Message
		var all []func(bool)
		for _, outcome := range outcomes {
			m, noted := x.message(kind, w, outcome)
			list, all = append(list, m), append(all, noted)
		}
		if w.name == "marked by payload" { // a batch of both sorts is legal
			m, noted := x.message(kind+" with others", way{name: "untagged", body: "x"}, "ok")
			list, all = append(list, m), append(all, noted)
		}
		if _, err := x.by[w.own].plain.SendSync(ctx, list...); err != nil {
			return err
		}
		for _, noted := range all {
			noted(false)
		}
		return nil
	}},
	{"delayed", func(x *matrix, ctx context.Context, kind string, w way) error {
		for _, outcome := range outcomes {
			m, noted := x.message(kind, w, outcome)
			if _, err := x.by[w.own].plain.SendSync(ctx, m.WithDelayTimeLevel(2)); err != nil {
				return err
			}
			noted(false)
		}
		return nil
	}},
	{"ordered", func(x *matrix, ctx context.Context, kind string, w way) error {
		queue := -1
		for _, outcome := range outcomes {
			m, noted := x.message(kind, w, outcome)
			r, err := x.by[w.own].ordered.SendSync(ctx, m.WithShardingKey(w.name))
			if err != nil {
				return err
			}
			if queue >= 0 && r.MessageQueue.QueueId != queue {
				return fmt.Errorf("one sharding key, two queues: %d and %d", queue, r.MessageQueue.QueueId)
			}
			queue = r.MessageQueue.QueueId
			noted(false)
		}
		return nil
	}},
	{"transaction", func(x *matrix, ctx context.Context, kind string, w way) error {
		for _, state := range []string{"commit", "roll back", "unknown, then commit", "unknown, then roll back"} {
			for _, outcome := range outcomes {
				never := strings.HasSuffix(state, "roll back")
				if never && outcome != "ok" {
					continue // nobody handles it
				}
				m, noted := x.message(kind+" "+state, w, outcome)
				m.WithProperty(propState, state)
				if _, err := x.by[w.own].tx.SendMessageInTransaction(ctx, m); err != nil {
					return err
				}
				noted(never)
			}
		}
		return nil
	}},
	{"request", func(x *matrix, ctx context.Context, kind string, w way) error {
		for _, outcome := range []string{"ok", "retry"} {
			m, noted := x.message(kind, w, outcome)
			if err := x.request(ctx, m, w, noted); err != nil {
				return err
			}
		}
		return nil
	}},
	{"async request", func(x *matrix, ctx context.Context, kind string, w way) error {
		m, noted := x.message(kind, w, "ok")
		type answer struct {
			reply *primitive.Message
			err   error
		}
		got := make(chan answer, 1)
		err := x.by[w.own].plain.RequestAsync(ctx, x.ttl(w), func(_ context.Context, reply *primitive.Message, err error) {
			select {
			case got <- answer{reply, err}:
			default: // the client calls it again when it forgets the request
			}
		}, m)
		if err != nil {
			return err
		}
		noted(false)
		if x.silent(w) {
			return nil // the client tells of a timeout when it next cleans up, after minutes
		}
		timer := time.NewTimer(x.ttl(w))
		defer timer.Stop()
		select {
		case a := <-got:
			return x.replied(a.reply, a.err, m, w)
		case <-timer.C:
			return errors.New("the callback was not called")
		}
	}},
}

// silent tells whether nobody is to handle a message, and so to reply.
func (x *matrix) silent(w way) bool {
	return w.tag != "" && !x.live && x.mode == graylib.ModeIgnore
}

func (x *matrix) ttl(w way) time.Duration {
	if x.silent(w) {
		return time.Second
	}
	return within / 3
}

func (x *matrix) request(ctx context.Context, m *primitive.Message, w way, noted func(bool)) error {
	reply, err := x.by[w.own].plain.Request(ctx, x.ttl(w), m)
	noted(false)
	if x.silent(w) {
		if err == nil {
			return fmt.Errorf("a request that nobody handles has the reply %q", reply.Body)
		}
		return nil
	}
	return x.replied(reply, err, m, w)
}

// replied checks a reply: it is that to the message, and bears its tag.
func (x *matrix) replied(reply *primitive.Message, err error, m *primitive.Message, w way) error {
	id := m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex)
	if err != nil {
		return fmt.Errorf("%w, outcome %s, deliveries %v", err, m.GetProperty(propOutcome), x.book.deliveries(id))
	}
	if reply == nil {
		return fmt.Errorf("no reply to %s, and no error", m)
	}
	if want := "reply to " + id; string(reply.Body) != want {
		return fmt.Errorf("the reply is %q, want %q", reply.Body, want)
	}
	if got := reply.GetProperty("gray_tag"); got != string(w.tag) {
		return fmt.Errorf("the reply bears the tag %q, want %q", got, w.tag)
	}
	return nil
}

// want is where a message is to be handled, and how often there, by design/messages.md.
func (x *matrix) want(m matrixMessage) map[string]int {
	n := map[string]int{"ok": 1, "retry": 2, "dead": 1 + matrixRetries}[m.outcome]
	base, lane, tagged := x.group, graylib.LaneGroup(x.group, "gray"), graylib.TaggedGroup(x.group)
	switch {
	case m.never:
		return nil
	case m.tag == "":
		return map[string]int{"baseline " + base: n}
	case x.live && x.mode == graylib.ModeAll:
		return map[string]int{"lane " + lane: n, "baseline " + tagged: n}
	case x.live:
		return map[string]int{"lane " + lane: n}
	case x.mode == graylib.ModeIgnore:
		return nil
	}
	return map[string]int{"baseline " + lane: n} // a stand-in
}

// TestMatrix sends by every kind, in every way of coming by a tag, and with every outcome, with the lane alive and not, in each
// mode: each message is handled where design/messages.md says, as often as it says, and over all groups nowhere else.
func TestMatrix(t *testing.T) {
	for _, lane := range []string{"lane alive", "no lane"} {
		for _, mode := range []graylib.Mode{graylib.ModeAuto, graylib.ModeIgnore, graylib.ModeAll} {
			t.Run(lane+", "+string(mode), func(t *testing.T) {
				t.Parallel()
				testMatrix(t, lane == "lane alive", mode)
			})
		}
	}
}

func matrixRules(mode graylib.Mode) *graylibtest.Rules {
	r := listed(mode, "gray")
	r.List[0].ColourFromNode = true
	r.MarkFunc = func(_, _ string, msg graylib.Request) (graylib.Tag, bool) {
		return "gray", string(msg.Body()) == "xiaoming"
	}
	return r
}

func testMatrix(t *testing.T, live bool, mode graylib.Mode) {
	x := &matrix{world: newWorld(t, matrixRules(mode)), book: newLedger(), by: make(map[graylib.Tag]senders), live: live, mode: mode}
	x.createTopic(4)
	reporter := &graylibtest.Reporter{}
	checked := new(sync.Map)
	x.back = x.producer("")
	for _, own := range []graylib.Tag{"", "gray"} {
		x.by[own] = x.senders(own, checked)
	}
	x.known("P-"+x.group, len(x.by))
	x.known("X-"+x.group, 1)
	x.known(graylib.LaneGroup("X-"+x.group, "gray"), 1)
	client := []consumer.Option{consumer.WithMaxReconsumeTimes(matrixRetries)}
	base := x.open("", x.book.sink("baseline", x.act), reporter, client)
	start(t, base)
	if live {
		lane := x.open("gray", x.book.sink("lane", x.act), nil, client)
		start(t, lane)
		x.laneOwns(lane)
		x.knowsLane(base)
	}
	var wg sync.WaitGroup
	for _, kind := range sendKinds {
		for _, w := range ways {
			wg.Go(func() {
				ctx := graylib.WithTag(context.Background(), w.ctx)
				if err := kind.send(x, ctx, kind.name, w); err != nil {
					t.Errorf("%s, %s: %v", kind.name, w.name, err)
				}
			})
		}
	}
	wg.Wait()
	x.judge("as it stands", reporter)

	if !live && mode == graylib.ModeIgnore {
		// What waited is the lane's when it comes.
		start(t, x.open("gray", x.book.sink("lane", x.act), nil, client))
		x.live = true
		x.judge("when the lane has come", nil)
	}
	x.deadLetters()
	n := 0
	checked.Range(func(any, any) bool { n++; return true })
	t.Logf("%d messages of %d kinds, %d of them asked for by the broker's checks", len(x.sent), len(sendKinds), n)
	for _, m := range x.sent {
		if tag, ok := checked.Load(m.id); ok && tag != string(m.tag) {
			t.Errorf("%s: the check saw the tag %q, want %q", m.what, tag, m.tag)
		}
	}
}

// judge waits until every message was handled as wanted, and where the baseline skips tagged ones has been through them.
func (x *matrix) judge(when string, reporter *graylibtest.Reporter) {
	t := x.t
	t.Helper()
	// passed are the messages that <group>__tagged has skipped or handled to the end.
	passed := func() map[string]bool {
		ids := make(map[string]bool)
		for _, e := range reporter.Events() {
			if e.Kind == graylib.EventFinished && e.Group == graylib.TaggedGroup(x.group) {
				ids[e.ID] = true
			}
		}
		return ids
	}
	done := func() bool {
		var through map[string]bool
		if reporter != nil {
			through = passed()
		}
		return !slices.ContainsFunc(x.sent, func(m matrixMessage) bool {
			return !x.book.is(m.id, x.want(m)) || reporter != nil && m.tag != "" && !m.never && !through[m.id]
		})
	}
	reached(within, done)
	for _, m := range x.sent {
		want := x.want(m)
		if got := x.book.places(m.id); !maps.Equal(got, want) {
			t.Errorf("broke G3 to G6, %s: %s (%s) was handled %v, want %v: %v", when, m.what, m.id, got, want, x.book.deliveries(m.id))
		}
		for _, h := range x.book.deliveries(m.id) {
			if h.tag != m.tag {
				t.Errorf("broke G3 propagation, %s: %s was handled with the tag %q, want %q", when, m.what, h.tag, m.tag)
			}
		}
	}
}

// deadLetters checks that what always fails is a dead letter, once, of each group that handled it, and nothing else is.
func (x *matrix) deadLetters() {
	t := x.t
	t.Helper()
	want := make(map[string]int) // "<group> <what>" -> 1
	groups := make(map[string]bool)
	names := make(map[string]string)
	for _, m := range x.sent {
		names[m.id] = m.what
		if m.outcome != "dead" {
			continue
		}
		for place := range x.want(m) {
			_, group, _ := strings.Cut(place, " ")
			groups[group] = true
			want[group+" "+m.what] = 1
		}
	}
	var got map[string]int
	look := func() bool {
		got = make(map[string]int)
		for group := range groups {
			for _, m := range x.stored("%DLQ%" + group) {
				got[group+" "+names[m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex)]]++
				if tag, what := m.GetProperty("gray_tag"), names[m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex)]; (tag == "") != strings.Contains(what, "untagged") {
					t.Errorf("broke G3 propagation: the dead letter of %s bears the tag %q", what, tag)
				}
			}
		}
		return maps.Equal(got, want)
	}
	if !reached(within, look) {
		t.Errorf("dead letters: got %v, want %v", got, want)
	}
}
