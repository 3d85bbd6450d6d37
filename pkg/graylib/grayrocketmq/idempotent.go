package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

// WithIdempotency has the store remember which messages were handled, so that one that is delivered again is acknowledged
// without its handler: after a crash, a forced handoff, a rebalance of <group>, or because its sender had sent it twice. Such a
// message is counted and reported as skipped, reason "duplicate". A handler that fails or panics is let in again.
//
// What that guarantees, and what it can't, is said at package [idempotency]; with a store in memory it holds within this
// process, with one that all instances share (package grayredis) for the service. Handlers that succeed are marked before the
// message is acknowledged: a crash repeats only those whose handler had not finished, and those whose mark was on its way.
//
// The key is the message's id and <group>; for the baseline's copies in mode all it is <group>__tagged, so that lane and
// baseline handle one each. A message that a client stored twice, because an answer was lost and it sent again, has one id in
// two places: the second is suppressed, and reported with its own queue and offset.
//
// While another instance has a message (it stands twice, or a process was killed while handling it and its lease still runs)
// this one waits in the handler's place, and beyond [idempotency.WithWait] the message is retried: in order in its place, else it is
// sent back, and no number of such retries makes it a dead letter. Where the store fails and [idempotency.WithFailClosed] is set,
// messages wait in the handler's place for as long as they may begin here, and are then sent back in the same way. A batch whose messages can't all be claimed is retried as one. Of a
// batch that fails, the messages that were handled before are not retried. With consumer.BroadCasting it is refused: a message that
// can't be claimed couldn't be retried there.
func WithIdempotency(store idempotency.Store, opts ...idempotency.Option) ConsumerOption {
	return func(o *consumerOptions) {
		o.guard = func(rt *graylib.Runtime) (*idempotency.Guard, error) {
			g, err := idempotency.New(store, append([]idempotency.Option{idempotency.WithLogger(rt.Logger())}, opts...)...)
			if err != nil {
				return nil, fmt.Errorf("%w: WithIdempotency: %w", ErrInvalidOption, err)
			}
			return g, nil
		}
	}
}

// Why messages didn't come to their handler for now or at all; counts name it.
const (
	reasonDuplicate = graylib.MessageReasonDuplicate
	reasonHeld      = "idempotency: another instance has it"
	reasonStore     = "idempotency: the store failed"
)

// claims are those on the messages of a batch that its handler gets.
type claims []*idempotency.Claim

// end says that the first n of the messages were handled, and the others were not: of all at once, so that a store that doesn't
// answer delays a batch by its timeout, and not by that of each message. Only its first call counts.
func (c claims) end(n int) {
	switch len(c) {
	case 0:
		return
	case 1:
		c[0].End(n > 0)
		return
	}
	var all sync.WaitGroup
	for i, claim := range c {
		all.Go(func() { claim.End(i < n) })
	}
	all.Wait()
}

// claimed is claim, tried again while the store fails, that being a reason not to begin (idempotency.WithFailClosed), and wait
// tells that the messages may still begin here. Each is counted once.
func (m *worker) claimed(ctx context.Context, batch []delivery, mq *primitive.MessageQueue, wait func(time.Duration) bool) (left []delivery, held claims, err error) {
	counted := ""
	for pause := errorPause; ; pause = min(2*pause, redialMost) {
		if left, held, err = m.claim(ctx, batch, mq); err == nil {
			return left, held, nil
		}
		reason := reasonHeld
		if !errors.Is(err, idempotency.ErrHeld) {
			reason = reasonStore
		}
		if reason != counted {
			counted = reason
			m.unclaimed(batch, reason)
		}
		if !errors.Is(err, idempotency.ErrStore) || !wait(pause) {
			return nil, nil, err
		}
	}
}

// claim takes the messages that were handled before out of a batch, acknowledges them, and claims the others; it is followed by
// end. Those taken out are moved to the batch's front, so that the first ones of the batch are those that need no further delivery
// (see acked). With an error nothing may begin, and nothing is claimed.
func (m *worker) claim(ctx context.Context, batch []delivery, mq *primitive.MessageQueue) (left []delivery, held claims, err error) {
	left, held = make([]delivery, 0, len(batch)), make(claims, 0, len(batch))
	var out []delivery
	keys := make(map[string]bool)
	for _, d := range batch {
		key := m.key(d)
		if keys[key] { // it stands twice in this batch: its twin is handled, or comes again
			out = append(out, d)
			continue
		}
		c, err := m.c.guard.Begin(ctx, key)
		switch {
		case err != nil:
			held.end(0)
			return nil, nil, err
		case c.Duplicate():
			out = append(out, d)
		default:
			left, held, keys[key] = append(left, d), append(held, c), true
		}
	}
	for _, d := range out {
		d.v = verdict{reason: reasonDuplicate}
		m.skip(d, mq)
	}
	if len(out) > 0 {
		copy(batch[copy(batch, out):], left)
	}
	return left, held, nil
}

// unclaimed counts messages that couldn't be claimed.
func (m *worker) unclaimed(batch []delivery, reason string) {
	for _, d := range batch {
		m.count(d.msg, verdict{reason: reason})
	}
}

// key is what a message's handling is remembered by. It is the same in the lane's group, in <group> and for strays, so that
// no change of the mode or of the listed lanes lets a message in twice; only copies have one of their own. Whether a tagged
// message that is retried was a copy, the mode says.
func (m *worker) key(d delivery) string {
	group := m.c.baseGroup()
	if m.place.kind == kindTagged {
		rules := m.c.rt.Rules()
		tag, err := graylib.ParseTag(d.msg.GetProperty(graylib.MessageKeys.Tag))
		lane, listed := rules.Lane(tag)
		if err == nil && listed && lane.State != graylib.LaneRetired &&
			m.c.consumption(rules, d.sub.topic).Mode(tag) == graylib.ModeAll {
			group = m.place.group
		}
	}
	return d.msg.MsgId + "@" + group
}

// IdempotencyStats returns what became of the messages that the hook of [WithIdempotency] saw; all zero without it.
func (c *Consumer) IdempotencyStats() idempotency.Stats {
	if c.guard == nil {
		return idempotency.Stats{}
	}
	return c.guard.Stats()
}
