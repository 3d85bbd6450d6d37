package grayrocketmq

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/hooks"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func unitRuntime(t *testing.T, tag graylib.Tag, r *graylibtest.Rules, opts ...graylib.Option) *graylib.Runtime {
	t.Helper()
	rt, err := graylib.New(graylib.Identity{Service: "c", Tag: tag}, append(opts, graylib.WithRules(newRuleSource(r)))...)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// TestMarking goes through the order of design/messages.md.
func TestMarking(t *testing.T) {
	rules := listed(graylib.ModeAll, "gray", "node", "mine")
	rules.List[1].ColourFromNode = true
	rules.MarkFunc = func(producer, topic string, msg graylib.Request) (graylib.Tag, bool) {
		v, _ := msg.Value(graylib.FromProperty, "user", 0)
		k, ok := msg.Value(graylib.FromKeys, "", 1)
		return "marked", producer == "c" && topic == "T" && v == "xiaoming" && ok && k == "k2" && string(msg.Body()) == "body"
	}
	own := func(_ context.Context, m *primitive.Message) graylib.Tag { return graylib.Tag(m.GetProperty("own")) }
	tagged := graylib.WithTag(context.Background(), "gray")
	arrived := func(rt *graylib.Runtime) context.Context {
		ctx, _ := rt.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
		return ctx
	}
	for _, tc := range []struct {
		name       string
		tag        graylib.Tag
		ctx        context.Context
		user, mark string
		want, env  string
	}{
		{"context before all", "node", tagged, "xiaoming", "mine", "gray", "node"},
		{"mark rule before the function", "node", context.Background(), "xiaoming", "mine", "marked", "node"},
		{"function before the node", "node", context.Background(), "", "mine", "mine", "node"},
		{"the node", "node", context.Background(), "", "", "node", "node"},
		{"a node without colourFromNode", "gray", context.Background(), "", "", "", "gray"},
		{"nothing", "", context.Background(), "", "", "", ""},
		{"the function's unlisted tag", "", context.Background(), "", "unlisted", "", ""},
		{"the function's nonsense", "", context.Background(), "", "N O", "", ""},
		{"arrived without a tag", "", nil, "", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rt := unitRuntime(t, tc.tag, rules)
			ctx := tc.ctx
			if ctx == nil {
				ctx = arrived(rt)
			}
			m := primitive.NewMessage("T", []byte("body")).WithKeys([]string{"k1", "k2"})
			m.WithProperty("user", tc.user)
			m.WithProperty("own", tc.mark)
			before := m.GetProperties()
			stamps, err := stampAll(ctx, rt, own, []*primitive.Message{m})
			if err != nil {
				t.Fatal(err)
			}
			if got := m.GetProperty("gray_tag"); got != tc.want || string(stamps[0].tag) != tc.want {
				t.Errorf("marked %q, stamp %q, want %q", got, stamps[0].tag, tc.want)
			}
			if got := m.GetProperty("gray_env"); got != tc.env {
				t.Errorf("env %q, want %q", got, tc.env)
			}
			for k, v := range m.GetProperties() {
				if v == "" {
					t.Errorf("property %s is empty", k)
				}
			}
			unstamp(stamps)
			if diff := cmp.Diff(before, m.GetProperties()); diff != "" {
				t.Errorf("the application's message is not as it was (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStampTraceAndBatch(t *testing.T) {
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	rt := unitRuntime(t, "", listed(graylib.ModeAll, "gray"))
	ctx, err := graylib.Extract(context.Background(), graylib.HTTPKeys, graylib.MapCarrier{
		"x-gray-tag": "gray", "x-request-id": "r1", "traceparent": trace, "tracestate": "a=b",
	})
	if err != nil {
		t.Fatal(err)
	}
	own := primitive.NewMessage("T", nil)
	own.WithProperty("traceparent", "a tracer's own")
	msgs := []*primitive.Message{primitive.NewMessage("T", nil), own}
	stamps, err := stampAll(ctx, rt, nil, msgs)
	if err != nil {
		t.Fatal(err)
	}
	p := msgs[0].GetProperties()
	id := p[primitive.PropertyUniqueClientMessageIdKeyIndex]
	delete(p, primitive.PropertyUniqueClientMessageIdKeyIndex)
	want := map[string]string{"gray_tag": "gray", "gray_request_id": "r1", "traceparent": trace, "tracestate": "a=b"}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
	if id == "" || id == stamps[1].id() {
		t.Errorf("a batch's messages have ids %q and %q, want two", id, stamps[1].id())
	}
	unstamp(stamps)
	if got := own.GetProperty("traceparent"); got != "a tracer's own" {
		t.Errorf("a tracer's property became %q", got)
	}
}

// answering is a client's producer that gives ids as the client does, and fails where it is told to.
type answering struct {
	rocketmq.Producer
	fail error
	ids  []string
}

func (p *answering) SendSync(_ context.Context, msgs ...*primitive.Message) (*primitive.SendResult, error) {
	for _, m := range msgs {
		const key = primitive.PropertyUniqueClientMessageIdKeyIndex
		if m.GetProperty(key) == "" {
			m.WithProperty(key, primitive.CreateUniqID())
		}
		p.ids = append(p.ids, m.GetProperty(key))
	}
	return primitive.NewSendResult(), p.fail
}

// TestMessageSentAgain: one Message sent twice is two messages, unless the first send failed or the application gave it its id.
func TestMessageSentAgain(t *testing.T) {
	rt := unitRuntime(t, "", listed(graylib.ModeAll))
	for _, tc := range []struct {
		name string
		msgs int
		id   string
		fail error
		same bool
	}{
		{"acknowledged", 1, "", nil, false},
		{"a batch", 3, "", nil, false},
		{"failed", 1, "", errors.New("no answer"), true},
		{"a batch that failed", 3, "", errors.New("no answer"), true},
		{"the application's id", 1, "mine", nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client := &answering{fail: tc.fail}
			p, err := WrapProducer(client, nil, WithProducerRuntime(rt))
			if err != nil {
				t.Fatal(err)
			}
			msgs := make([]*primitive.Message, tc.msgs)
			for i := range msgs {
				msgs[i] = primitive.NewMessage("T", nil)
				msgs[i].WithProperty(primitive.PropertyUniqueClientMessageIdKeyIndex, tc.id)
			}
			for range 2 {
				if _, err := p.SendSync(t.Context(), msgs...); !errors.Is(err, tc.fail) {
					t.Fatal(err)
				}
			}
			if first, again := client.ids[:tc.msgs], client.ids[tc.msgs:]; slices.Contains(client.ids, "") || slices.Equal(first, again) != tc.same {
				t.Errorf("sent as %q, then as %q", first, again)
			}
		})
	}
}

// TestMessageSentAgainAfterAnError: the id that a failed send leaves is that of the next try, and of no message after it.
func TestMessageSentAgainAfterAnError(t *testing.T) {
	client := &answering{}
	p, err := WrapProducer(client, nil, WithProducerRuntime(unitRuntime(t, "", listed(graylib.ModeAll))))
	if err != nil {
		t.Fatal(err)
	}
	msg := primitive.NewMessage("T", nil)
	for _, fail := range []error{errors.New("no answer"), errors.New("again"), nil, nil} {
		client.fail = fail
		if _, err := p.SendSync(t.Context(), msg); !errors.Is(err, fail) {
			t.Fatal(err)
		}
	}
	ids := client.ids
	if len(ids) != 4 || ids[0] != ids[1] || ids[1] != ids[2] || ids[2] == ids[3] || ids[3] == "" {
		t.Errorf("sent as %q: want one id until it is acknowledged, and another one then", ids)
	}
	if left := msg.GetProperties(); len(left) != 0 {
		t.Errorf("left on the message: %v", left)
	}
}

func TestReservedProperty(t *testing.T) {
	rt := unitRuntime(t, "", listed(graylib.ModeAll, "gray"))
	for _, key := range []string{"gray_tag", "gray_env", "gray_request_id"} {
		good, bad := primitive.NewMessage("T", nil), primitive.NewMessage("T", nil)
		bad.WithProperty(key, "x")
		_, err := stampAll(graylib.WithTag(t.Context(), "gray"), rt, nil, []*primitive.Message{good, bad})
		if !errors.Is(err, ErrReservedProperty) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v, want ErrReservedProperty that names it", key, err)
		}
		if got := len(good.GetProperties()); got != 0 {
			t.Errorf("%s: the other message of a refused batch has %d properties", key, got)
		}
	}
}

func TestWrapProducer(t *testing.T) {
	rt := unitRuntime(t, "", listed(graylib.ModeAll))
	failed := errors.New("no producer")
	if p, err := WrapProducer(nil, failed, WithProducerRuntime(rt)); p != nil || !errors.Is(err, failed) {
		t.Errorf("WrapProducer(nil, err) = %v, %v", p, err)
	}
	raw, err := producer.NewDefaultProducer(producer.WithNameServer([]string{"127.0.0.1:1"}), producer.WithInstanceName(newUUID()))
	once, err := WrapProducer(raw, err, WithProducerRuntime(rt))
	if err != nil {
		t.Fatal(err)
	}
	if once == raw {
		t.Error("not wrapped")
	}
	if twice, err := WrapProducer(once, nil, WithProducerRuntime(rt)); err != nil || twice != once {
		t.Errorf("wrapping twice gave %v, %v, want the same", twice, err)
	}
	off, err := graylib.New(graylib.Identity{Service: "c"}, graylib.WithConfig(graylib.Config{MessagesOff: true}))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := WrapProducer(raw, nil, WithProducerRuntime(off)); err != nil || p != raw {
		t.Errorf("with GRAY_MESSAGES off: %v, %v, want the client's own", p, err)
	}
}

// TestReadConsumer notices if the client's options can no longer be read.
func TestReadConsumer(t *testing.T) {
	got, err := readConsumer([]consumer.Option{
		consumer.WithGroupName("g"), consumer.WithNamespace("ns"), consumer.WithInstance("i"),
		consumer.WithNameServer([]string{"h:1"}), consumer.WithCredentials(primitive.Credentials{AccessKey: "a", SecretKey: "s"}),
		consumer.WithConsumerModel(consumer.BroadCasting), consumer.WithConsumerOrder(true), consumer.WithConsumeMessageBatchMaxSize(7),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromTimestamp), consumer.WithConsumeTimestamp("20261122100000"),
		consumer.WithConsumeTimeout(time.Minute), consumer.WithFilterMessageHook([]hooks.FilterMessageHook{nil}),
		consumer.WithStrategy(consumer.AllocateByAveragelyCircle), consumer.WithPullBatchSize(5), consumer.WithMaxReconsumeTimes(3),
		consumer.WithSuspendCurrentQueueTimeMillis(70 * time.Millisecond), consumer.WithAutoCommit(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.strategy == nil {
		t.Error("no strategy")
	}
	if list := nameServers(got.resolver, ""); len(list) != 1 || list[0] != "h:1" {
		t.Errorf("name servers %v, want h:1", list)
	}
	got.strategy, got.resolver = nil, nil
	want := consumerSettings{
		group: "g", namespace: "ns", instance: "i", credentials: primitive.Credentials{AccessKey: "a", SecretKey: "s"},
		model: consumer.BroadCasting, orderly: true, batch: 7, from: consumer.ConsumeFromTimestamp, timestamp: "20261122100000",
		timeout: time.Minute, hooks: true, goroutines: 20, pullBatch: 5, deliveries: 3, suspend: 70 * time.Millisecond,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(consumerSettings{})); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	p, err := readProducer([]producer.Option{producer.WithGroupName("g"), producer.WithInstanceName("i"), producer.WithNameServer([]string{"h:1"})})
	if err != nil || p.group != "g" || p.instance != "i" || p.resolver == nil {
		t.Errorf("producer's settings %+v, %v", p, err)
	}
}

func TestOpenConsumerRefuses(t *testing.T) {
	rt := unitRuntime(t, "", listed(graylib.ModeAll))
	good := []consumer.Option{consumer.WithGroupName("g"), consumer.WithNameServer([]string{"127.0.0.1:1"})}
	for _, tc := range []struct {
		name   string
		client []consumer.Option
		opts   []ConsumerOption
		is     error
		says   string
	}{
		{"no group", []consumer.Option{consumer.WithNameServer([]string{"127.0.0.1:1"})}, nil, ErrInvalidOption, "WithGroupName"},
		{"no name server", []consumer.Option{consumer.WithGroupName("g")}, nil, ErrInvalidOption, "GRAY_NAMESRV_ADDR"},
		{"name server without a port", []consumer.Option{consumer.WithGroupName("g"), consumer.WithNameServer([]string{"host"})}, nil, ErrInvalidOption, `"host"`},
		{"long group", append(good[1:], consumer.WithGroupName(strings.Repeat("g", 230))), nil, ErrInvalidOption, "255"},
		{"long retry topic", append(good[1:], consumer.WithGroupName(strings.Repeat("g", 88))), nil, ErrInvalidOption, "has 88 bytes: with a tag its retry topic %RETRY%<group>_<tag> would have up to 128, at most 127"},
		{"ordered broadcasting", append(good, consumer.WithConsumerModel(consumer.BroadCasting), consumer.WithConsumerOrder(true)), nil, ErrNotSupported, "BroadCasting"},
		{"ordered with commits by hand", append(good, consumer.WithConsumerOrder(true), consumer.WithAutoCommit(false)), nil, ErrNotSupported, "WithAutoCommit(false)"},
		{"large batches", append(good, consumer.WithConsumeMessageBatchMaxSize(1025)), nil, ErrInvalidOption, "WithConsumeMessageBatchMaxSize(1025): want 1 to 1024"},
		{"hooks", append(good, consumer.WithFilterMessageHook([]hooks.FilterMessageHook{nil})), nil, ErrNotSupported, "WithFilterMessageHook"},
		{"timestamp", append(good, consumer.WithConsumeTimestamp("yesterday")), nil, ErrInvalidOption, `"yesterday"`},
		{"timeout below drain", append(good, consumer.WithConsumerModel(consumer.BroadCasting), consumer.WithConsumeTimeout(time.Second)), nil, ErrInvalidOption, "25s"},
		{"no drain", good, []ConsumerOption{WithDrain(0)}, ErrInvalidOption, "drain"},
		{"no queues", good, []ConsumerOption{WithTopicQueues(0)}, ErrInvalidOption, "topic queues 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := OpenConsumer(tc.client, append(tc.opts, WithConsumerRuntime(rt))...)
			if !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %v that says %s", err, tc.is, tc.says)
			}
		})
	}
	for n, more := range map[int][]consumer.Option{87: nil, 222: {consumer.WithConsumerModel(consumer.BroadCasting)}} { // broadcasting retries nothing
		if _, err := OpenConsumer(append(more, good[1], consumer.WithGroupName(strings.Repeat("g", n))), WithConsumerRuntime(rt)); err != nil {
			t.Errorf("a group of %d bytes: %v", n, err)
		}
	}
	c, err := OpenConsumer(good, WithConsumerRuntime(rt))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); !errors.Is(err, ErrState) {
		t.Errorf("Start without a topic gave %v", err)
	}
	for _, tc := range []struct {
		sel  consumer.MessageSelector
		says string
	}{
		{consumer.MessageSelector{Type: consumer.SQL92, Expression: "a > "}, `"a > "`},
		{consumer.MessageSelector{Type: consumer.SQL92}, `""`},
		{consumer.MessageSelector{Type: "SQL93", Expression: "a > 1"}, `"SQL93"`},
	} {
		if err := c.Subscribe("T", tc.sel, newSink().handle); !errors.Is(err, ErrInvalidOption) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v gave %v, want ErrInvalidOption with %s", tc.sel, err, tc.says)
		}
	}
	if err := c.Subscribe("T", consumer.MessageSelector{}, nil); !errors.Is(err, ErrInvalidOption) {
		t.Errorf("no handler gave %v, want ErrInvalidOption", err)
	}
	if err := c.Shutdown(); err != nil {
		t.Error(err)
	}
	if err := c.Start(); !errors.Is(err, ErrState) {
		t.Errorf("Start after Shutdown gave %v", err)
	}
}

func TestNames(t *testing.T) {
	id := graylib.Identity{Service: "a"}
	parts := strings.Split(instanceName(id, "own"), "#")
	if diff := cmp.Diff([]string{"a", "-", "own"}, parts[:3]); diff != "" || len(parts) != 4 || len(parts[3]) != 36 {
		t.Errorf("instance name %v", parts)
	}
	if one, other := instanceName(id, "own"), instanceName(id, "own"); one == other {
		t.Error("two members have one name")
	}
	for _, tc := range []struct{ ns, name, on string }{{"", "g", "g"}, {"ns", "g", "ns%g"}, {"ns", "ns%g", "ns%g"}} {
		if got := qualified(tc.ns, tc.name); got != tc.on {
			t.Errorf("qualified(%q, %q) = %q, want %q", tc.ns, tc.name, got, tc.on)
		}
		if got := qualified(tc.ns, unqualified(tc.ns, tc.on)); got != tc.on {
			t.Errorf("qualified and back: %q, want %q", got, tc.on)
		}
	}
}
