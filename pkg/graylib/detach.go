package graylib

import (
	"context"
	"time"
)

// detachedContext is a context for work that outlives the request it came of.
type detachedContext struct {
	context.Context // without cancellation
	meta            meta
}

// Value implements [context.Context].
func (c *detachedContext) Value(key any) any {
	switch key.(type) {
	case metaKey:
		return &c.meta
	case callKey, messageWatchKey:
		return nil // whoever made them is not there any more
	}
	return c.Context.Value(key)
}

// Detach returns a context for work that may outlive the request or message that ctx belongs to: a goroutine that nobody
// waits for, a timer, an entry of a queue within the process. It has the tag, the request id and the trace of ctx, and every
// other value of it, but neither its cancellation nor its deadline: give it one of its own ([context.WithTimeout]).
//
// It has left the arrival: its calls and messages don't join the hops of the answer, which may have been sent by then
// ([Chain] is empty, and a watch of [WatchMessages] isn't told). It still counts as having arrived, so that untagged work
// stays untagged on an instance whose lane has colourFromNode, as its request did.
func Detach(ctx context.Context) context.Context {
	m := *metaFrom(ctx)
	m.detached = m.detached || m.arrival != nil
	m.arrival = nil
	return &detachedContext{Context: context.WithoutCancel(ctx), meta: m}
}

// Go runs f with ctx in a goroutine of its own. It is the go statement in a form that can't forget the context, and nothing
// more: a panic of f ends the process, and ctx ends when it would have ended. Work that nobody waits for takes
// a context of [Detach].
func Go(ctx context.Context, f func(context.Context)) { go f(ctx) }

// AfterFunc waits for d and then runs f in a goroutine of its own with a context of [Detach]: the tag is that of ctx at the
// time of this call, and the request's end doesn't end it. Stopping the timer works as with [time.AfterFunc].
func AfterFunc(ctx context.Context, d time.Duration, f func(context.Context)) *time.Timer {
	ctx = Detach(ctx)
	return time.AfterFunc(d, func() { f(ctx) })
}
