package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// brokerAPI is what first offsets need of a broker; *remoting.Client has it.
type brokerAPI interface {
	ConsumerOffset(ctx context.Context, broker, group string, q remoting.Queue) (int64, bool, error)
	SetConsumerOffset(ctx context.Context, broker, group string, q remoting.Queue, offset int64) error
	MaxOffset(ctx context.Context, broker string, q remoting.Queue) (int64, error)
	MinOffset(ctx context.Context, broker string, q remoting.Queue) (int64, error)
	SearchOffset(ctx context.Context, broker string, q remoting.Queue, t time.Time) (int64, error)
	Lock(ctx context.Context, broker, group, clientID string, queues []remoting.Queue) ([]remoting.Queue, error)
	Unlock(ctx context.Context, broker, group, clientID string, queues []remoting.Queue) error
}

var _ brokerAPI = (*remoting.Client)(nil)

// The lock of a setter that died lapses after 60 s (the broker's default); one that lives holds it for some milliseconds.
const (
	lockPatience = 70 * time.Second
	lockRetry    = 40 * time.Millisecond // at least; up to twice as long
	unlockWithin = 3 * time.Second
)

// firstOffsets sets a group's offsets on a topic's queues where none are stored, before its first member starts, so that
// neither the client's nor the broker's own choice ever matters. But for stored it is used by one goroutine.
type firstOffsets struct {
	api  brokerAPI
	id   string // the client id that holds the locks
	base string // <group>
	from consumer.ConsumeFromWhere
	at   time.Time // with ConsumeFromTimestamp
}

// place is one group whose offsets are to be set.
type place struct {
	group string
	kind  kind
	lane  graylib.Lane // kindLane
}

// set sets the first offsets of one group on the queues of one topic. The groups of a consumer are set in this order: the
// lanes', __tagged, <group>. Each begins where <group> would begin at that moment, or later, so that no message falls
// between.
func (f *firstOffsets) set(ctx context.Context, p place, route remoting.Route) error {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		missing, err := f.missing(ctx, p.group, route)
		if err != nil || len(missing) == 0 {
			return f.wrap(p.group, err)
		}
		locked, unlock, err := f.lock(ctx, p.group, missing, route)
		if err == nil && locked {
			err = f.setLocked(ctx, p, route)
			unlock()
			return f.wrap(p.group, err)
		}
		unlock()
		if err != nil {
			return f.wrap(p.group, err)
		}
		// Another member is at it, or has just been: look again.
		timer := time.NewTimer(lockRetry + rand.N(lockRetry))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return f.wrap(p.group, fmt.Errorf("the locks of %v are held by somebody else: %w", missing, ctx.Err()))
		}
	}
}

func (f *firstOffsets) wrap(group string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: group %q: %w", ErrFirstOffsets, group, err)
}

// missing returns the queues without a stored offset, in order.
func (f *firstOffsets) missing(ctx context.Context, group string, route remoting.Route) ([]remoting.Queue, error) {
	var missing []remoting.Queue
	for _, q := range route.Queues {
		if stored, err := f.stored(ctx, group, q, route); err != nil {
			return nil, err
		} else if !stored {
			missing = append(missing, q)
		}
	}
	return missing, nil
}

// stored tells whether a queue has an offset of a group's.
func (f *firstOffsets) stored(ctx context.Context, group string, q remoting.Queue, route remoting.Route) (bool, error) {
	addr, err := master(route, q)
	if err != nil {
		return false, err
	}
	_, stored, err := f.api.ConsumerOffset(ctx, addr, group, q)
	return stored, err
}

// errNoMaster is wrapped where a broker has no master now: offsets live there.
var errNoMaster = errors.New("broker has no master")

func master(route remoting.Route, q remoting.Queue) (string, error) {
	addr := route.Brokers[q.Broker]
	if addr == "" {
		return "", fmt.Errorf("%w: %q", errNoMaster, q.Broker)
	}
	return addr, nil
}

