package lanestate

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// Count is a number of messages.
type Count struct {
	N      int64     `json:"n"`
	More   bool      `json:"more,omitempty"`   // there are more than N: they were not all counted
	AtMost bool      `json:"atMost,omitempty"` // there are N or fewer: the broker doesn't filter, and others' messages are among them
	Oldest time.Time `json:"oldest,omitzero"`  // when the oldest of them was stored; zero = not known
}

// String writes the number: "12", ">1000" or "<=12".
func (c Count) String() string {
	s := strconv.FormatInt(c.N, 10)
	switch {
	case c.More:
		return ">" + s
	case c.AtMost && c.N > 0:
		return "<=" + s
	}
	return s
}

// Plus adds two counts of different messages.
func (c Count) Plus(o Count) Count {
	sum := Count{N: c.N + o.N, More: c.More || o.More, AtMost: c.AtMost || o.AtMost, Oldest: c.Oldest}
	if sum.Oldest.IsZero() || !o.Oldest.IsZero() && o.Oldest.Before(sum.Oldest) {
		sum.Oldest = o.Oldest
	}
	return sum
}

// pullMax is how many messages are asked for at once; brokers give 32 by default (maxTransferCountOnMessageInMemory).
const pullMax = 32

// each shows the messages of one queue from an offset on, up to another, that a filter lets through, until see says no.
func (r *Reader) each(ctx context.Context, addr, group string, q remoting.Queue, from, to int64, filter remoting.Subscription, see func(*primitive.MessageExt) bool) error {
	for from < to {
		got, err := r.api.Peek(ctx, addr, remoting.Pull{Group: group, Queue: q, Offset: from, Max: pullMax, Filter: filter})
		if err != nil {
			return err
		}
		for _, m := range got.Messages {
			if m.QueueOffset >= to || !see(m) {
				return nil
			}
		}
		if got.Next <= from {
			return nil // the broker has nothing there
		}
		from = got.Next
	}
	return nil
}

// span is a part of a queue.
type span struct {
	from, to int64     // offsets: to is not part of it
	before   time.Time // nor what was stored then or later; zero = all is
}

// past tells whether a message, and with it all that follow, lies behind the span: brokers store in the order of their times.
func (s span) past(m *primitive.MessageExt) bool {
	return !s.before.IsZero() && m.StoreTimestamp >= s.before.UnixMilli()
}

// count counts a queue's messages that a filter lets through, up to a limit. Where the broker can't filter, all count.
func (r *Reader) count(ctx context.Context, addr, group string, q Queue, s span, filter remoting.Subscription, limit int64) Count {
	var c Count
	if s.from >= s.to {
		return c
	}
	err := r.each(ctx, addr, group, q.remoting(), s.from, s.to, filter, func(m *primitive.MessageExt) bool {
		if s.past(m) {
			return false
		}
		if c.N >= limit {
			c.More = true
			return false
		}
		if c.N++; c.Oldest.IsZero() {
			c.Oldest = time.UnixMilli(m.StoreTimestamp)
		}
		return true
	})
	if err != nil {
		return r.atMost(ctx, addr, group, q, s)
	}
	return c
}

// atMost bounds the number of messages in a span by the offsets. It is 0 where the first message lies behind the span.
func (r *Reader) atMost(ctx context.Context, addr, group string, q Queue, s span) Count {
	if !s.before.IsZero() {
		within := false
		err := r.each(ctx, addr, group, q.remoting(), s.from, s.to, filterOf(q.Topic, graylib.Untagged), func(m *primitive.MessageExt) bool {
			within = !s.past(m)
			return false
		})
		if err == nil && !within {
			return Count{}
		}
		// The broker's answer may be the offset of a message before that time: it is part of the span.
		if at, err := r.api.SearchOffset(ctx, addr, q.remoting(), s.before); err == nil {
			s.to = max(min(s.to, at+1), s.from+1)
		}
	}
	return Count{N: s.to - s.from, AtMost: true}
}

