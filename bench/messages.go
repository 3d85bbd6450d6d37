package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"

	"github.com/graychain/graychain/internal/handoffbench"
	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// messageEffort is how much is measured of messages.
type messageEffort struct {
	sizes    []int         // of bodies, bytes
	rounds   int           // of slices for each size
	span     time.Duration // of sending, in a slice
	backlog  int           // messages that a slice consumes: many more than the client's consumer pulls ahead, which are 4,000
	handoffs int           // rounds
}

var (
	thoroughMessages = messageEffort{sizes: []int{128, 1024, 4096}, rounds: 12, span: 500 * time.Millisecond, backlog: 30_000, handoffs: 50}
	quickMessages    = messageEffort{sizes: []int{128}, rounds: 3, span: 200 * time.Millisecond, backlog: 2000, handoffs: 2}
)

// messageFigures is what was measured of messages.
type messageFigures struct {
	effort   messageEffort
	machine  machine
	took     time.Duration
	sending  []sized
	taking   []sized
	pulled   []pulledShare
	handoffs handoffbench.Result
}

// sized is what the contestants came to with bodies of one size; the first one is the bare client.
type sized struct {
	size int
	work time.Duration // of a handler
	by   []chainResult
}

// handlerWork is how long handlers take that do something: a call to another service, say.
const handlerWork = time.Millisecond

// messageQueues is how many queues the topics have.
const messageQueues = 4

// errNoServers is wrapped where no broker is there and none can be started.
var errNoServers = errors.New("no RocketMQ to measure on")

// measureMessages measures on the servers of the environment (package testenv), or on some that it starts.
func measureMessages(ctx context.Context, e messageEffort, say func(string)) (_ messageFigures, err error) {
	began := time.Now()
	f := messageFigures{effort: e}
	namesrv := os.Getenv(testenv.EnvNamesrv)
	if namesrv == "" {
		if err := localinfra.CheckTools(ctx); err != nil {
			return f, fmt.Errorf("%w: %w", errNoServers, err)
		}
		say("messages: starting RocketMQ")
		dir, err := os.MkdirTemp("", "graychain-bench-")
		if err != nil {
			return f, err
		}
		servers, err := localinfra.Start(ctx, localinfra.Options{State: dir, Discard: true})
		if err != nil {
			return f, errors.Join(err, os.RemoveAll(dir))
		}
		defer func() {
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			err = errors.Join(err, servers.Stop(stop), os.RemoveAll(dir))
		}()
		namesrv = servers.NamesrvAddr()
	}
	rlog.SetLogLevel("error")
	b, err := newMessageBench(ctx, namesrv)
	if err != nil {
		return f, err
	}
	defer func() { _ = b.api.Close() }()
	middle := e.sizes[len(e.sizes)/2]
	for _, size := range e.sizes {
		say(fmt.Sprintf("messages: sending %d bytes", size))
		sending, err := b.sending(ctx, size, e)
		if err != nil {
			return f, fmt.Errorf("sending %d bytes: %w", size, err)
		}
		f.sending = append(f.sending, sending)
		say(fmt.Sprintf("messages: consuming %d bytes", size))
		taking, err := b.taking(ctx, size, 0, size == middle, e)
		if err != nil {
			return f, fmt.Errorf("consuming %d bytes: %w", size, err)
		}
		f.taking = append(f.taking, taking)
	}
	say(fmt.Sprintf("messages: consuming with handlers of %v", handlerWork))
	taking, err := b.taking(ctx, middle, handlerWork, true, e)
	if err != nil {
		return f, fmt.Errorf("consuming with handlers of %v: %w", handlerWork, err)
	}
	f.taking = append(f.taking, taking)
	say("messages: bytes that a lane pulls")
	if f.pulled, err = b.pulledShares(ctx, e.backlog); err != nil {
		return f, fmt.Errorf("bytes that a lane pulls: %w", err)
	}
	say(fmt.Sprintf("messages: %d rounds of handoffs", e.handoffs))
	c := handoffbench.Defaults()
	c.Namesrv, c.Rounds = namesrv, e.handoffs
	if f.handoffs, err = handoffbench.Run(ctx, c); err != nil {
		return f, fmt.Errorf("handoffs: %w", err)
	}
	f.machine, f.took = describe(), time.Since(began)
	return f, nil
}

