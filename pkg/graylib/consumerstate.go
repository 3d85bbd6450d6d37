package graylib

import (
	"slices"
	"sync"
)

// ConsumerState is what a consumer of messages says of itself, as GET [StatusPath] shows it. It is read from memory: no
// broker is asked.
type ConsumerState struct {
	Group         string            `json:"group"` // the application's, namespace included
	Namespace     string            `json:"namespace,omitempty"`
	Model         MessageModel      `json:"model,omitempty"` // empty from a graylib that didn't say it yet: clustering, as most are
	Subscriptions map[string]string `json:"subscriptions"`   // the application's own: topic -> expression
	Suspended     bool              `json:"suspended,omitempty"`
	Groups        []GroupState      `json:"groups,omitempty"`   // those that it is a member of now
	Unjoined      map[string]string `json:"unjoined,omitempty"` // groups that became its own after its first join, as those of lanes listed since, and that it couldn't join yet, and why; it goes on trying
	Counts        []MessageCount    `json:"counts,omitempty"`   // since the start of the process
	Tallies       []GroupTally      `json:"tallies,omitempty"`
}

// MessageModel is which instances get a message.
type MessageModel string

// The models, as RocketMQ calls them.
const (
	ModelClustering   MessageModel = "clustering"   // one of a group's members
	ModelBroadcasting MessageModel = "broadcasting" // each of them: there is no <group>__tagged, and nobody owns a queue
)

// GroupKind is which of the three sorts of consumer group one is (design/messages.md).
type GroupKind string

// The kinds of groups.
const (
	GroupBase   GroupKind = "base"   // <group>: untagged messages
	GroupLane   GroupKind = "lane"   // <group>_<tag>: one lane's messages
	GroupTagged GroupKind = "tagged" // <group>__tagged: the baseline's view of tagged messages
)

// GroupRole is what a member is in a group.
type GroupRole string

// The roles.
const (
	RoleOwn     GroupRole = "own"     // the group is of the instance's own environment
	RoleStandIn GroupRole = "standin" // a baseline instance in a lane's group
)

// GroupState is one membership in one consumer group.
type GroupState struct {
	Group    string          `json:"group"`
	Kind     GroupKind       `json:"kind"`
	Lane     Tag             `json:"lane,omitempty"` // whose group it is, where Kind is GroupLane
	Role     GroupRole       `json:"role"`
	Member   string          `json:"member,omitempty"` // the client id by which the group's members know it; empty = not known
	Modes    map[string]Mode `json:"modes,omitempty"`  // in a lane's group: the mode in force, by topic
	Running  int             `json:"running"`          // messages that were begun and haven't ended
	Queues   []QueueState    `json:"queues"`           // held, or being taken or given; sorted
	Away     []string        `json:"away,omitempty"`   // brokers with queues of its topics that have no master, or to which it has no connection now, also those that are gone since it joined; sorted
	Lag      int64           `json:"lag"`              // the sum over the queues held, but for retries
	RetryLag int64           `json:"retryLag"`         // the same of the group's own retry topic
}

// QueueOwned is the state of a queue whose messages may begin.
const QueueOwned = "owned"

// QueueState is one queue that a member holds, takes or gives.
type QueueState struct {
	Topic     string `json:"topic"`
	Retry     bool   `json:"retry,omitempty"`   // the topic is the group's own for retries
	Queue     string `json:"queue"`             // <broker name>/<queue number>
	State     string `json:"state"`             // of ownership: locking, reading, owned, giving, committing, unlocking, lost
	Committed int64  `json:"committed"`         // -1 = not known (yet)
	Max       int64  `json:"max"`               // the offset that the queue's next message will have, as last seen; -1 = not known (yet)
	Lag       int64  `json:"lag"`               // Max - Committed; messages that the group's filter leaves out count until it has passed them
	Span      int    `json:"span"`              // messages that a crash would have repeated; 0 where the client library alone knows
	Waiting   string `json:"waiting,omitempty"` // why the queue's next message is held back; empty = it isn't
}

// MessageCount is how many messages one group's member gave to the handler or skipped, for one reason. Deliveries again
// count each time.
type MessageCount struct {
	Group   string `json:"group"`
	Tag     string `json:"tag"` // of the messages; "-" = untagged, "malformed" = no tag that could be one
	Handled bool   `json:"handled"`
	Reason  string `json:"reason"`
	N       int64  `json:"n"`
}

// GroupTally counts, since the start of the process, what happened to a consumer as a member of one group; it stays when the
// group is left.
type GroupTally struct {
	Group        string `json:"group"`
	Taken        int64  `json:"taken"`        // queues whose messages could begin from then on
	Given        int64  `json:"given"`        // queues given up as planned: drained, committed, unlocked
	Forced       int64  `json:"forced"`       // of these, those that did not wait for all handlers: forced handoffs
	Lost         int64  `json:"lost"`         // locks and connections lost: what had begun may be repeated
	Slow         int64  `json:"slow"`         // handlers that were still running at the drain limit: a handoff then would not have waited
	PulledBytes  int64  `json:"pulledBytes"`  // of the brokers' answers; in <group>: of the messages in them
	HandledBytes int64  `json:"handledBytes"` // of the messages that were given to the handler, as stored
}

// consumers are those that told a runtime of themselves.
type consumers struct {
	mu   sync.Mutex
	next int
	list []consumerEntry
}

type consumerEntry struct {
	id    int
	state func() ConsumerState
}

// AddConsumer makes a consumer's state part of [Status] and of the metrics, until the returned function is called.
// Adapters call it; state is called by many goroutines, must not block, and its answer is the caller's to keep.
func (rt *Runtime) AddConsumer(state func() ConsumerState) (remove func()) {
	c := &rt.consumers
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.next
	c.next++
	c.list = append(slices.Clone(c.list), consumerEntry{id, state})
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.list = slices.DeleteFunc(slices.Clone(c.list), func(e consumerEntry) bool { return e.id == id })
	}
}

// Consumers returns the state of this process's consumers, in the order in which they were started.
func (rt *Runtime) Consumers() []ConsumerState {
	rt.consumers.mu.Lock()
	list := rt.consumers.list
	rt.consumers.mu.Unlock()
	states := make([]ConsumerState, len(list))
	for i, e := range list {
		states[i] = e.state()
	}
	return states
}
