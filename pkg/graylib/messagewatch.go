package graylib

import "context"

type messageWatchKey struct{}

// WatchMessages returns a context in which fn is told of each message that is sent, with its id and the tag it was
// marked with; unlike [Chain] also outside of an arrival. fn is called by the goroutine that sends, or by a client's that
// completes the send, and must be safe for that. A watch that ctx had before is told too.
func WatchMessages(ctx context.Context, fn func(Message)) context.Context {
	if before, ok := ctx.Value(messageWatchKey{}).(func(Message)); ok {
		inner := fn
		fn = func(m Message) { before(m); inner(m) }
	}
	return context.WithValue(ctx, messageWatchKey{}, fn)
}

func watchedMessage(ctx context.Context, m Message) {
	if fn, ok := ctx.Value(messageWatchKey{}).(func(Message)); ok {
		fn(m)
	}
}
