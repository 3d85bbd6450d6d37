package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/cloudwego/hertz/pkg/app"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/services/internal/answer"
	"github.com/graychain/graychain/services/internal/next"
)

// sender is a producer, as far as C needs it.
type sender interface {
	SendSync(ctx context.Context, messages ...*primitive.Message) (*primitive.SendResult, error)
}

// errNotStored is wrapped where the broker answered, but doesn't vouch for the message.
var errNotStored = errors.New("message not stored safely")

// handler is what C does: it ends the chain, over RPC with a message.
type handler struct {
	producer sender
	topic    string
	self     func() string // C and its address, as answers name it: the message's body
	answer   answer.Renderer
	log      *slog.Logger
}

var _ chain.C = (*handler)(nil)

// overHTTP is GET /c. It sends nothing, so the loop ends here.
func (h *handler) overHTTP(ctx context.Context, r *app.RequestContext) { h.answer.OK(ctx, r) }

// Invoke implements chain.C. A message that can't be sent fails the call.
func (h *handler) Invoke(ctx context.Context, request *chain.Request) (*chain.Response, error) {
	if err := h.send(ctx); err != nil {
		h.log.ErrorContext(ctx, "message not sent", "topic", h.topic, "error", err)
		return nil, err
	}
	return &chain.Response{Payload: request.Payload}, nil
}

// Relay implements chain.C.
func (h *handler) Relay(ctx context.Context, from chain.C_relayServer) error {
	return next.Echo(ctx, from)
}

// send sends one message.
func (h *handler) send(ctx context.Context) error {
	m := primitive.NewMessage(h.topic, []byte(h.self()))
	var sent answer.Sent
	result, err := h.producer.SendSync(sent.Watch(ctx), m)
	if err != nil {
		return fmt.Errorf("send to topic %s: %w", h.topic, err)
	}
	if result.Status != primitive.SendOK {
		return fmt.Errorf("send to topic %s: %w: status %d of message %s", h.topic, errNotStored, result.Status, result.MsgID)
	}
	h.log.InfoContext(ctx, "message sent", "topic", h.topic, "body", string(m.Body), "id", result.MsgID,
		"messageTag", sent.Tag(result.MsgID))
	return nil
}

// job sends a message every interval, without any request, until ctx ends. A send that fails is logged, and the next one
// is due as before.
func (h *handler) job(interval time.Duration) func(context.Context) {
	return func(ctx context.Context) {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := h.send(context.WithoutCancel(ctx)); err != nil {
					h.log.ErrorContext(ctx, "the job's message was not sent", "topic", h.topic, "error", err)
				}
			}
		}
	}
}
