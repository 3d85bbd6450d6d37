package next

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cloudwego/kitex/pkg/streaming"

	"github.com/graychain/graychain/kitex_gen/chain"
)

// Client is the caller's end of the stream that B and C offer.
type Client = streaming.BidiStreamingClient[chain.Request, chain.Response]

// Server is the callee's end.
type Server = streaming.BidiStreamingServer[chain.Request, chain.Response]

// ErrAnswer is wrapped where a stream answered something else than was asked.
var ErrAnswer = errors.New("wrong answer on the stream")

// Ask sends each payload and waits for its answer, then ends the stream and waits for the other side to end it too.
func Ask(ctx context.Context, s Client, payloads ...string) error {
	for _, p := range payloads {
		if err := s.Send(ctx, &chain.Request{Payload: &p}); err != nil {
			return fmt.Errorf("send %q: %w", p, err)
		}
		answer, err := s.Recv(ctx)
		if err != nil {
			return fmt.Errorf("answer to %q: %w", p, unexpectedEnd(err))
		}
		if answer.GetPayload() != p {
			return fmt.Errorf("%w: %q to %q", ErrAnswer, answer.GetPayload(), p)
		}
	}
	return finish(ctx, s)
}

// Relay hands each request that arrives to the next service, and its answer back, until the caller ends the stream.
func Relay(ctx context.Context, from Server, to Client) error {
	for {
		request, err := from.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return finish(ctx, to)
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if err := to.Send(ctx, request); err != nil {
			return fmt.Errorf("hand on: %w", err)
		}
		answer, err := to.Recv(ctx)
		if err != nil {
			return fmt.Errorf("answer of the next service: %w", unexpectedEnd(err))
		}
		if err := from.Send(ctx, answer); err != nil {
			return fmt.Errorf("hand back: %w", err)
		}
	}
}

// Echo answers each request with its payload, until the caller ends the stream.
func Echo(ctx context.Context, from Server) error {
	for {
		request, err := from.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		if err := from.Send(ctx, &chain.Response{Payload: request.Payload}); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// finish says that nothing more is asked, and reads to the end: what the other side says of its chain comes last.
func finish(ctx context.Context, s Client) error {
	if err := s.CloseSend(ctx); err != nil {
		return fmt.Errorf("end the stream: %w", err)
	}
	switch answer, err := s.Recv(ctx); {
	case err == nil:
		return fmt.Errorf("%w: %q that nobody asked for", ErrAnswer, answer.GetPayload())
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("end of the stream: %w", err)
	}
	return nil
}

func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
