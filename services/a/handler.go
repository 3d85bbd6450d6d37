package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/cloudwego/hertz/pkg/app"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/services/internal/answer"
	"github.com/graychain/graychain/services/internal/next"
)

// handler is what A does: it calls B, and shows how far the call went.
type handler struct {
	b      b.Client
	http   next.HTTP
	answer answer.Renderer
	log    *slog.Logger
}

// rpc is GET /dubbo and its alias /rpc: the chain over Kitex, at whose end C sends a message.
func (h *handler) rpc(ctx context.Context, c *app.RequestContext) {
	_, err := h.b.Invoke(ctx, &chain.Request{})
	h.reply(ctx, c, err)
}

// stream is GET /stream: the chain over Kitex streams.
func (h *handler) stream(ctx context.Context, c *app.RequestContext) {
	ctx, cancel := context.WithTimeout(ctx, h.http.Timeout)
	defer cancel()
	stream, err := h.b.Relay(ctx)
	if err == nil {
		err = next.Ask(ctx, stream, "first", "second", "third")
	}
	h.reply(ctx, c, err)
}

// overHTTP is GET /a: the chain over HTTP alone.
func (h *handler) overHTTP(ctx context.Context, c *app.RequestContext) {
	h.reply(ctx, c, h.http.Get(ctx, "b", "/b"))
}

func (h *handler) reply(ctx context.Context, c *app.RequestContext, err error) {
	if err != nil {
		h.log.ErrorContext(ctx, "call of service b failed", "error", err)
		h.answer.Fail(ctx, c, fmt.Errorf("service b: %w", err))
		return
	}
	h.answer.OK(ctx, c)
}

// consume takes a message of C and closes the loop over HTTP: A -> B -> C. A chain that fails is tried again.
func (h *handler) consume(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	for _, m := range messages {
		if err := h.http.Get(ctx, "b", "/b"); err != nil {
			h.log.ErrorContext(ctx, "message not handled; it is tried again", "topic", m.Topic, "id", m.MsgId, "error", err)
			return consumer.ConsumeRetryLater, err
		}
		h.log.InfoContext(ctx, fmt.Sprintf("topic:%s,producer:%s,invoke result:%s", m.Topic, m.Body, h.answer.Of(ctx).Text),
			"id", m.MsgId)
	}
	return consumer.ConsumeSuccess, nil
}
