package ownership

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
)

// Role is what a member is in a lane's group.
type Role string

// The roles.
const (
	Own     Role = "own"     // an instance of the lane
	StandIn Role = "standin" // a baseline instance
)

// Version is the version of the allocation. All members of a group must compute the same; one that meets another version
// takes no queue.
const Version = "v2"

// ErrUnknownMember is wrapped where a client id in a lane's group can't be understood.
var ErrUnknownMember = errors.New("unknown member")

// Member is one client in a lane's group.
type Member struct {
	ID      string // the whole client id, as the broker lists it
	Service string
	Tag     graylib.Tag
	Role    Role
	topics  []string // what its application subscribes to, each as topicMark makes it, sorted
}

// topicMark stands for a topic in a client id: topics' names may be as long as 127 bytes each, and an id goes with every list of
// a group's members. Two topics of one consumer that share one (once in 2^32 pairs) would count as one topic: where members
// don't all want both, a queue may then wait at one that doesn't want it.
func topicMark(topic string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(topic))
	return fmt.Sprintf("%08x", h.Sum32())
}

// InstanceName makes the part of a client id that is ours (design/wire.md):
// <service>#<tag or ->#<role>#v2#<marks of the topics, by commas>#<unique>. The topics are those that the member's application
// subscribes to, as on the wire.
func InstanceName(service string, tag graylib.Tag, role Role, topics []string, unique string) string {
	marks := make([]string, len(topics))
	for i, t := range topics {
		marks[i] = topicMark(t)
	}
	slices.Sort(marks)
	return strings.Join([]string{service, tag.String(), string(role), Version, strings.Join(slices.Compact(marks), ","), unique}, "#")
}

// ParseMember reads a client id, <address>@<instance name>. An id of another form or version gives an error that wraps
// [ErrUnknownMember].
func ParseMember(clientID string) (Member, error) {
	_, name, ok := strings.Cut(clientID, "@")
	if !ok {
		return Member{}, fmt.Errorf("%w %q: want <address>@<instance name>", ErrUnknownMember, clientID)
	}
	parts := strings.SplitN(name, "#", 6)
	if len(parts) > 3 && parts[3] != Version {
		return Member{}, fmt.Errorf("%w %q: version %q, this program knows %s", ErrUnknownMember, clientID, parts[3], Version)
	}
	if len(parts) != 6 || parts[0] == "" || parts[5] == "" {
		return Member{}, fmt.Errorf("%w %q: want an instance name <service>#<tag or ->#own|standin#%s#<topics>#<unique>", ErrUnknownMember, clientID, Version)
	}
	m := Member{ID: clientID, Service: parts[0], Role: Role(parts[2])}
	if parts[4] != "" {
		m.topics = strings.Split(parts[4], ",")
	}
	if parts[1] != graylib.Untagged.String() {
		tag, err := graylib.ParseTag(parts[1])
		if err != nil {
			return Member{}, fmt.Errorf("%w %q: %w", ErrUnknownMember, clientID, err)
		}
		m.Tag = tag
	}
	if m.Role != Own && m.Role != StandIn {
		return Member{}, fmt.Errorf("%w %q: role %q, want %s or %s", ErrUnknownMember, clientID, parts[2], Own, StandIn)
	}
	return m, nil
}

// retryPrefix begins the name of a group's retry topic, which holds messages of all its topics.
const retryPrefix = "%RETRY%"

// Wants tells whether the member's application subscribes to a topic. A group's retry topic is for all that subscribe to any.
func (m Member) Wants(topic string) bool {
	return strings.HasPrefix(topic, retryPrefix) && len(m.topics) > 0 || slices.Contains(m.topics, topicMark(topic))
}

// Queue is one queue of one topic.
type Queue struct {
	Topic  string
	Broker string
	ID     int
}

// String returns the queue as <topic>@<broker>/<id>.
func (q Queue) String() string { return fmt.Sprintf("%s@%s/%d", q.Topic, q.Broker, q.ID) }

func compareQueues(a, b Queue) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), strings.Compare(a.Broker, b.Broker), cmp.Compare(a.ID, b.ID))
}

// Allocate returns the queues that the member self is to own, of all queues of one topic, given the client ids in the broker's
// list and the mode. Only members whose application wants the topic count. Of these the lane's own instances come first;
// stand-ins get something only in the modes auto and all, and only while no own instance that wants the topic is listed. In
// mode ignore stand-ins get nothing. A self that isn't listed gets nothing; an id that can't be understood gives everybody
// nothing, and an error that wraps [ErrUnknownMember].
//
// Of the retry topic's candidates those with the most topics remain, so that there is somebody for what failed of a topic that
// not all want.
//
// The answer depends on the sets alone, not on their order, so that members with the same list agree.
func Allocate(self string, ids []string, mode graylib.Mode, queues []Queue) ([]Queue, error) {
	members, err := parse(ids)
	if err != nil || len(queues) == 0 {
		return nil, err
	}
	var pool []string
	for _, m := range candidates(members, mode, queues[0].Topic) {
		pool = append(pool, m.ID)
	}
	slices.Sort(pool)
	pool = slices.Compact(pool)
	at, listed := slices.BinarySearch(pool, self)
	if !listed {
		return nil, nil
	}
	sorted := slices.Clone(queues)
	slices.SortFunc(sorted, compareQueues)
	sorted = slices.Compact(sorted)
	// Neighbours go together: the first len%n members get one more.
	n, size := len(pool), len(sorted)
	from := at*(size/n) + min(at, size%n)
	to := from + size/n
	if at < size%n {
		to++
	}
	return sorted[from:to], nil
}

func parse(ids []string) ([]Member, error) {
	members := make([]Member, len(ids))
	for i, id := range ids {
		var err error
		if members[i], err = ParseMember(id); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// candidates returns the members that share a topic's queues.
func candidates(members []Member, mode graylib.Mode, topic string) []Member {
	wants := func(role Role) (list []Member) {
		for _, m := range members {
			if m.Role == role && m.Wants(topic) {
				list = append(list, m)
			}
		}
		return list
	}
	pool := wants(Own)
	if len(pool) == 0 && mode != graylib.ModeIgnore {
		pool = wants(StandIn)
	}
	if !strings.HasPrefix(topic, retryPrefix) {
		return pool
	}
	most := 0
	for _, m := range pool {
		most = max(most, len(m.topics))
	}
	return slices.DeleteFunc(pool, func(m Member) bool { return len(m.topics) < most })
}

// RetryElsewhere tells whether what failed of a topic in a lane's group is to be retried in the stand-ins' own group: those that have
// this group's retry topic, by the list and the mode of the retries, wouldn't know what to do with it, and a stand-in wants the
// topic. In the topic's own mode ignore nothing is theirs, and it stays.
func RetryElsewhere(ids []string, mode, retries graylib.Mode, topic string) bool {
	members, err := parse(ids)
	if err != nil || mode == graylib.ModeIgnore || !slices.ContainsFunc(members, func(m Member) bool { return m.Role == StandIn && m.Wants(topic) }) {
		return false
	}
	owners := candidates(members, retries, retryPrefix)
	if len(owners) > 0 && owners[0].Role == StandIn {
		return false // they are the same there
	}
	return len(owners) == 0 || slices.ContainsFunc(owners, func(m Member) bool { return !m.Wants(topic) })
}
