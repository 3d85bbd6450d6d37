package grayprom_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayprom"
)

// listed are rules that list the lanes.
type listed struct {
	graylib.Rules
	tags []graylib.Tag
}

func (l listed) Lane(tag graylib.Tag) (graylib.Lane, bool) {
	for _, t := range l.tags {
		if t == tag {
			return graylib.Lane{Tag: tag}, true
		}
	}
	return graylib.Lane{}, false
}

func (listed) Revision() int64 { return 7 }

func gray(tags ...graylib.Tag) graylib.Option {
	return graylib.WithRules(graylib.StaticRules(listed{graylib.NoRules, tags}))
}

func newRuntime(t testing.TB, m *grayprom.Metrics, id graylib.Identity, opts ...graylib.Option) *graylib.Runtime {
	t.Helper()
	rt, err := graylib.New(id, append(opts, graylib.WithTelemetry(m))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rt.Close() })
	return rt
}

var self = graylib.Identity{Service: "a", Tag: "gray", Addr: "h:1", Instance: "a-1"}

// TestSeries shows every counter, with its labels, as a scrape does.
func TestSeries(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := grayprom.New(grayprom.WithRegistry(reg))
	registry := graylibtest.NewRegistry()
	for i, tag := range []graylib.Tag{"", "", "gray", "lost"} {
		if err := registry.As(graylib.Identity{Service: "b", Tag: tag, Instance: fmt.Sprint("b", i)}).
			Register(t.Context(), graylib.Registration{Service: "b", Addr: fmt.Sprint("h:", i), Weight: 1}); err != nil {
			t.Fatal(err)
		}
	}
	rt := newRuntime(t, m, self, gray("gray"), graylib.WithRegistry(registry.As(self)))
	told := rt.Telemetry()
	ctx := t.Context()
	arrive := func(tag string, reason graylib.Reason, o graylib.Outcome) {
		ctx, a := rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{"x-gray-tag": tag, "x-gray-reason": string(reason)})
		_, done := told.Arrived(ctx, graylib.Arriving{Hop: a.Hop()})
		done(o)
	}
	arrive("gray", graylib.ReasonLane, graylib.Outcome{Status: 200})
	arrive("gray", graylib.ReasonLane, graylib.Outcome{Status: 503})
	arrive("", graylib.ReasonBaseline, graylib.Outcome{Status: 404})
	arrive("blue", graylib.ReasonNoInstance, graylib.Outcome{})
	arrive("Bad Tag", "", graylib.Outcome{})

	table, err := rt.Table(ctx, "b")
	if err != nil {
		t.Fatal(err)
	}
	departed, call := rt.Depart(graylib.WithTag(ctx, "gray"), "b", nil)
	_, done := told.Departed(departed, call, graylib.Departing{Endpoint: "b", Protocol: graylib.ProtocolHTTP})
	if _, _, err := call.Next(table); err != nil {
		t.Fatal(err)
	}
	done(graylib.Outcome{Err: errors.New("no")})

	_, done = told.Sent(ctx, graylib.Sending{Topic: "T"})
	done(graylib.Outcome{Messages: []graylib.Message{{Topic: "T", Tag: "gray"}, {Topic: "T"}}})
	_, done = told.Consumed(ctx, graylib.Consuming{Group: "g_gray", Topic: "T", Tag: "gray", Reason: "lane"})
	done(graylib.Outcome{Result: graylib.ResultSuccess})
	told.Skipped(graylib.Consuming{Group: "g__tagged", Topic: "T", Tag: "gray", Reason: "mode auto"})

	want := `
# HELP graychain_calls_total Calls that this instance made, tries within one counted once.
# TYPE graychain_calls_total counter
graychain_calls_total{endpoint="b",own_tag="gray",protocol="http",reason="lane",result="error",service="a",tag="gray"} 1
# HELP graychain_ejected_instances Instances that this process leaves out now.
# TYPE graychain_ejected_instances gauge
graychain_ejected_instances{endpoint="b",own_tag="gray",service="a"} 0
# HELP graychain_ejections_total Instances that this process ejected.
# TYPE graychain_ejections_total counter
graychain_ejections_total{endpoint="b",own_tag="gray",service="a"} 0
# HELP graychain_instances Instances that this process can reach, by their own tag.
# TYPE graychain_instances gauge
graychain_instances{endpoint="b",own_tag="gray",service="a",tag=""} 2
graychain_instances{endpoint="b",own_tag="gray",service="a",tag="gray"} 1
graychain_instances{endpoint="b",own_tag="gray",service="a",tag="other"} 1
# HELP graychain_malformed_tags_total Malformed tags seen on the wire; each counted as untagged.
# TYPE graychain_malformed_tags_total counter
graychain_malformed_tags_total{own_tag="gray",service="a"} 1
# HELP graychain_messages_sent_total Messages that this instance sent, by the tag that they were marked with.
# TYPE graychain_messages_sent_total counter
graychain_messages_sent_total{own_tag="gray",result="ok",service="a",tag="",topic="T"} 1
graychain_messages_sent_total{own_tag="gray",result="ok",service="a",tag="gray",topic="T"} 1
# HELP graychain_messages_total Messages that came to this instance, by what became of them (success, retry, panic, skipped) and why.
# TYPE graychain_messages_total counter
graychain_messages_total{group="g__tagged",own_tag="gray",reason="mode auto",service="a",tag="gray",topic="T",verdict="skipped"} 1
graychain_messages_total{group="g_gray",own_tag="gray",reason="lane",service="a",tag="gray",topic="T",verdict="success"} 1
# HELP graychain_ready 1 while the instance is ready.
# TYPE graychain_ready gauge
graychain_ready{own_tag="gray",service="a"} 1
# HELP graychain_requests_total Requests and calls that this instance served.
# TYPE graychain_requests_total counter
graychain_requests_total{own_tag="gray",protocol="http",reason="",result="ok",service="a",tag=""} 1
graychain_requests_total{own_tag="gray",protocol="http",reason="baseline",result="ok",service="a",tag=""} 1
graychain_requests_total{own_tag="gray",protocol="http",reason="fallback: no instance",result="ok",service="a",tag="other"} 1
graychain_requests_total{own_tag="gray",protocol="http",reason="lane",result="error",service="a",tag="gray"} 1
graychain_requests_total{own_tag="gray",protocol="http",reason="lane",result="ok",service="a",tag="gray"} 1
# HELP graychain_rules_refused 1 while the newest rules document is refused and an older one stays in force.
# TYPE graychain_rules_refused gauge
graychain_rules_refused{own_tag="gray",service="a"} 0
# HELP graychain_rules_revision Revision of the rules in force; 0 = none.
# TYPE graychain_rules_revision gauge
graychain_rules_revision{own_tag="gray",service="a"} 7
`
	var names []string
	for line := range strings.SplitSeq(want, "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "TYPE" {
			names = append(names, f[2])
		}
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	for name, n := range map[string]int{
		"graychain_request_duration_seconds": 3, "graychain_call_duration_seconds": 1, "graychain_message_duration_seconds": 1,
		"graychain_stripped_headers_total": 1, "graychain_dropped_events_total": 1,
	} {
		if got, err := testutil.GatherAndCount(reg, name); err != nil || got != n {
			t.Errorf("%d series of %s (%v), want %d", got, name, err, n)
		}
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("linted: %v %v", problems, err)
	}
}