// messageBench is a broker, and the rules of all that is measured on it.
type messageBench struct {
	namesrv string
	api     *remoting.Client
	brokers map[string]string
	listed  time.Time // when the lane was
	made    int       // topics and groups so far
}

func newMessageBench(ctx context.Context, namesrv string) (*messageBench, error) {
	api, err := remoting.New(remoting.Config{NameServers: []string{namesrv}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	brokers, err := api.Brokers(ctx)
	if err != nil {
		return nil, errors.Join(err, api.Close())
	}
	return &messageBench{namesrv: namesrv, api: api, brokers: brokers, listed: time.Now().Add(-time.Hour)}, nil
}

// name returns a topic's or group's name that nobody else has.
func (b *messageBench) name(what string) string {
	b.made++
	return fmt.Sprintf("graychain-bench-%s-%x-%d", what, b.listed.UnixNano(), b.made)
}

// topic makes a topic.
func (b *messageBench) topic(ctx context.Context) (string, error) {
	topic := b.name("topic")
	for _, addr := range b.brokers {
		if err := b.api.CreateTopic(ctx, addr, topic, messageQueues); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		route, err := b.api.Route(ctx, topic)
		if err == nil && len(route.Queues) == messageQueues*len(b.brokers) {
			return topic, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("topic %s has no route: %w", topic, errors.Join(err, ctx.Err()))
		}
	}
}

// runtime is one process's. The rules list the lane, and filter in the broker or in the client.
func (b *messageBench) runtime(service string, tag graylib.Tag, filter graylib.Filter) (*graylib.Runtime, error) {
	doc, err := rules.Parse([]byte(fmt.Sprintf("lanes:\n- tag: %s\n  listed: %s\n  entries: []\nmessages:\n- {consumer: a, filter: %s}\n",
		benchTag, b.listed.UTC().Format(time.RFC3339), filter)))
	if err != nil {
		return nil, err
	}
	compiled, err := rules.Compile(doc)
	if err != nil {
		return nil, err
	}
	return graylib.New(graylib.Identity{Service: service, Tag: tag, Instance: service + "-" + strconv.Itoa(b.made), Addr: "127.0.0.1:1"},
		graylib.WithRules(graylib.StaticRules(compiled)), graylib.WithLogger(slog.New(slog.DiscardHandler)),
		graylib.WithConfig(graylib.Config{NamesrvAddr: b.namesrv}))
}

func (b *messageBench) producerOptions() []producer.Option {
	name := b.name("producer")
	return []producer.Option{
		producer.WithGroupName(name), producer.WithInstanceName(name),
		producer.WithNsResolver(primitive.NewPassthroughResolver([]string{b.namesrv})),
	}
}

// bareProducer is a started producer of the client's.
func (b *messageBench) bareProducer() (rocketmq.Producer, error) {
	p, err := rocketmq.NewProducer(b.producerOptions()...)
	if err != nil {
		return nil, err
	}
	return p, p.Start()
}

// grayProducer is a started producer of graylib's.
func (b *messageBench) grayProducer() (rocketmq.Producer, error) {
	rt, err := b.runtime("c", graylib.Untagged, graylib.FilterServer)
	if err != nil {
		return nil, err
	}
	p, err := grayrocketmq.OpenProducer(b.producerOptions(), grayrocketmq.WithProducerRuntime(rt))
	if err != nil {
		return nil, err
	}
	return p, p.Start()
}

// taggedContext is that of a request of the lane, as a service within a chain has it.
func taggedContext(ctx context.Context) context.Context {
	return graylib.WithRequestID(graylib.WithTag(ctx, benchTag), "0123456789abcdef0123456789abcdef")
}

// fill stores n messages with bodies of a size, of the lane where ctx is, in batches.
func (b *messageBench) fill(ctx context.Context, p rocketmq.Producer, topic string, size, n int) error {
	body := []byte(strings.Repeat("x", size))
	const most = 32
	for n > 0 {
		batch := make([]*primitive.Message, min(n, most))
		for i := range batch {
			batch[i] = primitive.NewMessage(topic, body)
		}
		if _, err := p.SendSync(ctx, batch...); err != nil {
			return err
		}
		n -= len(batch)
	}
	return nil
}
