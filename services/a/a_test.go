package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/serve"
	"github.com/graychain/graychain/services/internal/servetest"
)

// start runs A without its consumer, and returns its handler, which a consumer would call.
func start(t *testing.T, mesh *servetest.Mesh, env map[string]string) (*servetest.Service, *handler) {
	wired := make(chan *handler, 1)
	a := mesh.Start(service, env, func(app *serve.App) error {
		h, err := wire(app)
		wired <- h
		return err
	})
	return a, <-wired
}

func TestChain(t *testing.T) {
	mesh := servetest.New(t)
	b, c, grayC := mesh.StandIn("b", graylib.Untagged), mesh.StandIn("c", graylib.Untagged), mesh.StandIn("c", "gray")
	a, _ := start(t, mesh, map[string]string{"GRAY_TAG": "gray"})
	self := "Agray[" + a.Addr + "]"

	for _, test := range []struct {
		path     string
		protocol graylib.Protocol
		messages int
	}{
		{"/dubbo", graylib.ProtocolRPC, 1},
		{"/rpc", graylib.ProtocolRPC, 1},
		{"/stream", graylib.ProtocolRPC, 0},
		{"/a", graylib.ProtocolHTTP, 0},
	} {
		for tag, last := range map[string]string{"": "C[" + c.Addr + "]", "gray": "Cgray[" + grayC.Addr + "]"} {
			want := self + " -> B[" + b.Addr + "] -> " + last
			if status, text, _ := a.Get(test.path, "x-gray-tag", tag); status != http.StatusOK || text != want {
				t.Errorf("%s with tag %q: status %d, %q, want %q", test.path, tag, status, text, want)
			}
			status, got := a.Answer(test.path, "x-gray-tag", tag, "x-request-id", "r1")
			if status != http.StatusOK || got.Text != want || string(got.Tag) != tag || got.RequestID != "r1" {
				t.Errorf("%s with tag %q: status %d, %+v, want text %q", test.path, tag, status, got, want)
			}
			if len(got.Messages) != test.messages {
				t.Errorf("%s with tag %q: messages %v, want %d", test.path, tag, got.Messages, test.messages)
			}
			var protocols []graylib.Protocol
			for _, h := range got.Hops {
				protocols = append(protocols, h.Protocol)
				if string(h.RequestTag) != tag {
					t.Errorf("%s with tag %q: %s saw tag %q", test.path, tag, h.Service, h.RequestTag)
				}
			}
			if diff := cmp.Diff([]graylib.Protocol{graylib.ProtocolHTTP, test.protocol, test.protocol}, protocols); diff != "" {
				t.Errorf("%s with tag %q: protocols (-want +got):\n%s", test.path, tag, diff)
			}
		}
	}
}

func TestNobodyBehind(t *testing.T) {
	mesh := servetest.New(t)
	a, _ := start(t, mesh, nil)
	for _, path := range []string{"/dubbo", "/rpc", "/stream", "/a"} {
		status, got := a.Answer(path)
		if status != http.StatusServiceUnavailable || !strings.Contains(got.Error, "service b") || len(got.Hops) != 1 {
			t.Errorf("%s: status %d, %+v; want 503, an error that names service b, and A's own hop", path, status, got)
		}
		if _, text, _ := a.Get(path); !strings.Contains(text, "service b") {
			t.Errorf("%s: %q, want a text that names service b", path, text)
		}
	}
}

// arrived is the context of a message, as the consumer's wrapper makes it.
func arrived(ctx context.Context, a *servetest.Service, tag string) context.Context {
	keys := graylib.MessageKeys
	ctx, _ = a.Runtime.Arrive(ctx, graylib.ProtocolMQ, keys, graylib.MapCarrier{keys.Tag: tag, keys.RequestID: "r1"})
	return ctx
}

func message(body string) *primitive.MessageExt {
	return &primitive.MessageExt{Message: primitive.Message{Topic: "TEST_MQ", Body: []byte(body)}, MsgId: "ID1"}
}

func TestConsume(t *testing.T) {
	mesh := servetest.New(t)
	b, c, grayC := mesh.StandIn("b", graylib.Untagged), mesh.StandIn("c", graylib.Untagged), mesh.StandIn("c", "gray")
	a, h := start(t, mesh, nil)
	for tag, last := range map[string]string{"": "C[" + c.Addr + "]", "gray": "Cgray[" + grayC.Addr + "]"} {
		result, err := h.consume(arrived(t.Context(), a, tag), message("C[10.0.0.3]"))
		if result != consumer.ConsumeSuccess || err != nil {
			t.Fatalf("tag %q: result %v, %v", tag, result, err)
		}
		want := "topic:TEST_MQ,producer:C[10.0.0.3],invoke result:A[" + a.Addr + "] -> B[" + b.Addr + "] -> " + last
		logged := a.Log("topic:TEST_MQ")
		last := logged[len(logged)-1]
		if last["msg"] != want || last["level"] != "INFO" || last["requestId"] != "r1" {
			t.Errorf("tag %q: record %v, want message %q", tag, last, want)
		}
	}
}

func TestConsumeFails(t *testing.T) {
	mesh := servetest.New(t)
	a, h := start(t, mesh, nil)
	result, err := h.consume(arrived(t.Context(), a, ""), message("C[10.0.0.3]"))
	if result != consumer.ConsumeRetryLater || err == nil {
		t.Errorf("result %v, %v; want a retry and the reason", result, err)
	}
	if got := a.Log("topic:"); len(got) != 0 {
		t.Errorf("a failed message was logged as consumed: %v", got)
	}
}

// TestMetrics: requests are counted by tag and reason, the scrape itself and the probes are not.
func TestMetrics(t *testing.T) {
	mesh := servetest.New(t)
	mesh.StandIn("b", graylib.Untagged)
	mesh.StandIn("c", graylib.Untagged)
	a, _ := start(t, mesh, nil)
	if status, _ := a.Answer("/dubbo"); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	_, _, _ = a.Get("/nothing")
	status, body, header := a.Get(graylib.MetricsPath)
	if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("status %d, content type %q", status, header.Get("Content-Type"))
	}
	for _, want := range []string{
		`graychain_requests_total{own_tag="",protocol="http",reason="",result="ok",service="a",tag=""} 2`,
		`graychain_calls_total{endpoint="b.rpc",own_tag="",protocol="rpc",reason="baseline",result="ok",service="a",tag=""} 1`,
		`graychain_call_duration_seconds_count{endpoint="b.rpc",own_tag="",protocol="rpc",service="a",tag=""} 1`,
		`graychain_instances{endpoint="b.rpc",own_tag="",service="a",tag=""} 1`,
		`graychain_ready{own_tag="",service="a"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s in:\n%s", want, body)
		}
	}
}