// TestConsumers: what consumers say of themselves is summed by group; queues have no series of their own.
func TestConsumers(t *testing.T) {
	reg := prometheus.NewRegistry()
	rt := newRuntime(t, grayprom.New(grayprom.WithRegistry(reg)), graylib.Identity{Service: "a"}, gray("gray"))
	queue := func(topic, state string, lag int64, span int, waiting string) graylib.QueueState {
		return graylib.QueueState{Topic: topic, Retry: topic == "%RETRY%g", Queue: "b/0", State: state, Lag: lag, Span: span, Waiting: waiting}
	}
	remove := rt.AddConsumer(func() graylib.ConsumerState {
		return graylib.ConsumerState{
			Group: "g", Subscriptions: map[string]string{"T": "*"},
			Groups: []graylib.GroupState{
				{Group: "g_gray", Kind: graylib.GroupLane, Lane: "gray", Role: graylib.RoleStandIn, Running: 2, RetryLag: 3, Queues: []graylib.QueueState{
					queue("T", graylib.QueueOwned, 5, 1, ""), queue("T", graylib.QueueOwned, 7, 2, "stray: tag not listed"),
					queue("T", "giving", 0, 0, ""), queue("%RETRY%g", graylib.QueueOwned, 3, 0, ""),
				}},
				{Group: "g__tagged", Kind: graylib.GroupTagged, Role: graylib.RoleOwn},
			},
			Tallies: []graylib.GroupTally{{Group: "g_gray", Taken: 9, Given: 5, Forced: 1, Lost: 1, Slow: 4, PulledBytes: 300, HandledBytes: 200}},
		}
	})
	want := `
# HELP graychain_consumer_handled_bytes_total Bytes of the messages that were given to handlers.
# TYPE graychain_consumer_handled_bytes_total counter
graychain_consumer_handled_bytes_total{group="g_gray",own_tag="",service="a"} 200
# HELP graychain_consumer_handoffs_total Queues given up, with all handlers ended (planned) or not (forced).
# TYPE graychain_consumer_handoffs_total counter
graychain_consumer_handoffs_total{group="g_gray",kind="forced",own_tag="",service="a"} 1
graychain_consumer_handoffs_total{group="g_gray",kind="planned",own_tag="",service="a"} 4
# HELP graychain_consumer_lag Messages of the queues held that are not consumed yet, retries left out.
# TYPE graychain_consumer_lag gauge
graychain_consumer_lag{group="g__tagged",own_tag="",service="a",topic="T"} 0
graychain_consumer_lag{group="g_gray",own_tag="",service="a",topic="T"} 12
# HELP graychain_consumer_pulled_bytes_total Bytes that brokers sent.
# TYPE graychain_consumer_pulled_bytes_total counter
graychain_consumer_pulled_bytes_total{group="g_gray",own_tag="",service="a"} 300
# HELP graychain_consumer_queues Queues owned.
# TYPE graychain_consumer_queues gauge
graychain_consumer_queues{group="g__tagged",own_tag="",role="own",service="a"} 0
graychain_consumer_queues{group="g_gray",own_tag="",role="standin",service="a"} 3
# HELP graychain_consumer_queues_lost_total Queues whose lock or connection was lost.
# TYPE graychain_consumer_queues_lost_total counter
graychain_consumer_queues_lost_total{group="g_gray",own_tag="",service="a"} 1
# HELP graychain_consumer_queues_taken_total Queues taken.
# TYPE graychain_consumer_queues_taken_total counter
graychain_consumer_queues_taken_total{group="g_gray",own_tag="",service="a"} 9
# HELP graychain_consumer_retry_lag Messages of the group's own retry topic, in queues held, that are not consumed yet.
# TYPE graychain_consumer_retry_lag gauge
graychain_consumer_retry_lag{group="g__tagged",own_tag="",service="a"} 0
graychain_consumer_retry_lag{group="g_gray",own_tag="",service="a"} 3
# HELP graychain_consumer_running Messages begun and not ended.
# TYPE graychain_consumer_running gauge
graychain_consumer_running{group="g__tagged",own_tag="",service="a"} 0
graychain_consumer_running{group="g_gray",own_tag="",service="a"} 2
# HELP graychain_consumer_slow_handlers_total Handlers that ran longer than the drain limit.
# TYPE graychain_consumer_slow_handlers_total counter
graychain_consumer_slow_handlers_total{group="g_gray",own_tag="",service="a"} 4
# HELP graychain_consumer_span Messages that a crash now would have repeated.
# TYPE graychain_consumer_span gauge
graychain_consumer_span{group="g__tagged",own_tag="",service="a"} 0
graychain_consumer_span{group="g_gray",own_tag="",service="a"} 3
# HELP graychain_consumer_waiting_queues Queues whose next message is held back.
# TYPE graychain_consumer_waiting_queues gauge
graychain_consumer_waiting_queues{group="g_gray",own_tag="",reason="stray: tag not listed",service="a"} 1
`
	var names []string
	for line := range strings.SplitSeq(want, "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "TYPE" {
			names = append(names, f[2])
		}
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("linted: %v %v", problems, err)
	}
	remove()
	if n, err := testutil.GatherAndCount(reg, names...); err != nil || n != 0 {
		t.Errorf("%d series of a consumer that is gone (%v)", n, err)
	}
}

