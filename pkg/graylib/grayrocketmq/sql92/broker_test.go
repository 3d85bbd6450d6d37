package sql92_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/sql92"
)

// oracle is a real broker with messages in one queue, asked what it would deliver of them.
type oracle struct {
	t        *testing.T
	client   *remoting.Client
	session  *remoting.Session
	queue    remoting.Queue
	group    string
	messages [][]string // names and values, by offset
	pulls    int
	seen     map[string]int // how often each value was
}

func newOracle(t *testing.T, messages [][]string) *oracle {
	namesrv := testenv.Namesrv(t)
	client, err := remoting.New(remoting.Config{NameServers: []string{namesrv}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx := t.Context()
	name := fmt.Sprintf("sql92-%d", time.Now().UnixNano())
	o := &oracle{t: t, client: client, group: "g-" + name, messages: messages, seen: make(map[string]int)}
	brokers, err := client.Brokers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for broker, addr := range brokers {
		o.queue = remoting.Queue{Topic: name, Broker: broker}
		if err := client.CreateTopic(ctx, addr, name, 1); err != nil {
			t.Fatal(err)
		}
		if o.session, err = client.Open(ctx, addr, "sql92@"+name, func(remoting.Notice) {}); err != nil {
			t.Fatal(err)
		}
		break
	}
	t.Cleanup(func() { _ = o.session.Close() })
	p, err := rocketmq.NewProducer(producer.WithNameServer([]string{namesrv}), producer.WithGroupName("p-"+name),
		producer.WithInstanceName(name), producer.WithRetry(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Shutdown() }()
	for i, pairs := range messages {
		m := primitive.NewMessage(name, []byte("x"))
		for j := 0; j < len(pairs); j += 2 {
			m.WithProperty(pairs[j], pairs[j+1])
		}
		r, err := p.SendSync(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if r.QueueOffset != int64(i) {
			t.Fatalf("message %d has offset %d", i, r.QueueOffset)
		}
	}
	return o
}

// refuses tells whether the broker refuses the expression.
func (o *oracle) refuses(expression string) bool {
	o.t.Helper()
	err := o.client.CheckSQL(o.t.Context(), o.session.Addr(), o.group, o.queue.Topic, expression)
	if err != nil && !errors.Is(err, remoting.ErrBadExpression) {
		o.t.Fatal(err)
	}
	return err != nil
}

// delivers says of each message whether the broker delivers it.
func (o *oracle) delivers(expression string) []bool {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 10*time.Second)
	defer cancel()
	got := make([]bool, len(o.messages))
	for at := int64(0); at < int64(len(got)); {
		r, err := o.session.Pull(ctx, remoting.Pull{
			Group: o.group, Queue: o.queue, Offset: at, Max: 32, Filter: remoting.Subscription{Topic: o.queue.Topic, Expression: expression, Type: "SQL92"},
		})
		if err != nil {
			o.t.Fatalf("%q: %v", expression, err)
		}
		if r.Moved || r.Next <= at {
			o.t.Fatalf("%q: pull at %d went on at %d", expression, at, r.Next)
		}
		for _, m := range r.Messages {
			got[m.QueueOffset] = true
		}
		at = r.Next
		o.pulls++
	}
	return got
}

// The values that an expression has for a message, as the broker shows them: by what it delivers of the expression, of its
// negation, and of its being NULL. The fourth is an error.
const (
	isTrue  = "TRUE"
	isFalse = "FALSE"
	isNull  = "NULL"
	isError = "an error"
)

// values asks the broker what the expression is for each message. text is the expression without what is ignored.
func (o *oracle) values(text string) []string {
	o.t.Helper()
	got := make([]string, len(o.messages))
	for i := range got {
		got[i] = isError
	}
	for _, q := range []struct{ format, value string }{{"(%s)", isTrue}, {"NOT(%s)", isFalse}, {"(%s) IS NULL", isNull}} {
		for i, ok := range o.delivers(fmt.Sprintf(q.format, text)) {
			if !ok {
				continue
			}
			if got[i] != isError {
				o.t.Fatalf("%q: the broker says %s and %s of message %d, %q", text, got[i], q.value, i, o.messages[i])
			}
			got[i] = q.value
		}
	}
	for _, v := range got {
		o.seen[v]++
	}
	return got
}

// ours is values by this package.
func ours(t *testing.T, text string, messages [][]string) []string {
	t.Helper()
	got := make([]string, len(messages))
	for _, q := range []struct{ format, value string }{{"(%s)", isTrue}, {"NOT(%s)", isFalse}, {"(%s) IS NULL", isNull}} {
		e, err := sql92.Parse(fmt.Sprintf(q.format, text))
		if err != nil {
			t.Fatalf("accepted alone, but: %v", err)
		}
		for i, m := range messages {
			switch ok, err := e.Match(props(m...)); {
			case err != nil:
				got[i] = isError
			case ok:
				got[i] = q.value
			}
		}
	}
	return got
}

// compare holds one expression against the broker: refused by both, or the same value for every message.
func (o *oracle) compare(expression string) (refused bool) {
	o.t.Helper()
	e, err := sql92.Parse(expression)
	if refused = o.refuses(expression); refused != (err != nil) {
		o.t.Errorf("%q: refused by the broker: %v; here: %v", expression, refused, err)
		return refused
	}
	if refused {
		return true
	}
	plain := o.delivers(expression)
	for i, ok := range plain {
		if got, err := e.Match(props(o.messages[i]...)); got != ok {
			o.t.Errorf("%q, message %q: the broker delivers: %v; here %v, %v", expression, o.messages[i], ok, got, err)
		}
	}
	if broker, here := o.values(e.Text()), ours(o.t, e.Text(), o.messages); !cmp.Equal(broker, here) {
		for i := range broker {
			if broker[i] != here[i] {
				o.t.Errorf("%q, message %q: the broker says %s, here %s", expression, o.messages[i], broker[i], here[i])
			}
		}
	}
	return false
}

// TestTablesOnTheBroker asks the real broker all that the tables claim.
func TestTablesOnTheBroker(t *testing.T) {
	messages := [][]string{sample}
	for _, c := range numbers {
		if c.value != "" && utf8.ValidString(c.value) { // what the client sends at all
			messages = append(messages, []string{"v", c.value, "w", "NaN", "z", "0"})
		}
	}
	o := newOracle(t, messages)
	compared := make(map[string]bool)
	for _, c := range matches {
		compared[c.expression] = true
	}
	for _, c := range numbers {
		compared[c.expression] = true
	}
	for expression := range compared {
		o.compare(expression)
	}
	for _, c := range refusals {
		if utf8.ValidString(c.expression) && len(c.expression) < 200 { // those beyond are limits of our own
			if !o.refuses(c.expression) {
				t.Errorf("%q is accepted by the broker", c.expression)
			}
		}
	}
	for _, nest := range []string{"(", "NOT ", "+", "-"} {
		closing := ""
		if nest == "(" {
			closing = strings.Repeat(")", sql92.MaxDepth-2) // compare adds two
		}
		o.compare("s IS NULL OR " + strings.Repeat(nest, sql92.MaxDepth-2) + "s" + closing + " IS NULL")
	}
	t.Logf("%d expressions accepted, %d refused, %d messages, %d pulls", len(compared)+4, len(refusals), len(messages), o.pulls)
}

// TestGeneratedOnTheBroker compares generated expressions, whole and damaged, over generated messages. GRAYCHAIN_SEED
// repeats a run; GRAYCHAIN_E2E_FULL=1 compares 5,000.
func TestGeneratedOnTheBroker(t *testing.T) {
	seed, n := uint64(time.Now().UnixNano()), 150
	if s := os.Getenv("GRAYCHAIN_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getenv("GRAYCHAIN_E2E_FULL") == "1" {
		n = 5000
	}
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	o := newOracle(t, g.messages(60))
	refused := 0
	for i := 0; i < n && !t.Failed(); i++ {
		if o.compare(g.expression()) {
			refused++
		}
	}
	t.Logf("GRAYCHAIN_SEED=%d: %d expressions (%d refused) over %d messages, %d pulls, values %v", seed, n, refused, len(o.messages), o.pulls, o.seen)
	if t.Failed() {
		t.Logf("again: GRAYCHAIN_SEED=%d", seed)
	}
	if refused == 0 || refused > n*3/4 || len(o.seen) < 4 {
		t.Errorf("%d of %d refused, values %v: the generator has lost its balance", refused, n, o.seen)
	}
}
