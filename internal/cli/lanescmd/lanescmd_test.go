package lanescmd

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// centre is a Nacos in memory: the rules, their readers, and the list of instances.
type centre struct {
	mu        sync.Mutex
	content   string
	instances []graylib.Instance
	behind    atomic.Int64 // so many revisions its readers are behind
	watchers  []func(graylib.Rules)
}

func sum(content string) string {
	h := md5.Sum([]byte(content))
	return hex.EncodeToString(h[:])
}

func (c *centre) Get(context.Context) ([]byte, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return []byte(c.content), sum(c.content), nil
}

func (c *centre) Publish(_ context.Context, content []byte, casMD5 string) error {
	c.mu.Lock()
	if sum(c.content) != casMD5 {
		c.mu.Unlock()
		return fmt.Errorf("mem: %w", rules.ErrConflict)
	}
	c.content = string(content)
	watchers := slices.Clone(c.watchers)
	c.mu.Unlock()
	for _, fn := range watchers {
		fn(c.Rules())
	}
	return nil
}

func (c *centre) text() string {
	content, _, _ := c.Get(context.Background())
	return string(content)
}

func (c *centre) Instances(context.Context) ([]graylib.Instance, error) { return c.instances, nil }

// Rules, Status, Watch and Close make it the instances' source of rules too.
func (c *centre) Rules() graylib.Rules {
	doc, err := rules.Parse([]byte(c.text()))
	if err != nil {
		panic(err)
	}
	compiled, err := rules.Compile(doc)
	if err != nil {
		panic(err)
	}
	return compiled
}

func (c *centre) Status() graylib.RulesStatus {
	return graylib.RulesStatus{Revision: c.Rules().Revision() - c.behind.Load(), Origin: "nacos", ReadAt: time.Now()}
}

func (c *centre) Watch(fn func(graylib.Rules)) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers = append(c.watchers, fn)
	return func() {}
}

func (c *centre) Close() error { return nil }

var errUsage = errors.New("usage")

// run runs one command line.
func run(ctx context.Context, c *centre, namesrv string, args ...string) (stdout, stderr string, err error) {
	cmd := New(deps(c, namesrv))
	var out, errOut bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(append([]string{}, args...)) // never nil: that would be the test binary's own
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(ctx)
	return out.String(), errOut.String(), err
}

// deps are a program's with c as the only Nacos (nil = none can be reached), and namesrv as the only name server.
func deps(c *centre, namesrv string) target.Deps {
	return target.Deps{
		Nacos: func(_ context.Context, addr string) (target.Nacos, func() error, error) {
			if c == nil {
				return nil, nil, fmt.Errorf("nacos %s can't be reached", addr)
			}
			return c, func() error { return nil }, nil
		},
		Brokers: func(addr string) (*lanestate.Reader, error) {
			return lanestate.Open(remoting.Config{NameServers: []string{addr}})
		},
		Suite:  func(*cobra.Command) (string, string) { return "nacos:1", namesrv },
		Usage:  func(err error) error { return errors.Join(errUsage, err) },
		Getenv: func(string) string { return "" },
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"Gray"}, {"gray", "blue"}, {"--output", "xml"}, {"retire"}, {"retire", "a b"}, {"retire", ""}, {"forget", "gray", "--wait", "-1s"},
		{"forget"}, {"resend"}, {"resend", "gray", "--output", "x"},
	} {
		if _, _, err := run(t.Context(), &centre{}, "127.0.0.1:1", args...); !errors.Is(err, errUsage) {
			t.Errorf("lanes %q: %v, want a usage error", args, err)
		}
	}
}

const listed = `revision: 3
lanes:
- tag: gray
  listed: 2026-01-01T00:00:00Z
messages:
- {consumer: a, baseline: ignore, ignore: [gray]}
`

