// Package rpc stands in for what services call: generated clients, producers, HTTP frameworks.
package rpc

import "context"

type Client struct{}

func (Client) Invoke(ctx context.Context, request string) (string, error) { return request, nil }

type Producer struct{}

func (Producer) SendSync(ctx context.Context, messages ...string) error { return nil }

func (Producer) SendAsync(ctx context.Context, done func(context.Context, error), messages ...string) error {
	return nil
}

func (Producer) Shutdown(ctx context.Context) error { return nil }

// RequestContext is what an HTTP framework hands out beside the context.
type RequestContext struct{}

func (*RequestContext) String(code int, text string) {}

// Stream is the server's side of a stream, as gRPC and Kitex generate it.
type Stream interface {
	Context() context.Context
	Recv() (string, error)
	Send(string) error
}
