package grayrocketmq

import (
	"context"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"

	"github.com/graychain/graychain/pkg/graylib"
)

// markedProducer marks each message and hands it to the client's producer. It has the client's method set but for
// RequestAsync, and is as safe for concurrent use as the client's.
type markedProducer struct {
	client rocketmq.Producer
	rt     *graylib.Runtime
	mark   MarkFunc
}

// asyncRequester completes the client's method set. RequestAsync takes a type from one of the client's internal packages,
// which can't be named here but inferred: C is that type.
type asyncRequester[C any] struct {
	*markedProducer
	requestAsync func(rocketmq.Producer, context.Context, time.Duration, C, *primitive.Message) error
}

// completed is a markedProducer with the client's whole method set.
func completed(p *markedProducer) rocketmq.Producer {
	return withRequestAsync(p, rocketmq.Producer.RequestAsync)
}

func withRequestAsync[C any](p *markedProducer, f func(rocketmq.Producer, context.Context, time.Duration, C, *primitive.Message) error) *asyncRequester[C] {
	return &asyncRequester[C]{markedProducer: p, requestAsync: f}
}

// marks tells a wrapped producer from the client's.
func (p *markedProducer) marks() {}

// ProducerOption sets one thing of a producer.
type ProducerOption func(*producerOptions)

type producerOptions struct {
	rt   *graylib.Runtime
	mark MarkFunc
}

// WithProducerRuntime sets the runtime. The default is the process-wide one.
func WithProducerRuntime(rt *graylib.Runtime) ProducerOption {
	return func(o *producerOptions) { o.rt = rt }
}

// WithMark sets the producer's own mark function.
func WithMark(f MarkFunc) ProducerOption { return func(o *producerOptions) { o.mark = f } }

func producerOptionsOf(opts []ProducerOption) (producerOptions, error) {
	var o producerOptions
	for _, opt := range opts {
		opt(&o)
	}
	if o.rt == nil {
		rt, err := graylib.Default()
		if err != nil {
			return o, err
		}
		o.rt = rt
	}
	return o, nil
}

// active tells whether messages are looked at at all. The kill switch (GRAY_ENABLED=off) is no matter of it: what the lanes have left
// is consumed all the same, see [graylib.Runtime.Enabled].
func active(rt *graylib.Runtime) bool { return !rt.Config().MessagesOff }

// NewProducer takes the place of the client's NewProducer: the same options, and the process-wide runtime. Without
// WithInstanceName the instance gets a unique name; without a name server that of GRAY_NAMESRV_ADDR is taken, with its keys.
//
// Every send refuses messages that bear a property which graylib writes ([ErrReservedProperty]). A message is given back as
// it was, but for the client's id: SendSync and Request take it off again once the broker has acknowledged the message, so that the
// same Message sent again is another one; after an error, and after SendAsync, RequestAsync and SendOneWay, it stays. Acknowledged messages are noted in the context's chain and reported; one-way sends are
// never acknowledged: they are noted and not reported.
//
// The client's interceptor option must not be used together with Request: the client then answers nil, nil.
func NewProducer(opts ...producer.Option) (rocketmq.Producer, error) { return OpenProducer(opts) }

// OpenProducer is [NewProducer] with options of graylib's.
func OpenProducer(client []producer.Option, opts ...ProducerOption) (rocketmq.Producer, error) {
	o, err := producerOptionsOf(opts)
	if err != nil {
		return nil, err
	}
	if active(o.rt) {
		prepareProcess(o.rt)
		if client, err = completeProducer(o.rt, client); err != nil {
			return nil, err
		}
	}
	p, err := rocketmq.NewProducer(client...)
	return wrapProducer(p, err, o)
}

// WrapProducer wraps a producer of the client's; it takes the client's results as they are. Where err isn't nil, where p is
// wrapped already, and where GRAY_MESSAGES is off, p and err come back unchanged.
func WrapProducer(p rocketmq.Producer, err error, opts ...ProducerOption) (rocketmq.Producer, error) {
	if err != nil || p == nil {
		return p, err
	}
	o, err := producerOptionsOf(opts)
	if err != nil {
		return nil, err
	}
	return wrapProducer(p, nil, o)
}

func wrapProducer(p rocketmq.Producer, err error, o producerOptions) (rocketmq.Producer, error) {
	if err != nil || p == nil || !active(o.rt) {
		return p, err
	}
	if _, ok := p.(interface{ marks() }); ok {
		return p, nil
	}
	prepareProcess(o.rt)
	return completed(&markedProducer{client: p, rt: o.rt, mark: o.mark}), nil
}