// TestAway: what is away is said, the rest is shown; a change of the rules that nobody could follow up isn't begun.
func TestAway(t *testing.T) {
	ctx := t.Context()
	out, _, err := run(ctx, nil, "127.0.0.1:1")
	want := "rules unknown at nacos nacos:1, name server 127.0.0.1:1\n" +
		"unknown: rules and instances: nacos nacos:1 can't be reached\n" +
		"unknown: queues and messages: list of brokers: RocketMQ server can't be reached: 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused\n" +
		"\nbaseline\n  instances: none live\n"
	if diff := cmp.Diff(want, out); diff != "" || !errors.Is(err, target.ErrReported) {
		t.Errorf("all away: %v (-want +got):\n%s", err, diff)
	}
	c := &centre{content: listed}
	out, _, err = run(ctx, c, "127.0.0.1:1", "gray")
	if !errors.Is(err, target.ErrReported) || !strings.Contains(out, "rules revision 3 at") || !strings.Contains(out, "\ngray  listed 2026-01-01 00:00:00Z, active\n  instances: none live\n") {
		t.Errorf("brokers away: %v\n%s", err, out)
	}
	if _, _, err := run(ctx, c, "127.0.0.1:1", "red"); !errors.Is(err, errUnknownLane) || !strings.Contains(err.Error(), "not all is known") {
		t.Errorf("an unknown lane: %v", err)
	}
	if _, _, err := run(ctx, nil, "127.0.0.1:1", "retire", "gray"); err == nil || err.Error() != "nacos nacos:1 can't be reached" {
		t.Errorf("retire without Nacos: %v", err)
	}
	for _, text := range []string{listed, strings.Replace(listed, "00Z\n", "00Z\n  state: retired\n", 1)} {
		c.content = text
		if _, _, err := run(ctx, c, "127.0.0.1:1", "forget", "gray"); err == nil || !strings.HasPrefix(err.Error(), "nothing was changed: list of brokers") || c.text() != text {
			t.Errorf("forget without brokers: %v", err)
		}
	}
	if _, _, err := run(ctx, c, "127.0.0.1:1", "resend", "gray"); !errors.Is(err, remoting.ErrUnreachable) {
		t.Errorf("resend without brokers: %v", err)
	}
}

// TestRetireWithoutBrokers: the lane is retired at once, and that nothing can be known of the rest is said.
func TestRetireWithoutBrokers(t *testing.T) {
	var c *centre
	var out, errOut string
	var err error
	for _, wait := range []string{"20ms", "1s", "20s"} { // until a look takes less than that, on a busy machine too
		c = &centre{content: listed}
		if out, errOut, err = run(t.Context(), c, "127.0.0.1:1", "retire", "gray", "--wait", wait); strings.Contains(errOut, "trying again") {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "can't be known") || out != "lane gray is retired, revision 4\n" || !strings.Contains(errOut, "trying again: list of brokers") {
		t.Errorf("%v\nstdout %s\nstderr %s", err, out, errOut)
	}
	if !strings.Contains(c.text(), "state: retired") {
		t.Errorf("published:\n%s", c.text())
	}
	if out, _, err = run(t.Context(), c, "127.0.0.1:1", "retire", "gray", "--wait", "0"); err != nil || out != "lane gray is retired, since revision 4 or before\n" {
		t.Errorf("again: %v\n%s", err, out)
	}
}

// world is a lane, a topic and a group on the shared broker, with a baseline instance.
type world struct {
	*testing.T
	*centre
	namesrv, topic, group string
	tag                   graylib.Tag // of no other test, whose groups are on the same broker
	rt                    *graylib.Runtime

	mu   sync.Mutex
	got  map[string]int
	dies func(body string) bool
}

func newWorld(t *testing.T) *world { return newWorldAt(t, testenv.Namesrv(t)) }

func newWorldAt(t *testing.T, namesrv string) *world {
	name := fmt.Sprintf("lanescmd-%x", time.Now().UnixNano())
	tag := graylib.Tag(fmt.Sprintf("t%x", time.Now().UnixNano()))
	w := &world{T: t, centre: &centre{content: strings.ReplaceAll(listed, "gray", string(tag))}, namesrv: namesrv, topic: "T-" + name, group: "G-" + name, tag: tag, got: map[string]int{}}
	var err error
	w.rt, err = graylib.New(graylib.Identity{Service: "a", Instance: "a-1"}, graylib.WithRules(w.centre), graylib.WithLogger(slog.New(slog.DiscardHandler)),
		graylib.WithConfig(graylib.Config{NamesrvAddr: namesrv}))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(rw).Encode(w.rt.Status()) }))
	t.Cleanup(server.Close)
	addr := strings.TrimPrefix(server.URL, "http://")
	w.rt.SetAddr(addr)
	w.instances = []graylib.Instance{{ID: "a-1", Service: "a", Addr: addr}}
	c, err := grayrocketmq.OpenConsumer([]consumer.Option{consumer.WithGroupName(w.group), consumer.WithMaxReconsumeTimes(1)}, grayrocketmq.WithConsumerRuntime(w.rt))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe(w.topic, consumer.MessageSelector{}, w.handle); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Shutdown() })
	return w
}

func (w *world) handle(_ context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range msgs {
		w.got[m.MsgId]++
		if w.dies != nil && w.dies(string(m.Body)) {
			return consumer.ConsumeRetryLater, nil
		}
	}
	return consumer.ConsumeSuccess, nil
}

func (w *world) send(n int) (ids []string) {
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
		r, err := p.SendSync(graylib.WithTag(w.Context(), w.tag), primitive.NewMessage(w.topic, []byte(fmt.Sprint(i))))
		if err != nil {
			w.Fatal(err)
		}
		ids = append(ids, r.MsgID)
	}
	return ids
}

