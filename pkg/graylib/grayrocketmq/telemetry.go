package grayrocketmq

import (
	"context"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
)

// sending tells telemetry that messages are about to be marked and sent. The context is the one to mark and send them in;
// ended must be called once, with the stamps or none.
func sending(ctx context.Context, rt *graylib.Runtime, msgs []*primitive.Message) (_ context.Context, ended func([]stamp, error)) {
	t := rt.Telemetry()
	if t == nil {
		return ctx, func([]stamp, error) {}
	}
	s := graylib.Sending{Messages: len(msgs)}
	for _, m := range msgs {
		if m != nil {
			s.Topic = m.Topic
			break
		}
	}
	ctx, end := t.Sent(ctx, s)
	return ctx, func(stamps []stamp, err error) {
		o := graylib.Outcome{Err: err, Messages: make([]graylib.Message, len(stamps))}
		for i, s := range stamps {
			o.Messages[i] = graylib.Message{ID: s.id(), Topic: s.msg.Topic, Tag: s.tag}
		}
		end(o)
	}
}

// consuming is what telemetry is told of a message; the hop is filled in where one is made.
func (m *worker) consuming(e *graylib.Event) graylib.Consuming {
	id := m.c.rt.Identity()
	return graylib.Consuming{
		Hop: graylib.Hop{
			Service: id.Service, Tag: id.Tag, Instance: id.Instance, Addr: id.Addr, RequestTag: e.MessageTag, Protocol: graylib.ProtocolMQ,
		},
		Group: e.Group, Topic: e.Topic, ID: e.ID, Queue: e.Queue, Tag: e.MessageTag, Reason: e.Reason, Deliveries: e.Deliveries,
	}
}
