// Package grayrocketmq binds graylib to rocketmq-client-go/v2. Messages are marked when they are sent, and each is
// consumed by the environment that owns it (design/messages.md).
//
// Adoption is one word per constructor; the results have the client's own method sets:
//
//	p, err := grayrocketmq.NewProducer(producer.WithNameServer(addrs), producer.WithGroupName("test-c"))
//	c, err := grayrocketmq.NewPushConsumer(consumer.WithNameServer(addrs), consumer.WithGroupName("test-a"))
//
// They use the process-wide [graylib.Default], and give back the client's own producers and consumers where GRAY_ENABLED or
// GRAY_MESSAGES is off. [WrapProducer] takes a producer that exists. Programs that hold a runtime of their own, or need one
// of the options, call [OpenProducer] and [OpenConsumer].
//
// A consumer can't be wrapped once it exists: it runs several groups, each a client of its own, and the client offers no
// way to copy the settings of a finished one. NewPushConsumer has the same signature as the client's, so that a call of
// one can be replaced by a call of the other.
//
// # Groups
//
// A baseline instance is a member of <group> (untagged messages) and <group>__tagged (tagged ones: it handles copies in mode
// all, and what no lane owns); an instance of a listed lane is a member of <group>_<tag>. The filter of a group never changes;
// which tagged messages the baseline handles is read from the rules for each message, so that a change of the rules takes
// effect at once.
//
// # Not yet
//
// Refused by name, with [ErrNotSupported]: orderly and broadcasting consumption, batches to the handler of more than one
// message, and SQL92 expressions of the application. Stand-ins and handoffs come with mode auto.
package grayrocketmq