func (w *world) exactly(ids []string, times func(i int) int) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, id := range ids {
		if w.got[id] != times(i) {
			w.Errorf("message %d was handled %d times, want %d", i, w.got[id], times(i))
		}
	}
}

func (w *world) eventually(what string, cond func() bool) {
	w.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for tick := time.NewTicker(20 * time.Millisecond); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			w.Fatalf("not within 2 min: %s", what)
		}
	}
}

// lanes runs a command line on the world, and takes out of its output what differs from run to run.
func (w *world) lanes(args ...string) (string, error) {
	for i, a := range args {
		args[i] = strings.Replace(a, "gray", string(w.tag), 1)
	}
	out, errOut, err := run(w.Context(), w.centre, w.namesrv, args...)
	s := strings.ReplaceAll(out+errOut, string(w.tag), "gray")
	s = strings.ReplaceAll(strings.ReplaceAll(s, w.group, "G"), w.topic, "T")
	s = strings.ReplaceAll(strings.ReplaceAll(s, w.instances[0].Addr, "HERE"), w.namesrv, "NAMESRV")
	for _, r := range [][2]string{
		{` +(\n|$)`, "$1"}, {` {2,}`, "  "}, {`\b[0-9]+s\b`, "Ns"}, {`[0-9A-Fa-f]{32}`, "ID"}, {`20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]+Z`, "TIME"}, {`broker-[a-z]+/`, "B/"},
	} {
		s = regexp.MustCompile(r[0]).ReplaceAllString(s, r[1])
	}
	return s, err
}

// TestLaneToItsEnd takes a lane with left-over messages and dead letters to its end, on a real broker.
func TestLaneToItsEnd(t *testing.T) {
	w := newWorld(t)
	w.dies = func(body string) bool { return body < "3" && len(body) == 1 } // 0, 1, 2
	ids := w.send(20)
	var out string
	var err error
	w.eventually("the broker has indexed them all", func() bool {
		out, err = w.lanes("gray", "--group", w.group)
		return err != nil || strings.Contains(out, " 20 ")
	})
	if err != nil {
		t.Error(err)
	}
	want := `rules revision 3 at nacos nacos:1, name server NAMESRV

gray  listed 2026-01-01 00:00:00Z, active
  instances: none live
  GROUP  MODE  QUEUES  WAITING  OLDEST  RETRIES  DEAD  CONSUMED BY
  G_gray  ignore  4  20  Ns  0  0  nobody: mode ignore
`
	if head, _, _ := strings.Cut(out, "\n  G_gray\n"); head != want {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, head))
	}
	if _, err := w.lanes("forget", "gray"); !errors.Is(err, rules.ErrNotRetired) {
		t.Errorf("forget an active lane: %v, want ErrNotRetired", err)
	}
	w.exactly(ids, func(int) int { return 0 })

	if out, err = w.lanes("retire", "gray", "--wait", "3m"); err != nil {
		t.Errorf("retire: %v", err)
	}
	if !strings.HasPrefix(out, "lane gray is retired, revision 4\nleft-over messages: ") ||
		!strings.Contains(out, "\nleft-over messages: none\n") || !strings.HasSuffix(out, "\nnothing is left of lane gray; `graychain lanes forget gray` lets it leave the rules\n") ||
		!strings.Contains(out, " dead letters: `graychain lanes resend gray` sends them again\n") {
		t.Errorf("retire said:\n%s", out)
	}
	w.exactly(ids, func(i int) int {
		if i < 3 {
			return 2
		}
		return 1
	})
	if out, err = w.lanes("gray", "--group", w.group); err != nil || !strings.Contains(out, "\n  G_gray  auto  4  0  -  0  3  stand-in: a HERE\n") ||
		!strings.Contains(out, "\n  T  B/0  ") || !strings.Contains(out, "  stand-in a HERE  owned\n") || !strings.Contains(out, "\n  %RETRY%G_gray  B/0  ") {
		t.Errorf("retired: %v\n%s", err, out)
	}

	w.mu.Lock()
	w.dies = nil
	w.mu.Unlock()
	if out, err = w.lanes("resend", "gray", "--group", w.group, "--dry-run"); err != nil || strings.Count(out, "ID  G_gray  T  gray  -  TIME  would be sent\n") != 3 || !strings.HasSuffix(out, "\n3 would be sent\n") {
		t.Errorf("dry run: %v\n%s", err, out)
	}
	if out, err = w.lanes("resend", "gray", "--group", w.group); err != nil || !strings.HasSuffix(out, "\n3 sent\n") {
		t.Errorf("resend: %v\n%s", err, out)
	}
	w.eventually("they are handled", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.got[ids[0]] == 3 && w.got[ids[1]] == 3 && w.got[ids[2]] == 3
	})
	if out, err = w.lanes("resend", "gray", "--group", w.group); err != nil || !strings.HasSuffix(out, "\nnothing to send, 3 sent before\n") {
		t.Errorf("resend again: %v\n%s", err, out)
	}
	if _, err = w.lanes("resend", "gray", "--group", "nobody's"); !errors.Is(err, errNoGroup) || !strings.Contains(err.Error(), `"nobody's_`+string(w.tag)+`"`) {
		t.Errorf("resend of no group: %v", err)
	}
	if _, err = w.lanes("resend", "gray", "--id", "none"); !errors.Is(err, lanestate.ErrNoDeadLetter) {
		t.Errorf("resend of no message: %v", err)
	}
	w.exactly(ids, func(i int) int {
		if i < 3 {
			return 3
		}
		return 1
	})
}

