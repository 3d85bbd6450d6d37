package grayhertz

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/hertz/pkg/protocol"
)

// Bounds of draining: how often it is looked whether something is still being served, and how long answers may take to be
// written when their handlers have returned.
const (
	drainPoll  = 5 * time.Millisecond
	drainWrite = 300 * time.Millisecond
)

// drainer counts what a server serves. Hertz itself takes every connection that a client keeps open for one that serves, and
// waits all of its ExitWaitTimeout for clients to close them.
type drainer struct{ serving atomic.Int64 }

// begin counts one request in.
func (d *drainer) begin() {
	if d != nil {
		d.serving.Add(1)
	}
}

// end counts it out when its answer is ready to be written; one that streams, when it is written.
func (d *drainer) end(resp *protocol.Response) {
	if d == nil {
		return
	}
	stream := resp.BodyStream()
	if !resp.IsBodyStream() || stream == protocol.NoResponseBody {
		d.serving.Add(-1)
		return
	}
	if _, sized := stream.(*io.LimitedReader); sized { // Hertz takes the length from it, so it has to stay what it is
		d.serving.Add(-1)
		return
	}
	resp.SetBodyStreamNoReset(&countedStream{Reader: stream, drainer: d}, resp.Header.ContentLength())
}

// wait returns when nothing is served any more, true, or at the deadline.
func (d *drainer) wait(deadline time.Time) bool {
	for d.serving.Load() > 0 {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(drainPoll)
	}
	return true
}

// countedStream is a body that counts its request out when Hertz closes it.
type countedStream struct {
	io.Reader
	drainer *drainer
	once    sync.Once
}

// Close implements [io.Closer].
func (s *countedStream) Close() error {
	s.once.Do(func() { s.drainer.serving.Add(-1) })
	if c, ok := s.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
