package grayrocketmq

import (
	"context"
	"time"
)

// watchSlow says in the log, and counts, when a handler runs longer than the drain limit: a stop or a handoff at that moment
// would not wait for it, and its messages would be handled again. Nothing ends the handler: consumer.WithConsumeTimeout, after
// which the client would hand the message to a second one beside it, applies in <group> alone. ended must be called when it
// has ended.
func (m *worker) watchSlow(ctx context.Context, batch []delivery) (ended func()) {
	began := time.Now()
	timer := time.AfterFunc(m.c.opts.drain, func() {
		m.tally.slow.Add(1)
		m.c.log().WarnContext(ctx, "a handler runs longer than the drain limit: a stop or a handoff now would not wait for it, and its messages would be handled again",
			"group", m.place.group, "topic", batch[0].msg.Topic, "ids", ids(batch), "limit", m.c.opts.drain)
	})
	return func() {
		if !timer.Stop() {
			m.c.log().InfoContext(ctx, "a handler that ran longer than the drain limit has ended", "group", m.place.group, "ids", ids(batch), "after", time.Since(began))
		}
	}
}
