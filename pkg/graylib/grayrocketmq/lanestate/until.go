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
// It reads in the order in which a message moves: topics, delayed retries, retry topics, and the delayed retries once more. Only a
// message that fails again while this runs, and whose delay is over before it ends, is seen nowhere: who acts upon an empty list
// asks twice.
//
// Where the broker can't filter, all messages of a topic count: the list becomes empty when the offsets are past until.
func (r *Reader) LeftBefore(ctx context.Context, brokers map[string]string, bases []string, tag graylib.Tag, until time.Time) ([]Left, error) {
	var left []Left
	each := func(retries bool) error {
		for _, base := range bases {
			for _, of := range []Of{{Base: base, Kind: graylib.GroupLane, Lane: tag}, {Base: base, Kind: graylib.GroupTagged}} {
				l, err := r.leftOf(ctx, brokers, of, tag, until, retries)
				if err != nil {
					return fmt.Errorf("group %q: %w", of.Name(), err)
				}
				left = append(left, l...)
			}
		}
		return nil
	}
	delayed := func() error {
		held, err := r.delayed(ctx, brokers)
		if err != nil {
			return fmt.Errorf("delayed retries: %w", err)
		}
		for _, base := range bases {
			group := graylib.LaneGroup(base, tag)
			if c := held[RetryPrefix+group]; c.N > 0 {
				left = append(left, Left{group, RetryPrefix + group, c, "to be delivered again later"})
			}
		}
		return nil
	}
	err := each(false)
	if err == nil {
		err = delayed()
	}
	if err == nil {
		err = each(true)
	}
	if err == nil && len(left) == 0 {
		err = delayed()
	}
	if err != nil {
		return nil, err
	}
	return left, nil
}

// leftOf counts in the topics of a group, or in its retry topic.
func (r *Reader) leftOf(ctx context.Context, brokers map[string]string, of Of, tag graylib.Tag, until time.Time, retries bool) ([]Left, error) {
	var left []Left
	group := of.Name()
	for _, broker := range slices.Sorted(maps.Keys(brokers)) {
		addr := brokers[broker]
		topics := []string{RetryPrefix + group}
		if !retries {
			var err error
			if topics, err = r.api.TopicsOf(ctx, addr, group); err != nil {
				return nil, err
			}
			topics = slices.DeleteFunc(topics, func(t string) bool { return strings.HasPrefix(t, RetryPrefix) })
		}
		for _, topic := range topics {
			queues, err := r.queues(ctx, broker, addr, group, topic)
			if err != nil {
				return nil, err
			}
			for _, q := range queues {
				filter, before, why := filterOf(topic, tag), until, "stored before until"
				if retries {
					filter, why = filterOf(topic, graylib.Untagged), "to be delivered again"
					if of.Kind == graylib.GroupLane {
						before = time.Time{} // all
					}
				}
				c := r.count(ctx, addr, group, q, span{from: max(q.Committed, 0), to: q.End, before: before}, filter, r.limit)
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
