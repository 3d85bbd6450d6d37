package lanestate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// Halves counts the half messages of transactions that are neither committed nor rolled back yet, by tag, over all brokers.
// One that was decided within the last seconds may be among them: brokers note that in batches (transactionOpBatchInterval,
// 3 s). The error says why it can't be known.
func (r *Reader) Halves(ctx context.Context, brokers map[string]string) (map[graylib.Tag]int64, error) {
	byTag := make(map[graylib.Tag]int64)
	for _, broker := range slices.Sorted(maps.Keys(brokers)) {
		if err := r.halves(ctx, broker, brokers[broker], byTag); err != nil {
			return nil, fmt.Errorf("half messages of broker %q: %w", broker, err)
		}
	}
	return byTag, nil
}

func (r *Reader) halves(ctx context.Context, broker, addr string, byTag map[graylib.Tag]int64) error {
	queues, err := r.queues(ctx, broker, addr, halfGroup, halfTopic)
	if err != nil {
		return err
	}
	done, err := r.queues(ctx, broker, addr, halfGroup, halfDoneTopic)
	if err != nil {
		return err
	}
	for _, q := range queues {
		decided := make(map[int64]bool) // offsets in q
		for _, d := range done {
			if d.ID != q.ID {
				continue
			}
			err := r.each(ctx, addr, toolsGroup, d.remoting(), max(d.Committed, 0), d.End, filterOf(d.Topic, ""), func(m *primitive.MessageExt) bool {
				for _, s := range strings.Split(string(m.Body), ",") { // one offset in 4.x, several in 5.x
					if n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64); err == nil {
						decided[n] = true
					}
				}
				return true
			})
			if err != nil {
				return err
			}
		}
		tagged := remoting.Subscription{Topic: q.Topic, Expression: graylib.MessageKeys.Tag + " IS NOT NULL", Type: "SQL92"}
		err := r.each(ctx, addr, toolsGroup, q.remoting(), max(q.Committed, 0), q.End, tagged, func(m *primitive.MessageExt) bool {
			if tag, err := graylib.ParseTag(m.GetProperty(graylib.MessageKeys.Tag)); err == nil && !decided[m.QueueOffset] {
				byTag[tag]++
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}