// stored counts all of a queue from an offset on, by the offsets, and looks at the first of them.
func (r *Reader) stored(ctx context.Context, addr, group string, q Queue, from int64) Count {
	c := Count{N: max(q.End-from, 0)}
	if c.N > 0 {
		_ = r.each(ctx, addr, group, q.remoting(), from, q.End, filterOf(q.Topic, ""), func(m *primitive.MessageExt) bool { // for display
			c.Oldest = time.UnixMilli(m.StoreTimestamp)
			return false
		})
	}
	return c
}

// Topics of the brokers' own, and the group that asks for them (org.apache.rocketmq.common.topic.TopicValidator, MixAll):
// each broker has them.
const (
	scheduleTopic = "SCHEDULE_TOPIC_XXXX"
	halfTopic     = "RMQ_SYS_TRANS_HALF_TOPIC"
	halfDoneTopic = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
	halfGroup     = "CID_RMQ_SYS_TRANS"
	toolsGroup    = "TOOLS_CONSUMER"
)

// Levels of delay where a broker doesn't say (MessageStoreConfig.messageDelayLevel).
const defaultLevels = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

// levels parses a broker's messageDelayLevel. Level n is at n-1.
func levels(setting string) ([]time.Duration, error) {
	if setting == "" {
		setting = defaultLevels
	}
	var list []time.Duration
	for _, s := range strings.Fields(setting) {
		if days, ok := strings.CutSuffix(s, "d"); ok {
			n, err := strconv.Atoi(days)
			if err != nil {
				return nil, err
			}
			list = append(list, time.Duration(n)*24*time.Hour)
			continue
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// delayed returns what brokers hold back until its time has come, counted by the topic that it is for.
func (r *Reader) delayed(ctx context.Context, brokers map[string]string) (map[string]Count, error) {
	byTopic := make(map[string]Count)
	err := r.eachDelayed(ctx, brokers, graylib.Untagged, func(m *primitive.MessageExt, _ time.Time) {
		topic := m.GetProperty(primitive.PropertyRealTopic)
		byTopic[topic] = byTopic[topic].Plus(Count{N: 1, Oldest: time.UnixMilli(m.StoreTimestamp)})
	})
	return byTopic, err
}

// scheduled is the broker's own word for how far it has worked a level of delay off, in its state: "<offset>,<end>"
// (ScheduleMessageService.buildRunningStats).
const scheduled = "scheduleMessageOffset_"

// delaySlack is how late a message may leave the schedule of a broker that doesn't say how far it is.
const delaySlack = 30 * time.Second

// eachDelayed shows each message that the brokers hold back, of one tag or all, with the time at which it is due.
func (r *Reader) eachDelayed(ctx context.Context, brokers map[string]string, tag graylib.Tag, see func(m *primitive.MessageExt, due time.Time)) error {
	var errs []error
	for _, broker := range slices.Sorted(maps.Keys(brokers)) {
		addr := brokers[broker]
		settings, err := r.api.BrokerConfig(ctx, addr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		delays, err := levels(settings["messageDelayLevel"])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		state, err := r.api.RuntimeInfo(ctx, addr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for level, delay := range delays {
			q := remoting.Queue{Topic: scheduleTopic, Broker: broker, ID: level}
			done, _, _ := strings.Cut(state[scheduled+strconv.Itoa(level+1)], ",")
			from, unknown := strconv.ParseInt(done, 10, 64)
			end, err := r.api.MaxOffset(ctx, addr, q)
			if err == nil && unknown != nil && end > 0 { // what was due a while ago has left
				from, err = r.api.SearchOffset(ctx, addr, q, time.Now().Add(-delay-delaySlack))
			}
			if err == nil {
				err = r.each(ctx, addr, toolsGroup, q, from, end, filterOf(scheduleTopic, tag), func(m *primitive.MessageExt) bool {
					see(m, time.UnixMilli(m.StoreTimestamp).Add(delay))
					return true
				})
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
