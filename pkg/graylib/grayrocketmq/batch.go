package grayrocketmq

import (
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// delivery is a message on its way to its handler, with what becomes of it.
type delivery struct {
	msg *primitive.MessageExt
	sub *subscription
	v   verdict
}

// alike tells whether a handler may get two messages at once.
func (d delivery) alike(o delivery) bool {
	return d.sub == o.sub && d.v == o.v &&
		d.msg.GetProperty(graylib.MessageKeys.Tag) == o.msg.GetProperty(graylib.MessageKeys.Tag)
}

// split divides messages into batches for handlers: one per subscription, tag and verdict, so that each batch has one context.
// Where the order counts, only neighbours go together.
func split(list []delivery, ordered bool) [][]delivery {
	if len(list) == 1 {
		return [][]delivery{list}
	}
	var batches [][]delivery
next:
	for _, d := range list {
		first := 0
		if ordered {
			first = max(len(batches)-1, 0)
		}
		for i := first; i < len(batches); i++ {
			if batches[i][0].alike(d) {
				batches[i] = append(batches[i], d)
				continue next
			}
		}
		batches = append(batches, []delivery{d})
	}
	return batches
}

func messagesOf(batch []delivery) []*primitive.MessageExt {
	msgs := make([]*primitive.MessageExt, len(batch))
	for i, d := range batch {
		msgs[i] = d.msg
	}
	return msgs
}

// ids returns the messages' ids, for a log.
func ids(batch []delivery) []string {
	list := make([]string, len(batch))
	for i, d := range batch {
		list[i] = d.msg.MsgId
	}
	return list
}

// acked is how many of the first messages of a batch need no further delivery: by the result, and in a concurrent consumer by the
// AckIndex that a handler may set in its context beside success, as the Java client has it. The Go client ignores it.
func acked(result consumer.ConsumeResult, c *primitive.ConsumeConcurrentlyContext, n int) int {
	switch {
	case result != consumer.ConsumeSuccess:
		return 0
	case c == nil || int64(c.AckIndex) >= int64(n):
		return n
	}
	return max(int(c.AckIndex)+1, 0)
}
