package graylib

import (
	"context"
	"errors"
	"net"
)

// Answered says that the instance that Next returned last answered, whatever it said: it is healthy.
func (c *Call) Answered() {
	if in := c.ended(); in != nil {
		c.table.answered(in)
	}
}

// TimedOut says that the instance that Next returned last didn't answer in time. It may have got the request: only a call
// that may be made twice goes on with Next.
func (c *Call) TimedOut() {
	c.failure = codeTimedOut
	if in := c.ended(); in != nil {
		c.table.failed(in)
	}
}

// NotConnected says that the instance that Next returned last couldn't be connected to. Calling Next says so too, where
// nothing else was said.
func (c *Call) NotConnected() {
	c.failure = codeConnectFailed
	if in := c.ended(); in != nil {
		c.table.failed(in)
	}
}

// Ended says how the try with the instance that Next returned last ended, by the error of what sent it: nil is an answer.
// Of an error that is neither a failed connection nor a timeout (the caller gave up, the connection broke) nothing is
// noted.
func (c *Call) Ended(err error) {
	switch {
	case err == nil:
		c.Answered()
	case errors.Is(err, context.Canceled):
		c.ended()
	case c.DialFailed(err):
		c.NotConnected()
	case DialFailed(err): // somebody else couldn't be connected to, see [Call.DialFailed]
		c.failure = codeConnectFailed
		c.ended()
	case timedOut(err):
		c.TimedOut()
	default:
		c.failure = codeConnectFailed
		c.ended()
	}
}

// Overdue is TimedOut for another goroutine than the one that uses the call: the one that sees its time run out while that
// one still waits. A call that is overdue isn't tried again.
func (c *Call) Overdue() {
	if in := c.ended(); in != nil {
		c.table.failed(in)
	}
}

// GivenUp says that the caller gave up a call of which nothing had come for long. Its reasons aren't known: it may be that its
// own time ran out. That makes the instance be probed like a timeout does, and doesn't eject one that answers probes. It
// may be called as [Call.Overdue] is.
func (c *Call) GivenUp() {
	if in := c.ended(); in != nil {
		c.table.count(in, false)
	}
}

// ended returns the instance of the try under way, once.
func (c *Call) ended() *Instance {
	if c.last.Load() == nil {
		return nil
	}
	return c.last.Swap(nil)
}

// timedOut tells whether err says that something took too long.
func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	ne := net.Error(nil)
	return errors.As(err, &ne) && ne.Timeout()
}