// completeProducer adds what the application left to us: a unique instance, and the configured name servers.
func completeProducer(rt *graylib.Runtime, opts []producer.Option) ([]producer.Option, error) {
	s, err := readProducer(opts)
	if err != nil {
		return nil, err
	}
	all := append([]producer.Option(nil), opts...)
	if s.instance == "" {
		all = append(all, producer.WithInstanceName(instanceName(rt.Identity(), "producer")))
	}
	c := rt.Config()
	if s.resolver == nil && c.NamesrvAddr != "" {
		all = append(all, producer.WithNsResolver(primitive.NewPassthroughResolver(nameServers(nil, c.NamesrvAddr))))
		if c.RocketMQAccessKey != "" {
			all = append(all, producer.WithCredentials(primitive.Credentials{
				AccessKey: c.RocketMQAccessKey, SecretKey: c.RocketMQSecretKey,
			}))
		}
	}
	return all, nil
}

// Start starts the client's producer.
func (p *markedProducer) Start() error { return p.client.Start() }

// Shutdown shuts the client's producer down. Sends under way at that time race with it inside the client: end them first.
func (p *markedProducer) Shutdown() error { return p.client.Shutdown() }

// SendSync sends one message, or several as one batch, and waits for the broker's answer.
func (p *markedProducer) SendSync(ctx context.Context, msgs ...*primitive.Message) (*primitive.SendResult, error) {
	ctx, ended := sending(ctx, p.rt, msgs)
	stamps, err := stampAll(ctx, p.rt, p.mark, msgs)
	if err != nil {
		ended(nil, err)
		return nil, err
	}
	defer unstamp(stamps)
	result, err := p.client.SendSync(ctx, msgs...)
	if err == nil {
		stored(ctx, p.rt, stamps, result)
	}
	defer rename(stamps, err)
	ended(stamps, err)
	return result, err
}

// SendAsync sends one message, or several as one batch, and calls f with the broker's answer from another goroutine. f is
// called at most once.
func (p *markedProducer) SendAsync(ctx context.Context, f func(context.Context, *primitive.SendResult, error), msgs ...*primitive.Message) error {
	ctx, ended := sending(ctx, p.rt, msgs)
	stamps, err := stampAll(ctx, p.rt, p.mark, msgs)
	if err != nil {
		ended(nil, err)
		return err
	}
	defer unstamp(stamps) // the client has encoded the request when it returns
	sent := make(chan struct{})
	defer close(sent)
	called := make(chan struct{}, 1)
	err = p.client.SendAsync(ctx, func(cctx context.Context, result *primitive.SendResult, err error) {
		select {
		case called <- struct{}{}:
		default:
			return
		}
		<-sent // an answer that is quicker than the return would race with taking the stamps off
		if err == nil {
			stored(ctx, p.rt, stamps, result)
		}
		ended(stamps, err)
		if f != nil {
			f(cctx, result, err)
		}
	}, msgs...)
	if err != nil {
		select {
		case called <- struct{}{}: // it isn't called any more
			ended(stamps, err)
		default:
		}
	}
	return err
}

// SendOneWay sends one message, or several as one batch, without waiting for an answer.
func (p *markedProducer) SendOneWay(ctx context.Context, msgs ...*primitive.Message) error {
	ctx, ended := sending(ctx, p.rt, msgs)
	stamps, err := stampAll(ctx, p.rt, p.mark, msgs)
	if err != nil {
		ended(nil, err)
		return err
	}
	defer unstamp(stamps)
	err = p.client.SendOneWay(ctx, msgs...)
	ended(stamps, err)
	if err != nil {
		return err
	}
	for _, s := range stamps {
		s.record(ctx, s.msg.Topic)
	}
	return nil
}

// Request sends a message and waits for its consumer's reply, ttl at most.
func (p *markedProducer) Request(ctx context.Context, ttl time.Duration, msg *primitive.Message) (*primitive.Message, error) {
	ctx, ended := sending(ctx, p.rt, []*primitive.Message{msg})
	stamps, err := stampAll(ctx, p.rt, p.mark, []*primitive.Message{msg})
	if err != nil {
		ended(nil, err)
		return nil, err
	}
	defer unstamp(stamps)
	reply, err := p.client.Request(ctx, ttl, msg)
	if err == nil {
		stored(ctx, p.rt, stamps, nil)
	}
	defer rename(stamps, err)
	ended(stamps, err)
	return reply, err
}

// RequestAsync sends a message and calls callback with its consumer's reply, or with an error after ttl.
func (p *asyncRequester[C]) RequestAsync(ctx context.Context, ttl time.Duration, callback C, msg *primitive.Message) error {
	ctx, ended := sending(ctx, p.rt, []*primitive.Message{msg})
	stamps, err := stampAll(ctx, p.rt, p.mark, []*primitive.Message{msg})
	if err != nil {
		ended(nil, err)
		return err
	}
	defer unstamp(stamps)
	err = p.requestAsync(p.client, ctx, ttl, callback, msg)
	ended(stamps, err)
	if err != nil {
		return err
	}
	for _, s := range stamps {
		s.record(ctx, s.msg.Topic)
	}
	return nil
}
