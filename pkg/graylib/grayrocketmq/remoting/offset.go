package remoting

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// unknownGroup is a group that nobody has: how a broker answers for it tells how it answers for a group without an offset.
const unknownGroup = "GRAYCHAIN_NO_SUCH_GROUP"

func queueFields(q Queue) map[string]string {
	return map[string]string{"topic": q.Topic, "queueId": strconv.Itoa(q.ID), "brokerName": q.Broker}
}

// offset is the answer's field of this name.
func offset(answer Command, what string, q Queue) (int64, error) {
	n, err := strconv.ParseInt(answer.Ext["offset"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s of %s: offset %q", ErrMalformedFrame, what, q, answer.Ext["offset"])
	}
	return n, nil
}

// ConsumerOffset returns the offset that is stored for a group on a queue, and false where none is.
//
// A broker answers 0 for a group without an offset while the queue's first message is still in memory, unless it is asked
// not to (5.x); 4.x doesn't know that field, so there the table of all offsets is read where 0 is answered.
func (c *Client) ConsumerOffset(ctx context.Context, broker, group string, q Queue) (int64, bool, error) {
	n, found, err := c.queryOffset(ctx, broker, group, q)
	if err != nil || !found || n != 0 {
		return n, found, err
	}
	if _, made, err := c.queryOffset(ctx, broker, unknownGroup, q); err != nil || !made {
		return n, true, err // the broker tells zero from nothing
	}
	return c.tableOffset(ctx, broker, group, q)
}

func (c *Client) queryOffset(ctx context.Context, broker, group string, q Queue) (int64, bool, error) {
	ext := queueFields(q)
	ext["consumerGroup"] = group
	ext["setZeroIfNotFound"] = "false"
	answer, err := c.call(ctx, broker, Command{Code: reqQueryConsumerOffset, Ext: ext})
	if hasCode(err, codeQueryNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("offset of group %q on %s: %w", group, q, err)
	}
	n, err := offset(answer, "offset of group "+group, q)
	return n, err == nil, err
}

// tableOffset looks the offset up in the table of all.
func (c *Client) tableOffset(ctx context.Context, broker, group string, q Queue) (int64, bool, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqAllConsumerOffsets})
	if err != nil {
		return 0, false, fmt.Errorf("table of offsets: %w", err)
	}
	var body struct {
		OffsetTable map[string]map[int]int64 `json:"offsetTable"`
	}
	if err := decodeBody("table of offsets", answer.Body, &body); err != nil {
		return 0, false, err
	}
	n, found := body.OffsetTable[q.Topic+"@"+group][q.ID]
	return n, found, nil
}

// SetConsumerOffset stores a group's offset on a queue. On 5.x the group must exist.
func (c *Client) SetConsumerOffset(ctx context.Context, broker, group string, q Queue, offset int64) error {
	ext := queueFields(q)
	ext["consumerGroup"] = group
	ext["commitOffset"] = strconv.FormatInt(offset, 10)
	if _, err := c.call(ctx, broker, Command{Code: reqUpdateConsumerOffset, Ext: ext}); err != nil {
		return fmt.Errorf("set offset of group %q on %s to %d: %w", group, q, offset, err)
	}
	return nil
}

// MaxOffset returns the offset that the queue's next message will have.
func (c *Client) MaxOffset(ctx context.Context, broker string, q Queue) (int64, error) {
	return c.queueOffset(ctx, broker, reqMaxOffset, "greatest offset", q, queueFields(q))
}

// MinOffset returns the offset of the queue's oldest message.
func (c *Client) MinOffset(ctx context.Context, broker string, q Queue) (int64, error) {
	return c.queueOffset(ctx, broker, reqMinOffset, "least offset", q, queueFields(q))
}

// SearchOffset returns an offset at or before the queue's first message that was stored at t or later: a place to begin, not
// one to end at. 5.x returns just that one, or the offset that the next message will have where there is none; 4.9
// (ConsumeQueue.getOffsetInQueueByTime) the last message's own where all were stored before t, and between two messages the
// nearer in time. Brokers compare milliseconds.
func (c *Client) SearchOffset(ctx context.Context, broker string, q Queue, t time.Time) (int64, error) {
	ext := queueFields(q)
	ext["timestamp"] = strconv.FormatInt(t.UnixMilli(), 10)
	return c.queueOffset(ctx, broker, reqSearchOffset, "offset by time", q, ext)
}

func (c *Client) queueOffset(ctx context.Context, broker string, code int, what string, q Queue, ext map[string]string) (int64, error) {
	answer, err := c.call(ctx, broker, Command{Code: code, Ext: ext})
	if err != nil {
		return 0, fmt.Errorf("%s of %s: %w", what, q, err)
	}
	return offset(answer, what, q)
}
