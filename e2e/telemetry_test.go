package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/otlptest"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

// The whole loop, message included, is one OpenTelemetry trace, and the instances' metrics count what was sent.
func TestTelemetry(t *testing.T) {
	s := chain(t)
	demo := withLane(t, s, gray, "a", "c")
	for _, tt := range []struct {
		target string
		tag    graylib.Tag
		want   string
	}{
		{"/A/dubbo", graylib.Untagged, `
server gateway GET /*path
  client gateway GET a reason=baseline
    server a GET /dubbo reason=baseline
      client a B/invoke reason=baseline
        server b B/invoke reason=baseline
          client b C/invoke reason=baseline
            server c C/invoke reason=baseline
              producer c send TOPIC
                consumer a process TOPIC reason=baseline linked
                  client a GET b reason=baseline
                    server b GET /b reason=baseline
                      client b GET c reason=baseline
                        server c GET /c reason=baseline
`},
		{"/A/dubbo?name=" + demo.Name, gray, `
server gateway GET /*path
  client gateway GET a tag=gray reason=lane
    server a GET /dubbo own=gray tag=gray reason=lane
      client a B/invoke tag=gray reason=fallback: no instance
        server b B/invoke tag=gray reason=fallback: no instance
          client b C/invoke tag=gray reason=lane
            server c C/invoke own=gray tag=gray reason=lane
              producer c send TOPIC tag=gray
                consumer a process TOPIC own=gray tag=gray reason=lane linked
                  client a GET b tag=gray reason=fallback: no instance
                    server b GET /b tag=gray reason=fallback: no instance
                      client b GET c tag=gray reason=lane
                        server c GET /c own=gray tag=gray reason=lane
`},
		{"/A/stream", graylib.Untagged, `
server gateway GET /*path
  client gateway GET a reason=baseline
    server a GET /stream reason=baseline
      client a B/relay reason=baseline
        server b B/relay reason=baseline
          client b C/relay reason=baseline
            server c C/relay reason=baseline
`},
	} {
		t.Run(tt.target, func(t *testing.T) { traced(t, s, tt.target, tt.tag, tt.want) })
	}
	metrics(t, s)
}

// TestTelemetryOfAStandIn: where the lane has no consumer the loop is one trace too, through the stand-in; its metrics say that it
// holds the lane's queues.
func TestTelemetryOfAStandIn(t *testing.T) {
	s := chain(t)
	const tag graylib.Tag = "traced"
	demo := withLane(t, s, tag, "c")
	traced(t, s, "/A/dubbo?name="+demo.Name, tag, `
server gateway GET /*path
  client gateway GET a tag=traced reason=fallback: no instance
    server a GET /dubbo tag=traced reason=fallback: no instance
      client a B/invoke tag=traced reason=fallback: no instance
        server b B/invoke tag=traced reason=fallback: no instance
          client b C/invoke tag=traced reason=lane
            server c C/invoke own=traced tag=traced reason=lane
              producer c send TOPIC tag=traced
                consumer a process TOPIC tag=traced reason=fallback: no instance linked
                  client a GET b tag=traced reason=fallback: no instance
                    server b GET /b tag=traced reason=fallback: no instance
                      client b GET c tag=traced reason=lane
                        server c GET /c own=traced tag=traced reason=lane
`)
	got := scrape(t, s, "a")
	const queues = `graychain_consumer_queues{group="test-a_traced",own_tag="",role="standin",service="a"} `
	if !strings.Contains(got, queues) || strings.Contains(got, queues+"0\n") {
		t.Errorf("the metrics of a don't say that it holds queues as a stand-in: no %q above 0", queues)
	}
	if !strings.Contains(got, `graychain_journal_events_total{own_tag="",service="a"} `) {
		t.Error("the metrics of a have no events in the journal")
	}
}

// traced sends a request whose loop closes, and waits until its trace is as wanted.
func traced(t *testing.T, s *suite.Suite, target string, tag graylib.Tag, want string) {
	t.Helper()
	a, _ := closes(t, s, request(t, target), tag)
	want = strings.TrimPrefix(want, "\n")
	var got string
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for got = trace(t, a.RequestID); got != want && time.Now().Before(deadline); got = trace(t, a.RequestID) {
		<-tick.C
	}
	if got != want {
		t.Errorf("trace of request %s:\n%s\nwant:\n%s", a.RequestID, got, want)
	}
}

// trace draws the trace of a request; a span without its parent stands at the left.
func trace(t *testing.T, requestID string) string {
	t.Helper()
	id := ""
	for _, span := range shared.spans.Spans("") {
		if span.Attributes["graychain.request_id"] != requestID {
			continue
		}
		if id != "" && id != span.Trace {
			t.Fatalf("request %s has two traces, %s and %s (%s %s %s)", requestID, id, span.Trace, span.Kind, span.Service, span.Name)
		}
		id = span.Trace
	}
	if id == "" {
		return ""
	}
	spans := shared.spans.Spans(id)
	known := make(map[string]bool)
	for _, span := range spans {
		known[span.ID] = true
	}
	var b strings.Builder
	var draw func(parent string, depth int)
	draw = func(parent string, depth int) {
		for _, span := range spans {
			root := !known[span.Parent]
			if (parent == "" && root) || (!root && span.Parent == parent) {
				b.WriteString(strings.Repeat("  ", depth) + spanText(span) + "\n")
				draw(span.ID, depth+1)
			}
		}
	}
	draw("", 0)
	return b.String()
}

func spanText(s otlptest.Span) string {
	name := s.Name
	if topic := s.Attributes["messaging.destination.name"]; topic != "" {
		name = strings.Replace(name, topic, "TOPIC", 1)
	}
	text := fmt.Sprint(s.Kind, " ", s.Service, " ", name)
	for _, k := range [][2]string{{"own", "graychain.own_tag"}, {"tag", "graychain.tag"}, {"reason", "graychain.reason"}} {
		if v := s.Attributes[k[1]]; v != "" {
			text += " " + k[0] + "=" + v
		}
	}
	if slices.Contains(s.Links, s.Parent) {
		text += " linked"
	}
	return text
}

// metrics looks for what every instance must have counted by now.
func metrics(t *testing.T, s *suite.Suite) {
	t.Helper()
	for name, wants := range map[string][]string{
		"gateway": {`graychain_calls_total{endpoint="a",own_tag="",protocol="http",reason="lane",result="ok",service="gateway",tag="gray"}`},
		"a-gray": {
			`graychain_requests_total{own_tag="gray",protocol="http",reason="lane",result="ok",service="a",tag="gray"}`,
			`graychain_message_duration_seconds_count{group="test-a_gray",own_tag="gray",service="a",tag="gray"}`,
		},
		"b":      {`graychain_requests_total{own_tag="",protocol="rpc",reason="fallback: no instance",result="ok",service="b",tag="gray"}`},
		"c-gray": {`graychain_messages_sent_total{own_tag="gray",result="ok",service="c",tag="gray",topic=`},
	} {
		body := scrape(t, s, name)
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("the metrics of %s have no %s", name, want)
			}
		}
		if !strings.Contains(body, "graychain_rules_revision{") {
			t.Errorf("the metrics of %s have no revision of the rules", name)
		}
	}
}

// scrape returns an instance's metrics.
func scrape(t *testing.T, s *suite.Suite, name string) string {
	t.Helper()
	instance := s.Instance(name)
	if instance == nil {
		t.Fatalf("no instance %s", name)
	}
	resp, err := http.Get("http://" + instance.HTTP + graylib.MetricsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("metrics of %s: status %d, %v", name, resp.StatusCode, err)
	}
	return string(body)
}
