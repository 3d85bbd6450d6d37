// Package idempotency keeps work from being done twice: a message that is delivered again after its handler had finished is
// acknowledged without it. [grayrocketmq.WithIdempotency] is the way to switch it on for a consumer; a [Guard] alone serves
// anything else that has a key.
//
// A [Store] remembers which keys are done, and which are being worked on. [Memory] is one for a single process, package
// grayredis has one that processes share.
//
// # How it goes
//
//	claim, err := guard.Begin(ctx, key) // claims the key, for a lease that is renewed while the work runs
//	if claim.Duplicate() { … }          // it was done: leave it
//	…                                   // the work
//	claim.End(succeeded)                // marks the key done, for some hours; or lets it go, so that a retry may begin
//
// Where somebody else has the key, Begin waits until that one has ended, or its lease has lapsed. A process that is killed
// renews nothing, so what it was working on begins elsewhere one lease (5 s) after its last renewal, not at once: whoever
// waits holds its handler's slot meanwhile.
//
// # What it guarantees, and what it can't
//
// While the store answers and keeps what it was told: once a mark was made, the work doesn't begin again for as long as
// marks are kept (24 hours); and it is never under way twice at once, unless a process stands still, or can't reach the
// store, for longer than its lease. Marks are made before the message is acknowledged, so a crash after the mark repeats nothing.
//
// It can't make the work and its mark one step. A process that is killed in between, when the handler's effect is there and
// the mark isn't, does the work again: that is a fraction of a millisecond for each message, and nothing outside the
// effect's own transaction can close it (put the message's id under a unique index there). A handler that fails halfway is
// repeated from its beginning. And a repeat that comes later than marks are kept is one.
//
// What is repeated on purpose is suppressed just the same: to consume messages again by setting a group's offsets back,
// use another group, another prefix of the store, or none of this.
//
// # When the store fails
//
// By default the work goes on without protection, as if there were no store, because a message that isn't handled is worse
// than one that is handled twice; [WithFailClosed] turns it round: Begin fails, and the message waits until the store is there.
// A mark that can't be made is tried three times and then left, for the work is done: the message is acknowledged. Both
// are counted ([Guard.Stats]) and logged when they begin and end.
package idempotency
