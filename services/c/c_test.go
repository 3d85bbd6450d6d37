package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/answer"
	"github.com/graychain/graychain/services/internal/next"
	"github.com/graychain/graychain/services/internal/serve"
	"github.com/graychain/graychain/services/internal/servetest"
)

// broker stands in for the producer: it notes what it is given, as the wrapped producer does.
type broker struct {
	mu     sync.Mutex
	bodies []string
	fail   error
	status primitive.SendStatus
}

// SendSync implements sender.
func (b *broker) SendSync(ctx context.Context, messages ...*primitive.Message) (*primitive.SendResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	for _, m := range messages {
		b.bodies = append(b.bodies, m.Topic+" "+string(m.Body))
		graylib.RecordMessage(ctx, graylib.Message{ID: "ID1", Topic: m.Topic, Tag: graylib.TagFrom(ctx)})
	}
	return &primitive.SendResult{Status: b.status, MsgID: "ID1"}, nil
}

func (b *broker) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.bodies...)
}

func start(t *testing.T, mesh *servetest.Mesh, b *broker, env map[string]string) *servetest.Service {
	return mesh.Start(service, env, func(app *serve.App) error { return serveC(app, b) })
}

func TestInvokeSends(t *testing.T) {
	mesh := servetest.New(t)
	mq := &broker{}
	c := start(t, mesh, mq, map[string]string{"GRAY_TAG": "gray"})
	caller := mesh.Caller()

	payload := "x"
	ctx := caller.Arrived(t.Context(), "gray")
	response, err := caller.C.Invoke(ctx, &chain.Request{Payload: &payload})
	if err != nil || response.GetPayload() != payload {
		t.Fatalf("invoke: %v, payload %q", err, response.GetPayload())
	}
	body := "Cgray[" + c.Addr + "]"
	if diff := cmp.Diff([]string{"TEST_MQ " + body}, mq.sent()); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	got := answer.Renderer{}.Of(ctx)
	if want := "A[127.0.0.1:1] -> " + body; got.Text != want {
		t.Errorf("chain %s, want %s", got.Text, want)
	}
	if diff := cmp.Diff([]graylib.Message{{ID: "ID1", Topic: "TEST_MQ", Tag: "gray"}}, got.Messages); diff != "" {
		t.Errorf("messages on the way back (-want +got):\n%s", diff)
	}
	logged := c.Log("message sent")
	if len(logged) != 1 {
		t.Fatalf("%d records of a sent message, want 1:\n%s", len(logged), c.Output())
	}
	for key, want := range map[string]any{
		"topic": "TEST_MQ", "body": body, "id": "ID1", "messageTag": "gray", "service": "c", "ownTag": "gray", "tag": "gray", "requestId": "req-1",
	} {
		if logged[0][key] != want {
			t.Errorf("record's %s is %v, want %v", key, logged[0][key], want)
		}
	}
}

func TestNothingSent(t *testing.T) {
	mesh := servetest.New(t)
	mq := &broker{}
	c := start(t, mesh, mq, nil)
	caller := mesh.Caller()
	ctx := caller.Arrived(t.Context(), graylib.Untagged)

	if status, text, _ := c.Get("/c"); status != http.StatusOK || text != "C["+c.Addr+"]" {
		t.Errorf("GET /c: status %d, %q", status, text)
	}
	stream, err := caller.C.Relay(ctx)
	if err == nil {
		err = next.Ask(ctx, stream, "1", "2")
	}
	if err != nil {
		t.Errorf("relay: %v", err)
	}
	if got := mq.sent(); len(got) != 0 {
		t.Errorf("%v was sent; HTTP and streams send nothing", got)
	}
}

func TestFailedSendFailsTheCall(t *testing.T) {
	for name, mq := range map[string]*broker{
		"refused":         {fail: errors.New("no route to topic")},
		"flush timed out": {status: primitive.SendFlushDiskTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			mesh := servetest.New(t)
			start(t, mesh, mq, nil)
			caller := mesh.Caller()
			_, err := caller.C.Invoke(caller.Arrived(t.Context(), graylib.Untagged), &chain.Request{})
			if err == nil || !strings.Contains(err.Error(), "TEST_MQ") {
				t.Errorf("invoke: %v, want an error that names the topic", err)
			}
		})
	}
}

func TestJob(t *testing.T) {
	mq := &broker{}
	c := start(t, servetest.New(t), mq, map[string]string{"C_JOB_INTERVAL": "10ms", "TOPIC": "OTHER"})
	servetest.Eventually(t, "three messages of the job", func() bool { return len(mq.sent()) >= 3 })
	if code := c.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if got, want := mq.sent()[0], "OTHER C["+c.Addr+"]"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
}
