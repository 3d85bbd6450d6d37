package grayrocketmq

import (
	"context"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/pkg/graylib"
)

// TransactionProducer marks each message and hands it to the client's transaction producer. It has the client's method
// set. The listener sees the message with its marks, in the local transaction and in checks alike.
type TransactionProducer struct {
	client rocketmq.TransactionProducer
	rt     *graylib.Runtime
	mark   MarkFunc
}

var _ rocketmq.TransactionProducer = (*TransactionProducer)(nil)

// NewTransactionProducer takes the place of the client's: the same arguments, and the process-wide runtime.
func NewTransactionProducer(listener primitive.TransactionListener, opts ...producer.Option) (rocketmq.TransactionProducer, error) {
	return OpenTransactionProducer(listener, opts)
}

// OpenTransactionProducer is [NewTransactionProducer] with options of graylib's. An instance with a tag joins the producer
// group <group>_<tag>: the broker asks any member of a group for a transaction's state, and a lane must not be asked for
// the baseline's.
func OpenTransactionProducer(listener primitive.TransactionListener, client []producer.Option, opts ...ProducerOption) (rocketmq.TransactionProducer, error) {
	o, err := producerOptionsOf(opts)
	if err != nil {
		return nil, err
	}
	if !active(o.rt) {
		return rocketmq.NewTransactionProducer(listener, client...)
	}
	prepareProcess(o.rt)
	s, err := readProducer(client)
	if err != nil {
		return nil, err
	}
	if client, err = completeProducer(o.rt, client); err != nil {
		return nil, err
	}
	if tag := o.rt.Identity().Tag; tag != graylib.Untagged && s.group != "" {
		client = append(client, producer.WithGroupName(graylib.LaneGroup(s.group, tag)))
	}
	p, err := rocketmq.NewTransactionProducer(checkedListener{listener, o.rt}, client...)
	if err != nil {
		return nil, err
	}
	return &TransactionProducer{client: p, rt: o.rt, mark: o.mark}, nil
}

// Start starts the client's producer.
func (p *TransactionProducer) Start() error { return p.client.Start() }

// Shutdown shuts the client's producer down.
func (p *TransactionProducer) Shutdown() error { return p.client.Shutdown() }

// SendMessageInTransaction sends a half message, runs the listener's local transaction, and ends the transaction as that
// says. The message is noted and reported where the state is commit: before, it is not stored for consumers.
func (p *TransactionProducer) SendMessageInTransaction(ctx context.Context, msg *primitive.Message) (*primitive.TransactionSendResult, error) {
	ctx, ended := sending(ctx, p.rt, []*primitive.Message{msg})
	stamps, err := stampAll(ctx, p.rt, p.mark, []*primitive.Message{msg})
	if err != nil {
		ended(nil, err)
		return nil, err
	}
	defer unstamp(stamps)
	result, err := p.client.SendMessageInTransaction(ctx, msg)
	if err == nil && result != nil && result.State == primitive.CommitMessageState {
		queue := ""
		if q := result.SendResult; q != nil && q.MessageQueue != nil {
			queue = queueName(q.MessageQueue)
		}
		for _, s := range stamps {
			s.record(ctx, s.msg.Topic)
			committed(ctx, p.rt, s.msg, s.tag, queue)
		}
	}
	ended(stamps, err)
	return result, err
}

// committed reports a transaction's message as produced. A commit whose word got lost is asked for once more: the event is
// the same then.
func committed(ctx context.Context, rt *graylib.Runtime, msg *primitive.Message, tag graylib.Tag, queue string) {
	id := msg.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex)
	rt.Report(graylib.Event{
		Kind: graylib.EventProduced, EventID: "committed-" + id, ID: id, Topic: msg.Topic, Queue: queue, MessageTag: tag,
		RequestID: graylib.RequestIDFrom(ctx), Trace: graylib.TraceIDFrom(ctx),
	})
}

// checkedListener reports what a check commits: the send that began the transaction left it open, or its process is gone.
type checkedListener struct {
	primitive.TransactionListener
	rt *graylib.Runtime
}

// CheckLocalTransaction implements the client's TransactionListener.
func (l checkedListener) CheckLocalTransaction(msg *primitive.MessageExt) primitive.LocalTransactionState {
	state := l.TransactionListener.CheckLocalTransaction(msg)
	if state == primitive.CommitMessageState {
		tag, err := graylib.ParseTag(msg.GetProperty(graylib.MessageKeys.Tag))
		if err != nil {
			tag = graylib.Untagged
		}
		//graycheck:ignore a half message brings its own request and trace
		ctx := graylib.WithRequestID(context.Background(), msg.GetProperty(graylib.MessageKeys.RequestID))
		ctx = graylib.WithTrace(ctx, msg.GetProperty(graylib.MessageKeys.TraceParent), "")
		committed(ctx, l.rt, &msg.Message, tag, "")
	}
	return state
}
