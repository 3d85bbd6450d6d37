package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// Brokers are away that have queues and can't be asked: the master is down while a replica still names the queues to the name
// server, or nobody answers. Groups are joined with the others; members take queues of those that are away when they are back.
//
// What then has no offset is begun at its first message, as a new queue is (laneQueue.committed). That is right where <group> has
// begun already; where it hasn't, it would take all that the broker keeps, whatever ConsumeFromWhere says: see mayBegin.

// masterless returns the brokers of the routes' queues that have no master, and why they can't be asked.
func masterless(routes map[string]remoting.Route) map[string]error {
	away := make(map[string]error)
	for _, r := range routes {
		for _, q := range r.Queues {
			if _, err := master(r, q); err != nil {
				away[q.Broker] = err
			}
		}
	}
	return away
}

// unreachable adds the brokers that don't answer.
func (c *Consumer) unreachable(ctx context.Context, routes map[string]remoting.Route, away map[string]error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for name, addr := range brokersOf(routes) {
		all.Go(func() {
			if _, err := c.api.Group(ctx, addr, c.baseGroup()); errors.Is(err, remoting.ErrUnreachable) {
				mu.Lock()
				defer mu.Unlock()
				away[name] = fmt.Errorf("broker %q: %w", name, err)
			}
		})
	}
	all.Wait()
}

// without returns the routes without the brokers that are away.
func without(routes map[string]remoting.Route, away map[string]error) map[string]remoting.Route {
	if len(away) == 0 {
		return routes
	}
	rest := make(map[string]remoting.Route, len(routes))
	for topic, r := range routes {
		r.Brokers = maps.Clone(r.Brokers)
		maps.DeleteFunc(r.Brokers, func(name, _ string) bool { return away[name] != nil })
		r.Queues = slices.DeleteFunc(slices.Clone(r.Queues), func(q remoting.Queue) bool { return away[q.Broker] != nil })
		rest[topic] = r
	}
	return rest
}

// present returns the routes without the brokers that have no master.
func present(routes map[string]remoting.Route) map[string]remoting.Route {
	return without(routes, masterless(routes))
}

// some returns an error where no broker can be asked, or one could not be a moment ago and all can now. Else it tells of those that are away.
func (c *Consumer) some(routes map[string]remoting.Route, away map[string]error, asked *checks) error {
	if asked.gone != nil {
		return asked.gone
	}
	names := slices.Sorted(maps.Keys(away))
	if len(names) > 0 && len(brokersOf(without(routes, away))) == 0 {
		return away[names[0]]
	}
	for _, name := range names {
		c.log().Warn("a broker can't be asked: groups are joined without it, and its queues wait", "broker", name, "error", away[name])
	}
	return nil
}

// mayBegin returns an error where <group> has no offsets yet and a broker is away: where it would begin there couldn't be said
// later.
func (f *firstOffsets) mayBegin(ctx context.Context, p place, route remoting.Route, away map[string]error) error {
	if p.kind != kindBase || len(away) == 0 {
		return nil
	}
	missing, err := f.missing(ctx, p.group, route)
	if err == nil && notBegun(missing, route) {
		names := slices.Sorted(maps.Keys(away))
		err = fmt.Errorf("it begins for the first time, which takes all brokers: %w", away[names[0]])
	}
	return f.wrap(p.group, err)
}

// admit looks at a broker that wasn't there when a group was joined, as the others were looked at then: it takes the group's
// filter, and has the group, or gets it.
func (c *Consumer) admit(ctx context.Context, p place, subs []*subscription, name, addr string) error {
	at := map[string]remoting.Route{"": {Brokers: map[string]string{name: addr}}}
	asked := c.check(ctx, []place{p}, []place{p, {group: c.baseGroup(), kind: kindBase}}, subs, at, make(map[string]remoting.Route), nil)
	if asked.gone != nil {
		return asked.gone
	}
	if err := firstError(asked.filters); err != nil {
		return err
	}
	return c.groups(ctx, asked)
}