// forgetting runs `lanes forget` until its document says so.
func (w *world) forgetting(ctx context.Context) (ended chan error) {
	ended = make(chan error, 1)
	go func() {
		_, _, err := run(ctx, w.centre, w.namesrv, "forget", string(w.tag))
		ended <- err
	}()
	w.eventually("until is published", func() bool { return strings.Contains(w.text(), "until:") })
	return ended
}

// TestForgetInterrupted interrupts it, lists the lane again, and lets it end where the time has passed.
func TestForgetInterrupted(t *testing.T) {
	w := newWorld(t)
	if _, err := w.lanes("retire", "gray"); err != nil {
		t.Fatal(err)
	}
	retired := w.text()
	w.behind.Store(1)
	if _, err := w.lanes("forget", "gray"); !errors.Is(err, errUnaware) || !strings.Contains(err.Error(), "goes by revision 3 of the rules, which is before 4") || w.text() != retired {
		t.Errorf("with an instance that hasn't read the rules: %v; the document is\n%s", err, w.text())
	}
	w.behind.Store(0)
	heard := w.instances
	w.instances = append([]graylib.Instance{}, heard...)
	w.instances[0].ID = "a-2" // whose status that isn't
	if _, err := w.lanes("forget", "gray", "--wait", "0"); !errors.Is(err, errUnaware) || !strings.Contains(err.Error(), "a-2 of a can't be asked") || w.text() != retired {
		t.Errorf("with an instance that doesn't answer: %v; the document is\n%s", err, w.text())
	}
	if _, err := w.lanes("forget", "gray", "--wait", "0", "--unheard"); err != nil {
		t.Errorf("unheard: %v", err)
	}
	w.instances = heard
	if err := w.Publish(t.Context(), []byte(strings.Replace(retired, "revision: 4", "revision: 6", 1)), sum(w.text())); err != nil {
		t.Fatal(err)
	}
	ended := w.forgetting(t.Context())
	again := strings.Replace(retired, "revision: 4", "revision: 8", 1)
	if err := w.Publish(t.Context(), []byte(again), sum(w.text())); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, rules.ErrRelisted) || w.text() != again {
		t.Errorf("listed again: %v, want rules.ErrRelisted; the document is\n%s", err, w.text())
	}

	ctx, interrupt := context.WithCancel(t.Context())
	ended = w.forgetting(ctx)
	before := w.text()
	interrupt()
	if err := <-ended; err == nil || !strings.HasPrefix(err.Error(), "interrupted: ") || w.text() != before {
		t.Errorf("interrupted: %v; the document is\n%s", err, w.text())
	}
	if out, err := w.lanes("forget", "gray", "--wait", "0"); err != nil || w.text() != before || !strings.HasSuffix(out, " on, since revision 9 or before\n") {
		t.Errorf("going on changed the document: %v\n%s\n%s", err, out, w.text())
	}

	past := strings.Replace(again, "state: retired\n", "state: retired\n  until: "+time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)+"\n", 1)
	past = strings.Replace(past, "revision: 8", "revision: 10", 1)
	if err := w.Publish(t.Context(), []byte(past), sum(before)); err != nil {
		t.Fatal(err)
	}
	out, err := w.lanes("forget", "gray")
	if err != nil || !strings.Contains(out, "\nlane gray has left the rules, revision 11\n") {
		t.Errorf("forget: %v\n%s", err, out)
	}
	if diff := cmp.Diff("revision: 11\nlanes:\nmessages:\n- {consumer: a, baseline: auto}\n", w.text()); diff != "" {
		t.Errorf("the document (-want +got):\n%s", diff)
	}
	if _, err := w.lanes("forget", "gray"); !errors.Is(err, rules.ErrNoLane) {
		t.Errorf("forget again: %v, want ErrNoLane", err)
	}
}
