package grayrocketmq

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// consumerSettings is what the client's options say, as far as graylib must know it.
type consumerSettings struct {
	group       string
	namespace   string
	instance    string
	resolver    primitive.NsResolver
	credentials primitive.Credentials
	model       consumer.MessageModel
	orderly     bool
	batch       int
	from        consumer.ConsumeFromWhere
	timestamp   string
	timeout     time.Duration
	strategy    consumer.AllocateStrategy
	hooks       bool // the application has filter hooks of its own

	interceptors []primitive.Interceptor
	trace        interface{ Close() } // of consumer.WithTrace, which starts it; nil without
	goroutines   int                  // handlers at once, per topic
	pullBatch    int
	deliveries   int // at most; -1 = the client's default
	limiter      consumer.Limiter
	suspend      time.Duration // of an ordered queue whose handler failed; 0 = the default
	autoCommit   bool
}

// The client's own defaults (consumer/option.go, consumer/push_consumer.go, validate).
const (
	defaultGoroutines = 20
	defaultPullBatch  = 32
	defaultDeliveries = 16
)

// readConsumer applies the client's options to a value of the client's own type and reads its exported fields. The type is
// unexported, its fields are not; TestReadConsumer notices if that changes.
func readConsumer(opts []consumer.Option) (consumerSettings, error) {
	v, err := applied(reflect.TypeFor[consumer.Option](), func(o reflect.Value) {
		set(o, "ConsumerModel", consumer.Clustering)
		set(o, "ConsumeMessageBatchMaxSize", 1)
		set(o, "Strategy", consumer.AllocateStrategy(consumer.AllocateByAveragely))
		set(o, "ConsumeGoroutineNums", defaultGoroutines)
		set(o, "PullBatchSize", int32(defaultPullBatch))
		set(o, "MaxReconsumeTimes", int32(-1))
		set(o, "AutoCommit", true)
	}, func(o reflect.Value) {
		for _, opt := range opts {
			reflect.ValueOf(opt).Call([]reflect.Value{o})
		}
	})
	if err != nil {
		return consumerSettings{}, err
	}
	return consumerSettings{
		group: get[string](v, "GroupName"), namespace: get[string](v, "Namespace"), instance: get[string](v, "InstanceName"),
		resolver:    get[primitive.NsResolver](v, "Resolver"),
		credentials: get[primitive.Credentials](v, "Credentials"),
		model:       get[consumer.MessageModel](v, "ConsumerModel"), orderly: get[bool](v, "ConsumeOrderly"),
		batch: cmp.Or(get[int](v, "ConsumeMessageBatchMaxSize"), 1), from: get[consumer.ConsumeFromWhere](v, "FromWhere"),
		timestamp: get[string](v, "ConsumeTimestamp"), timeout: get[time.Duration](v, "ConsumeTimeout"),
		strategy: get[consumer.AllocateStrategy](v, "Strategy"),
		hooks:    v.FieldByName("filterMessageHooks").Len() > 0,

		interceptors: get[[]primitive.Interceptor](v, "Interceptors"), trace: get[interface{ Close() }](v, "TraceDispatcher"),
		goroutines: max(get[int](v, "ConsumeGoroutineNums"), 1), pullBatch: int(max(get[int32](v, "PullBatchSize"), 1)),
		deliveries: int(get[int32](v, "MaxReconsumeTimes")), limiter: get[consumer.Limiter](v, "Limiter"),
		suspend: get[time.Duration](v, "SuspendCurrentQueueTimeMillis"), autoCommit: get[bool](v, "AutoCommit"),
	}, nil
}

// producerSettings is what the client's options say, as far as graylib must know it.
type producerSettings struct {
	group    string
	instance string
	resolver primitive.NsResolver
}

func readProducer(opts []producer.Option) (producerSettings, error) {
	v, err := applied(reflect.TypeFor[producer.Option](), func(reflect.Value) {}, func(o reflect.Value) {
		for _, opt := range opts {
			reflect.ValueOf(opt).Call([]reflect.Value{o})
		}
	})
	if err != nil {
		return producerSettings{}, err
	}
	return producerSettings{
		group: get[string](v, "GroupName"), instance: get[string](v, "InstanceName"),
		resolver: get[primitive.NsResolver](v, "Resolver"),
	}, nil
}

// applied makes a value of the struct that an option's function takes, and applies defaults and options to it.
func applied(option reflect.Type, defaults, apply func(reflect.Value)) (v reflect.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the client's options can't be read: %v", ErrInvalidOption, p)
		}
	}()
	ptr := reflect.New(option.In(0).Elem())
	defaults(ptr.Elem())
	apply(ptr)
	return ptr.Elem(), nil
}

// get returns a field, or the zero value where it isn't set.
func get[T any](v reflect.Value, name string) T {
	t, _ := v.FieldByName(name).Interface().(T)
	return t
}

func set(v reflect.Value, name string, value any) { v.FieldByName(name).Set(reflect.ValueOf(value)) }

// nameServers asks the resolver, else takes the configured address (host:port[;host:port…]).
func nameServers(r primitive.NsResolver, configured string) []string {
	if r != nil {
		if list := r.Resolve(); len(list) > 0 {
			return list
		}
	}
	return strings.FieldsFunc(configured, func(c rune) bool { return c == ';' || c == ',' || c == ' ' })
}

// resolver is the application's, with the configured address where that has none or says nothing. The client asks it every 2
// minutes, and what graylib asks itself by where no name server answers.
type resolver struct {
	app        primitive.NsResolver // may be nil
	configured string
}

var _ primitive.NsResolver = resolver{}

// Resolve implements primitive.NsResolver.
func (r resolver) Resolve() []string { return nameServers(r.app, r.configured) }

// Description implements primitive.NsResolver.
func (r resolver) Description() string {
	return "name servers of the application, or of graylib's configuration"
}
