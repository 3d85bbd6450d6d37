package lanestate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// Left is what keeps a lane from being forgotten: messages of one group on one topic that nobody has consumed yet.
type Left struct {
	Group string `json:"group"`
	Topic string `json:"topic"`
	Count Count  `json:"count"`
	Why   string `json:"why"`
}

// String returns it as one line.
func (l Left) String() string {
	return fmt.Sprintf("%s: %s on %s %s", l.Group, l.Count, l.Topic, l.Why)
}

// LeftBefore returns what is left of a lane that is forgotten from until on, by the groups of the bases: messages of the tag
// that were stored before until, and that the lane's group or <group>__tagged has not committed yet; the lane's retries,
// whenever they were stored, for nobody would deliver them once the lane has left; those that <group>__tagged had before
// until. Nothing is left where the list is empty. Groups that don't exist hold nothing back.
//
// Where the broker can't filter, all messages of a topic count: the list becomes empty when the offsets are past until.
func (r *Reader) LeftBefore(ctx context.Context, brokers map[string]string, bases []string, tag graylib.Tag, until time.Time) ([]Left, error) {
	var left []Left
	delayed := r.delayed(ctx, brokers)
	for _, base := range bases {
		for _, group := range []string{LaneGroup(base, tag), TaggedGroup(base)} {
			l, err := r.leftOf(ctx, brokers, group, tag, until, group == LaneGroup(base, tag))
			if err != nil {
				return nil, fmt.Errorf("group %q: %w", group, err)
			}
			left = append(left, l...)
		}
		held, err := delayed()
		if err != nil {
			return nil, fmt.Errorf("delayed retries: %w", err)
		}
		retry := RetryPrefix + LaneGroup(base, tag)
		if c := held[retry]; c.N > 0 {
			left = append(left, Left{LaneGroup(base, tag), retry, c, "to be delivered again later"})
		}
	}
	return left, nil
}

func (r *Reader) leftOf(ctx context.Context, brokers map[string]string, group string, tag graylib.Tag, until time.Time, lane bool) ([]Left, error) {
	var left []Left
	for _, broker := range slices.Sorted(maps.Keys(brokers)) {
		addr := brokers[broker]
		topics, err := r.api.TopicsOf(ctx, addr, group)
		if err != nil {
			return nil, err
		}
		if retry := RetryPrefix + group; !slices.Contains(topics, retry) {
			topics = append(topics, retry) // nothing was consumed of it yet
		}
		for _, topic := range topics {
			queues, err := r.queues(ctx, broker, addr, group, topic)
			if err != nil {
				return nil, err
			}
			for _, q := range queues {
				to, own := q.End, strings.HasPrefix(topic, RetryPrefix)
				filter, why := filterOf(topic, tag), "stored before until"
				if own {
					filter, why = filterOf(topic, graylib.Untagged), "to be delivered again"
				}
				if !own || !lane {
					if to, err = r.api.SearchOffset(ctx, addr, q.remoting(), until); err != nil {
						return nil, err
					}
				}
				c := r.count(ctx, addr, group, q, max(q.Committed, 0), to, filter, r.limit)
				if c.N > 0 {
					left = add(left, Left{group, topic, c, why})
				}
			}
		}
	}
	return left, nil
}

func add(list []Left, l Left) []Left {
	for i := range list {
		if list[i].Group == l.Group && list[i].Topic == l.Topic && list[i].Why == l.Why {
			list[i].Count = list[i].Count.Plus(l.Count)
			return list
		}
	}
	return append(list, l)
}

// Delayed counts the messages of a tag that were sent with a delay and are due later. due is when the last
// of them is. They are the lane's while it is listed, and the baseline's once it has left.
func (r *Reader) Delayed(ctx context.Context, brokers map[string]string, tag graylib.Tag) (n int64, due time.Time, err error) {
	err = r.eachDelayed(ctx, brokers, tag, func(m *primitive.MessageExt, at time.Time) {
		if strings.HasPrefix(m.GetProperty(primitive.PropertyRealTopic), RetryPrefix) {
			return // counted with the group's retries
		}
		n++
		if at.After(due) {
			due = at
		}
	})
	return n, due, err
}
