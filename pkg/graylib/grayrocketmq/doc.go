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
// A baseline instance is a member of <group> (untagged messages), of <group>__tagged (tagged ones: it handles copies in mode
// all, and what no lane owns), and as a stand-in of each listed lane's <group>_<tag>; an instance of a listed lane is a member
// of its lane's group alone. The filter of a group never changes, only who owns its queues: in mode auto the lane's instances
// while there are any, else the stand-ins. The broker's list of a group's members says who is there, its queue locks keep
// owners apart (package ownership), and what was begun is finished and committed before a queue changes hands: a planned
// handoff loses and repeats nothing. A crash repeats at most what was in flight, 64 messages per queue. A change of the mode
// moves ownership at once, and no offset.
//
// In <group> the client's own consumer runs. In the others the library pulls and commits by itself, with the application's
// options for handlers at once, pull batches, deliveries, limiter and interceptors; the options of flow control don't apply
// there (nothing is cached beyond one pull), nor does WithConsumeTimeout.
//
// # Not yet
//
// Refused by name, with [ErrNotSupported]: orderly and broadcasting consumption, batches to the handler of more than one
// message, and SQL92 expressions of the application. All members of a lane's group are to
// subscribe to the same topics: a queue goes to a member by the list alone, and waits at one that doesn't.
package grayrocketmq
