package grayrocketmq

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/rocketmq-client-go/v2/consumer"
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
// this one waits in the handler's place, and beyond [idempotency.WithWait] the message is retried as if its handler had failed.
// A batch whose messages can't all be claimed is retried as one. With consumer.BroadCasting it is refused: a message that
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
	reasonDuplicate = "duplicate"
	reasonHeld      = "idempotency: another instance has it"
	reasonStore     = "idempotency: the store failed"
)

// claim takes the messages that were handled before out of a batch, acknowledges them, and claims the others. end says how
// these ended; it must be called. With an error nothing may begin, and nothing is claimed.
func (m *worker) claim(ctx context.Context, batch []delivery, mq *primitive.MessageQueue) (left []delivery, end func(done bool), err error) {
	claims := make([]*idempotency.Claim, 0, len(batch))
	end = func(done bool) {
		for _, c := range claims {
			c.End(done)
		}
	}
	left = make([]delivery, 0, len(batch))
	for _, d := range batch {
		c, err := m.c.guard.Begin(ctx, m.key(d))
		switch {
		case err != nil:
			end(false)
			reason := reasonStore
			if errors.Is(err, idempotency.ErrHeld) {
				reason = reasonHeld
			}
			for _, d := range batch {
				m.c.counts.add(m.place.group, d.msg.GetProperty(graylib.MessageKeys.Tag), verdict{reason: reason})
			}
			return nil, nil, err
		case c.Duplicate():
			d.v = verdict{reason: reasonDuplicate}
			m.skip(d, mq)
		default:
			left, claims = append(left, d), append(claims, c)
		}
	}
	return left, end, nil
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
			rules.Consumption(m.c.rt.Identity().Service, group, d.sub.topic).Mode(tag) == graylib.ModeAll {
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

// handled tells whether a result says that the application is done with its messages.
func (m *worker) handled(result consumer.ConsumeResult) bool {
	return result == consumer.ConsumeSuccess || m.c.set.orderly && result == consumer.Commit
}
