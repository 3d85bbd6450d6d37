package serve

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/kitex/pkg/endpoint"
)

// flushTime is how long a server may take to write its last answers, once no handler is at work any more.
const flushTime = 500 * time.Millisecond

// inFlight counts the requests, calls and streams that are being handled.
//
// The servers themselves can't tell: both wait for all connections to be idle, and Hertz takes every keep-alive connection
// for busy, Kitex those that a client keeps for its streams. A stop by them alone would always last until the drain limit.
type inFlight struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n becomes 0; nil while nobody waits
}

// rpc is the Kitex middleware that counts. Streams are counted until their handler returns.
func (f *inFlight) rpc(next endpoint.Endpoint) endpoint.Endpoint {
	return func(ctx context.Context, req, resp any) error {
		f.add(1)
		defer f.add(-1)
		return next(ctx, req, resp)
	}
}

// http is the Hertz middleware that counts. An answer that streams is counted until its body is closed.
func (f *inFlight) http(ctx context.Context, c *app.RequestContext) {
	f.add(1)
	streams := false
	defer func() {
		if !streams {
			f.add(-1)
		}
	}()
	c.Next(ctx)
	if r := &c.Response; r.IsBodyStream() {
		streams = true
		// Not SetBodyStream, which would close the stream that is wrapped.
		r.ConstructBodyStream(r.BodyBuffer(), &countedBody{Reader: r.BodyStream(), f: f})
	}
}

// countedBody is a body that is being written.
type countedBody struct {
	io.Reader
	f    *inFlight
	once sync.Once
}

// Close implements io.Closer.
func (b *countedBody) Close() error {
	defer b.once.Do(func() { b.f.add(-1) })
	if c, ok := b.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (f *inFlight) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n += n
	if f.n == 0 && f.idle != nil {
		close(f.idle)
		f.idle = nil
	}
}

// wait returns when nothing is being handled, or with ctx and an error that says how much still is.
func (f *inFlight) wait(ctx context.Context) error {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.idle == nil {
		f.idle = make(chan struct{})
	}
	idle := f.idle
	f.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Errorf("%d requests were cut off: %w", f.n, ctx.Err())
	}
}