// TestJournal: what a journal says of itself.
func TestJournal(t *testing.T) {
	reg := prometheus.NewRegistry()
	j, err := graylib.OpenJournal(t.TempDir(), graylib.Identity{Service: "a", Instance: "a-1"}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	rt := newRuntime(t, grayprom.New(grayprom.WithRegistry(reg)), graylib.Identity{Service: "a"}, graylib.WithReporter(j))
	rt.Report(graylib.Event{Kind: graylib.EventBegun, ID: "1"})
	want := `
# HELP graychain_journal_backlog_bytes Bytes of this process's journal that no observer has yet.
# TYPE graychain_journal_backlog_bytes gauge
graychain_journal_backlog_bytes{own_tag="",service="a"} 0
# HELP graychain_journal_events_total Events written to the journal.
# TYPE graychain_journal_events_total counter
graychain_journal_events_total{own_tag="",service="a"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "graychain_journal_backlog_bytes", "graychain_journal_events_total"); err != nil {
		t.Error(err)
	}
}

// TestStripped: what the gateway took off is counted.
func TestStripped(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := grayprom.New(grayprom.WithRegistry(reg))
	rt := newRuntime(t, m, graylib.Identity{Service: "gateway"})
	headers := map[string]string{"x-gray-tag": "gray", "accept": "x"}
	rt.Strip(stripper(headers))
	want := `
# HELP graychain_stripped_headers_total Headers taken off requests from outside.
# TYPE graychain_stripped_headers_total counter
graychain_stripped_headers_total{own_tag="",service="gateway"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "graychain_stripped_headers_total"); err != nil {
		t.Error(err)
	}
}

type stripper map[string]string

func (s stripper) Get(key string) string { return s[key] }
func (s stripper) Set(key, value string) { s[key] = value }
func (s stripper) Remove(name string)    { delete(s, name) }
func (s stripper) Names(yield func(string) bool) {
	for name := range s {
		if !yield(name) {
			return
		}
	}
}

// TestLabelsAreBounded: tags that nobody listed, and names beyond a bound, make no series of their own.
func TestLabelsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := grayprom.New(grayprom.WithRegistry(reg))
	rt := newRuntime(t, m, self, gray("gray"))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 1000 {
				_, done := rt.Telemetry().Consumed(t.Context(), graylib.Consuming{
					Group: fmt.Sprint("g", w*1000+i), Topic: "T", Tag: graylib.Tag(fmt.Sprint("t", i)), Reason: "lane",
				})
				done(graylib.Outcome{Result: graylib.ResultSuccess})
			}
		})
	}
	wg.Wait()
	if n, err := testutil.GatherAndCount(reg, "graychain_messages_total"); err != nil || n > 257 {
		t.Errorf("%d series for 4000 groups and 1000 tags, want at most 257 (%v)", n, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "graychain_messages_total" {
			continue
		}
		for _, s := range f.GetMetric() {
			sum += s.GetCounter().GetValue()
			for _, l := range s.GetLabel() {
				if l.GetName() == "tag" && l.GetValue() != "other" {
					t.Fatalf("tag %q, want other", l.GetValue())
				}
			}
		}
	}
	if sum != 4000 {
		t.Errorf("%v messages counted, want 4000", sum)
	}
}

