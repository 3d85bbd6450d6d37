package remoting

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// Flags of a pull (org.apache.rocketmq.common.sysflag.PullSysFlag). FLAG_COMMIT_OFFSET is never set: a pull commits nothing.
const (
	pullSuspend      = 1 << 1
	pullSubscription = 1 << 2
)

// Pull asks for messages of one queue.
type Pull struct {
	Group  string
	Queue  Queue
	Offset int64
	Max    int
	Hold   time.Duration // how long the broker may wait for a message; 0 = it answers at once
	Filter Subscription  // what of the topic is wanted; it goes with each pull, whatever heartbeats say
}

// Pulled is the answer to a pull.
type Pulled struct {
	Messages []*primitive.MessageExt // in order
	Next     int64                   // where to go on: all before it that the filter lets through is in Messages
	Max      int64                   // the offset that the queue's next message will have
	Bytes    int                     // of the answer's body: what the broker sent
	Moved    bool                    // the offset asked for doesn't exist (any more); Next is the nearest that does
}

// Pull pulls. An error that wraps the context's means that the caller gave up.
func (s *Session) Pull(ctx context.Context, p Pull) (Pulled, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Hold+pullMargin)
	defer cancel()
	req := p.request()
	req.Ext = s.sign(req)
	answer, err := s.pinned.do(ctx, req)
	if err != nil {
		return Pulled{}, fmt.Errorf("%w: pull of group %q from %s: %w", ErrUnreachable, p.Group, p.Queue, err)
	}
	return pulled(s.addr, p, answer)
}

// Peek pulls without being a member of the group: it joins nothing and commits nothing, so that nobody's messages move. The
// broker answers at once, whatever Hold says. The group must exist.
func (c *Client) Peek(ctx context.Context, broker string, p Pull) (Pulled, error) {
	p.Hold = 0
	answer, err := c.Invoke(ctx, broker, p.request())
	if err != nil {
		return Pulled{}, fmt.Errorf("look at %s: %w", p.Queue, err)
	}
	r, err := pulled(broker, p, answer)
	if err != nil {
		return Pulled{}, fmt.Errorf("look at %s: %w", p.Queue, err)
	}
	return r, nil
}

func (p Pull) request() Command {
	ext := queueFields(p.Queue)
	ext["consumerGroup"] = p.Group
	ext["queueOffset"] = strconv.FormatInt(p.Offset, 10)
	ext["maxMsgNums"] = strconv.Itoa(p.Max)
	flag := pullSubscription
	if p.Hold > 0 {
		flag |= pullSuspend
	}
	ext["sysFlag"] = strconv.Itoa(flag)
	ext["commitOffset"] = "0"
	ext["suspendTimeoutMillis"] = strconv.FormatInt(p.Hold.Milliseconds(), 10)
	ext["subscription"] = p.Filter.Expression
	ext["subVersion"] = "0"
	ext["expressionType"] = p.Filter.Type
	return Command{Code: reqPull, Ext: ext}
}

func pulled(addr string, p Pull, answer Command) (Pulled, error) {
	switch answer.Code {
	case codeSuccess, codePullNotFound, codePullRetry, codePullMoved:
	default:
		return Pulled{}, &ResponseError{Addr: addr, Request: reqPull, Code: answer.Code, Remark: answer.Remark}
	}
	next, err := strconv.ParseInt(answer.Ext["nextBeginOffset"], 10, 64)
	if err != nil {
		return Pulled{}, fmt.Errorf("%w: pull from %s: nextBeginOffset %q", ErrMalformedFrame, p.Queue, answer.Ext["nextBeginOffset"])
	}
	r := Pulled{Next: next, Moved: answer.Code == codePullMoved, Bytes: len(answer.Body)}
	r.Max, _ = strconv.ParseInt(answer.Ext["maxOffset"], 10, 64) // for display
	if answer.Code != codeSuccess {
		return r, nil
	}
	if r.Messages, err = decodeMessages(answer.Body); err != nil {
		return Pulled{}, fmt.Errorf("pull from %s: %w", p.Queue, err)
	}
	mq := &primitive.MessageQueue{Topic: p.Queue.Topic, BrokerName: p.Queue.Broker, QueueId: p.Queue.ID}
	for _, m := range r.Messages {
		if m.Queue.QueueId != p.Queue.ID || m.QueueOffset < 0 || m.QueueOffset >= next {
			return Pulled{}, fmt.Errorf("%w: pull from %s at %d: a message of queue %d at %d, with the next at %d",
				ErrMalformedFrame, p.Queue, p.Offset, m.Queue.QueueId, m.QueueOffset, next)
		}
		m.Queue = mq
		if prepared := m.GetProperty(primitive.PropertyTransactionPrepared); prepared != "" && isTrue(prepared) {
			m.TransactionId = m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex)
		}
		m.WithProperty(primitive.PropertyMinOffset, answer.Ext["minOffset"])
		m.WithProperty(primitive.PropertyMaxOffset, answer.Ext["maxOffset"])
	}
	return r, nil
}

func isTrue(s string) bool {
	b, err := strconv.ParseBool(s)
	return b && err == nil
}

// SendBack gives a message back to the broker, which delivers it to the group again after the level's delay (0 = by the
// number of deliveries so far), or puts it among the dead letters after most deliveries.
func (c *Client) SendBack(ctx context.Context, broker, group string, m *primitive.MessageExt, level int, most int) error {
	topic := m.Topic
	if m.Queue != nil {
		topic = m.Queue.Topic
	}
	_, err := c.call(ctx, broker, Command{Code: reqSendBack, Ext: map[string]string{
		"group": group, "offset": strconv.FormatInt(m.CommitLogOffset, 10), "delayLevel": strconv.Itoa(level),
		"originMsgId": m.MsgId, "originTopic": topic, "unitMode": "false", "maxReconsumeTimes": strconv.Itoa(most),
	}})
	if err != nil {
		return fmt.Errorf("send message %s of group %q back: %w", m.MsgId, group, err)
	}
	return nil
}
