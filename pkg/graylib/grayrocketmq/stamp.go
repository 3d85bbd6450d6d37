package grayrocketmq

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// MarkFunc gives the tag of a message whose context has none and that no mark rule matches; Untagged = leave it so. A tag
// whose lane the rules don't list, or that is retired, counts as none, and is counted. It must not block, and not change the message.
type MarkFunc func(ctx context.Context, msg *primitive.Message) graylib.Tag

// reserved are the properties that nobody but graylib writes. The trace's are not among them: a tracer may have set them.
var reserved = []string{graylib.MessageKeys.Tag, graylib.MessagePropertyEnv, graylib.MessageKeys.RequestID}

// stamp is what was written onto one message for one send.
type stamp struct {
	msg *primitive.Message
	tag graylib.Tag
	was []property // in the order of writing
	own bool       // the message has an id that the application gave it
}

// property is one that a stamp has written over; an empty value = there was none.
type property struct{ key, value string }

// stampCarrier writes properties and remembers what was there.
type stampCarrier struct {
	propertyCarrier
	stamp *stamp
}

// Set implements [graylib.Carrier].
func (c stampCarrier) Set(key, value string) {
	old := c.Get(key)
	if old == value {
		return
	}
	c.stamp.was = append(c.stamp.was, property{key, old})
	c.propertyCarrier.Set(key, value)
}

// stampAll marks each message for itself. Where one can't be, none is.
func stampAll(ctx context.Context, rt *graylib.Runtime, mark MarkFunc, msgs []*primitive.Message) ([]stamp, error) {
	for i, msg := range msgs {
		if msg == nil {
			continue // the client has its own answer to that
		}
		for _, key := range reserved {
			if v := msg.GetProperty(key); v != "" {
				return nil, fmt.Errorf("%w %s=%q on message %d to topic %q: graylib alone writes it; remove it from the message",
					ErrReservedProperty, key, v, i, msg.Topic)
			}
		}
	}
	stamps := make([]stamp, 0, len(msgs))
	for _, msg := range msgs {
		if msg != nil {
			stamps = append(stamps, stampOne(ctx, rt, mark, msg))
		}
	}
	if len(msgs) > 1 {
		for _, s := range stamps { // the client gives ids to single messages alone
			if s.msg.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex) == "" {
				s.msg.WithProperty(primitive.PropertyUniqueClientMessageIdKeyIndex, primitive.CreateUniqID())
			}
		}
	}
	return stamps, nil
}

func stampOne(ctx context.Context, rt *graylib.Runtime, mark MarkFunc, msg *primitive.Message) stamp {
	var own func() graylib.Tag
	if mark != nil {
		own = func() graylib.Tag { return mark(ctx, msg) }
	}
	tag := rt.MarkTag(ctx, msg.Topic, messageRequest{msg}, own)
	s := stamp{msg: msg, tag: tag}
	s.own = s.id() != msg.GetProperty(keptID)
	msg.RemoveProperty(keptID)
	carrier := stampCarrier{propertyCarrier{msg}, &s}
	rt.InjectTag(ctx, tag, graylib.MessageKeys, carrier)
	carrier.Set(graylib.MessagePropertyEnv, string(rt.Identity().Tag))
	return s
}

// unstamp takes the stamps off again. The client has encoded the messages by then; the application has them back as it
// gave them (but for the client's id, see rename), and may send them again in another context.
func unstamp(stamps []stamp) {
	for _, s := range stamps {
		for _, p := range slices.Backward(s.was) {
			propertyCarrier{s.msg}.Set(p.key, p.value)
		}
	}
}

// rename takes the ids off again that messages were given for a send which the broker has acknowledged: a program that sends one
// Message again and again sends different messages. After an error the id stays, so that sending again is known as that, with a note
// that it isn't the application's.
func rename(stamps []stamp, err error) {
	for _, s := range stamps {
		switch id := s.id(); {
		case s.own || id == "":
		case err != nil:
			s.msg.WithProperty(keptID, id)
		default:
			s.msg.RemoveProperty(primitive.PropertyUniqueClientMessageIdKeyIndex)
		}
	}
}

// keptID is the property of a Message in the application's hands that notes an id which a failed send left. It never goes out.
const keptID = "graylib_kept_id"

// id is the client's id of the message, or "" before it has one.
func (s stamp) id() string { return s.msg.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex) }

// record notes a sent message in the chain of ctx.
func (s stamp) record(ctx context.Context, topic string) {
	graylib.RecordMessage(ctx, graylib.Message{ID: s.id(), Topic: topic, Tag: s.tag})
}

// stored notes messages that the broker acknowledged, and reports them.
func stored(ctx context.Context, rt *graylib.Runtime, stamps []stamp, result *primitive.SendResult) {
	for _, s := range stamps {
		s.record(ctx, s.msg.Topic)
	}
	if !rt.Reports() {
		return
	}
	queue := ""
	if result != nil && result.MessageQueue != nil {
		queue = queueName(result.MessageQueue)
	}
	for _, s := range stamps {
		rt.Report(graylib.Event{
			Kind: graylib.EventProduced, ID: s.id(), Topic: s.msg.Topic, Queue: queue, MessageTag: s.tag,
			RequestID: graylib.RequestIDFrom(ctx), Trace: graylib.TraceIDFrom(ctx),
		})
	}
}

// queueName is "<broker>/<id>", as events name a queue.
func queueName(q *primitive.MessageQueue) string {
	return q.BrokerName + "/" + strconv.Itoa(q.QueueId)
}