// lock takes all the queues' locks or none, broker by broker in order, so that two setters never wait for each other.
func (f *firstOffsets) lock(ctx context.Context, group string, queues []remoting.Queue, route remoting.Route) (all bool, unlock func(), err error) {
	type held struct {
		addr   string
		queues []remoting.Queue
	}
	var holding []held
	unlock = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockWithin)
		defer cancel()
		for _, h := range holding {
			_ = f.api.Unlock(ctx, h.addr, group, f.id, h.queues) // what isn't unlocked lapses
		}
	}
	for rest := queues; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].Broker == rest[0].Broker {
			n++
		}
		addr, err := master(route, rest[0])
		if err != nil {
			return false, unlock, err
		}
		holding = append(holding, held{addr, rest[:n]})
		locked, err := f.api.Lock(ctx, addr, group, f.id, rest[:n])
		if err != nil || !remoting.Locked(rest[:n], locked) {
			return false, unlock, err
		}
		rest = rest[n:]
	}
	return true, unlock, nil
}

// setLocked sets what is still missing. A topic's first queue on each broker is set last: as long as none of those has an
// offset, the group has not begun on the topic, also where a setter died halfway.
func (f *firstOffsets) setLocked(ctx context.Context, p place, route remoting.Route) error {
	missing, err := f.missing(ctx, p.group, route)
	if err != nil || len(missing) == 0 {
		return err
	}
	fresh := notBegun(missing, route)
	baseMissing := missing
	if p.kind != kindBase {
		if baseMissing, err = f.missing(ctx, f.base, route); err != nil {
			return err
		}
	}
	baseFresh := notBegun(baseMissing, route)
	slices.SortStableFunc(missing, func(a, b remoting.Queue) int { return markerRank(a) - markerRank(b) })
	for _, q := range missing {
		addr, err := master(route, q)
		if err != nil {
			return err
		}
		offset, err := f.first(ctx, addr, p, q, fresh, baseFresh, slices.Contains(baseMissing, q))
		if err != nil {
			return err
		}
		if err := f.api.SetConsumerOffset(ctx, addr, p.group, q, offset); err != nil {
			return err
		}
	}
	return nil
}

func markerRank(q remoting.Queue) int {
	if q.ID == 0 {
		return 1
	}
	return 0
}

// notBegun tells, by what is missing, whether a group has not begun on a topic.
func notBegun(missing []remoting.Queue, route remoting.Route) bool {
	for _, q := range route.Queues {
		if q.ID == 0 && !slices.Contains(missing, q) {
			return false
		}
	}
	return true
}

// first returns the offset at which a group begins on one queue.
func (f *firstOffsets) first(ctx context.Context, addr string, p place, q remoting.Queue, fresh, baseFresh, baseMissing bool) (int64, error) {
	if !fresh {
		return f.api.MinOffset(ctx, addr, q) // the queue is newer than the group: all that is in it belongs to it
	}
	switch p.kind {
	case kindTagged:
		if baseMissing {
			return f.start(ctx, addr, q, baseFresh)
		}
		offset, _, err := f.api.ConsumerOffset(ctx, addr, f.base, q)
		return offset, err
	case kindLane:
		offset, err := f.api.SearchOffset(ctx, addr, q, boundary(p.lane))
		if err != nil || !baseMissing {
			return offset, err
		}
		start, err := f.start(ctx, addr, q, baseFresh)
		return max(offset, start), err
	}
	return f.start(ctx, addr, q, baseFresh)
}

// start is where <group> begins on a queue on which it has no offset.
func (f *firstOffsets) start(ctx context.Context, addr string, q remoting.Queue, fresh bool) (int64, error) {
	if !fresh {
		return f.api.MinOffset(ctx, addr, q)
	}
	switch f.from {
	case consumer.ConsumeFromFirstOffset:
		return f.api.MinOffset(ctx, addr, q)
	case consumer.ConsumeFromTimestamp:
		return f.api.SearchOffset(ctx, addr, q, f.at)
	}
	return f.api.MaxOffset(ctx, addr, q)
}
