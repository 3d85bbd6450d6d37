package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/cloudwego/hertz/pkg/app"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/services/internal/answer"
	"github.com/graychain/graychain/services/internal/next"
)

// handler is what B does: it calls C by the protocol that it was called by.
type handler struct {
	c      c.Client
	http   next.HTTP
	answer answer.Renderer
	log    *slog.Logger
}

var _ chain.B = (*handler)(nil)

// overHTTP is GET /b.
func (h *handler) overHTTP(ctx context.Context, r *app.RequestContext) {
	if err := h.http.Get(ctx, "c", "/c"); err != nil {
		h.log.ErrorContext(ctx, "call of service c failed", "error", err)
		h.answer.Fail(ctx, r, fmt.Errorf("service c: %w", err))
		return
	}
	h.answer.OK(ctx, r)
}

// Invoke implements chain.B.
func (h *handler) Invoke(ctx context.Context, request *chain.Request) (*chain.Response, error) {
	response, err := h.c.Invoke(ctx, request)
	if err != nil {
		h.log.ErrorContext(ctx, "call of service c failed", "error", err)
		return nil, fmt.Errorf("service c: %w", err)
	}
	return response, nil
}

// Relay implements chain.B: one stream to C for each stream that comes in.
func (h *handler) Relay(ctx context.Context, from chain.B_relayServer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream to C, however this one ends
	to, err := h.c.Relay(ctx)
	if err == nil {
		err = next.Relay(ctx, from, to)
	}
	if err != nil {
		h.log.ErrorContext(ctx, "stream of service c failed", "error", err)
		return fmt.Errorf("service c: %w", err)
	}
	return nil
}