func TestSecondRuntime(t *testing.T) {
	m := grayprom.New()
	newRuntime(t, m, self)
	if _, err := graylib.New(self, graylib.WithTelemetry(m)); !errors.Is(err, grayprom.ErrAttached) {
		t.Errorf("a second runtime: %v, want ErrAttached", err)
	}
	reg := prometheus.NewRegistry()
	newRuntime(t, grayprom.New(grayprom.WithRegistry(reg)), self)
	other := self
	other.Service = "b"
	newRuntime(t, grayprom.New(grayprom.WithRegistry(reg)), other) // side by side
	if _, err := graylib.New(self, graylib.WithTelemetry(grayprom.New(grayprom.WithRegistry(reg)))); err == nil {
		t.Error("the same series were registered twice")
	}
}

func TestHandler(t *testing.T) {
	m := grayprom.New()
	newRuntime(t, m, self)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", graylib.MetricsPath, nil))
	body, _ := io.ReadAll(w.Result().Body)
	if w.Code != 200 || !strings.Contains(string(body), `graychain_ready{own_tag="gray",service="a"} 1`) {
		t.Errorf("status %d:\n%s", w.Code, body)
	}
}

// BenchmarkRequest is what a request costs with metrics: counter and histogram.
func BenchmarkRequest(b *testing.B) {
	rt := newRuntime(b, grayprom.New(), self, gray("gray"))
	hop := graylib.Hop{Protocol: graylib.ProtocolHTTP, RequestTag: "gray", Reason: graylib.ReasonLane}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_, done := rt.Telemetry().Arrived(ctx, graylib.Arriving{Hop: hop})
		done(graylib.Outcome{Status: 200})
	}
}
