package ownership

import (
	"cmp"
	"errors"
	"fmt"
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
const Version = "v1"

// ErrUnknownMember is wrapped where a client id in a lane's group can't be understood.
var ErrUnknownMember = errors.New("unknown member")

// Member is one client in a lane's group.
type Member struct {
	ID      string // the whole client id, as the broker lists it
	Service string
	Tag     graylib.Tag
	Role    Role
}

// InstanceName makes the part of a client id that is ours (design/wire.md): <service>#<tag or ->#<role>#v1#<unique>.
func InstanceName(service string, tag graylib.Tag, role Role, unique string) string {
	return service + "#" + tag.String() + "#" + string(role) + "#" + Version + "#" + unique
}

// ParseMember reads a client id, <address>@<instance name>. An id of another form or version gives an error that wraps
// [ErrUnknownMember].
func ParseMember(clientID string) (Member, error) {
	_, name, ok := strings.Cut(clientID, "@")
	if !ok {
		return Member{}, fmt.Errorf("%w %q: want <address>@<instance name>", ErrUnknownMember, clientID)
	}
	parts := strings.SplitN(name, "#", 5)
	if len(parts) != 5 || parts[0] == "" || parts[4] == "" {
		return Member{}, fmt.Errorf("%w %q: want an instance name <service>#<tag or ->#own|standin#%s#<unique>", ErrUnknownMember, clientID, Version)
	}
	m := Member{ID: clientID, Service: parts[0], Role: Role(parts[2])}
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
	if parts[3] != Version {
		return Member{}, fmt.Errorf("%w %q: version %q, this program knows %s", ErrUnknownMember, clientID, parts[3], Version)
	}
	return m, nil
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
// list and the mode. The lane's own instances come first; stand-ins get something only in the modes auto and all,
// and only while no own instance is listed. In mode ignore stand-ins get nothing. A self that isn't listed gets nothing; an
// id that can't be understood gives everybody nothing, and an error that wraps [ErrUnknownMember].
//
// The answer depends on the sets alone, not on their order, so that members with the same list agree.
func Allocate(self string, ids []string, mode graylib.Mode, queues []Queue) ([]Queue, error) {
	var own, standIns []string
	for _, id := range ids {
		m, err := ParseMember(id)
		if err != nil {
			return nil, err
		}
		if m.Role == Own {
			own = append(own, id)
		} else {
			standIns = append(standIns, id)
		}
	}
	pool := own
	if len(own) == 0 && mode != graylib.ModeIgnore {
		pool = standIns
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
