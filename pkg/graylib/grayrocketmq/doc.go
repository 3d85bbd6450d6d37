// Package grayrocketmq binds graylib to rocketmq-client-go/v2. Messages are marked when they are sent, and each is
// consumed by the environment that owns it (design/messages.md).
//
// Adoption is one word per constructor; the results have the client's own method sets:
//
//	p, err := grayrocketmq.NewProducer(producer.WithNameServer(addrs), producer.WithGroupName("test-c"))
//	c, err := grayrocketmq.NewPushConsumer(consumer.WithNameServer(addrs), consumer.WithGroupName("test-a"))
//
// They use the process-wide [graylib.Default], and give back the client's own producers and consumers where GRAY_MESSAGES is
// off. With the kill switch thrown (GRAY_ENABLED=off) nothing is marked, a baseline instance consumes as ever, the lanes' messages as a
// stand-in, and an instance with a tag joins no group, see [graylib.Runtime.Enabled]. [WrapProducer] takes a producer that exists. Programs that hold a runtime of their own, or need one
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
// The client's own consumer runs where a consumer broadcasts. In clustering the library pulls and commits by itself, in <group> as
// in the others: the client takes queues without a lock and commits every 5 s, and could keep none of this. The application's options
// for handlers at once, batches, pull batches, deliveries, limiter, interceptors and, in <group>, the strategy apply. What
// is in memory is bounded otherwise than by the options of flow control: per queue one pull, and 64 messages that have
// begun and aren't committed. Nor does WithConsumeTimeout apply, after which the client hands a message to a second handler, nor
// do WithPullInterval, WithConsumerPullTimeout, WithRebalanceLockInterval, WithRetry, WithInstance, WithUnitName and WithVIPChannel.
// Members pull from brokers' masters alone: a queue without one waits.
// A handler that runs longer than the drain limit is named in the log and counted (GroupTally.Slow).
//
// # The application's own expression
//
// Tag lists and SQL92 expressions (package sql92) are evaluated by the broker in <group>, together with the group's filter, and
// by the client in the other groups, where a lane's version may subscribe differently from its stand-ins. What an expression
// rejects is skipped and counted. Topics may differ too: a member's client id says which topics its application wants, and a
// topic's queues go only to those who want it: to the lane's instances, else to stand-ins. What nobody there wants waits.
// A retry of a topic that its group's member doesn't know is sent back again and never becomes a dead letter by that.
// Expressions are checked by Subscribe and, in <group>, by the broker at Start.
//
// # Batches
//
// With consumer.WithConsumeMessageBatchMaxSize a handler gets several messages at once, all of one topic and one tag: what the
// client would give it at once is split by tag. Its context is made of the first message. A result that isn't success is the
// whole batch's, as with the client; beside success the AckIndex of the handler's ConsumeConcurrentlyContext says which message
// was the last that succeeded (the Java client knows it, the Go client ignores it). What failed the library sends back, looks
// at the broker's answers, and goes on trying.
//
// # Ordered consumption
//
// With consumer.WithConsumerOrder(true) each queue has one handler at a time, in order, under the same queue locks as the
// client's ordered consumer. A message that fails, whatever the result that says so, is tried again in place, and holds up what lies
// behind it, until it has been tried once and consumer.WithMaxReconsumeTimes times more (without a limit where that isn't
// set); then it goes to the dead letters. Between two tries lies what the handler's ConsumeOrderlyContext says, or
// consumer.WithSuspendCurrentQueueTimeMillis, or 1 s; 10 ms to 30 s. Order holds within one tag, through handoffs too; a
// forced handoff (a handler that runs longer than the drain limit) and a crash may break it, for the messages in flight.
// What is being tried again when its queue is given up is the next owner's, and its deliveries are counted anew.
//
// # Broadcasting
//
// With consumer.WithConsumerModel(consumer.BroadCasting) each live instance of a lane gets each of the lane's messages, by
// <group>_<tag>, and each baseline instance, by <group>, all others: untagged ones, strays at once, and a tag's while no instance of
// its lane is live. Live is what the registry shows of the own service or, where the service isn't in it, what the broker shows
// of the lane's group. In mode all the baseline has each message too; in mode ignore it has none of the lane's.
//
// Nobody owns a queue here, each instance keeps its own offsets (the client's file, named by consumer.WithInstance and host;
// the application's ConsumeFromWhere applies), and what fails is not retried: as without graylib. So there is an edge when a
// lane comes or goes. The baseline still handles what was stored before it saw the lane come, and what comes as soon as it sees
// it gone: a message may be handled by both. It is left out by both only where an instance is in the registry before its consumer
// has begun (start the consumer first), or was killed and still is in the registry. Where the service
// isn't in the registry the brokers' answer is up to 1 s old: what comes within that of the last instance's leaving is left out by
// both, as is what comes until the brokers miss one whose host is gone (120 s). Their clocks may be 2 s ahead of the instance's.
//
// # Not yet
//
// Refused by name, with [ErrNotSupported]: ordered consumption with consumer.WithAutoCommit(false) or with broadcasting, and
// filter hooks.
package grayrocketmq
