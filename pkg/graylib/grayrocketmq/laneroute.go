package grayrocketmq

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// route takes in the queues of the topics, and connects to brokers that are new.
func (m *laneMember) route(ctx context.Context, routes map[string]remoting.Route) error {
	retry := retryTopic(m.place.group)
	if _, known := routes[retry]; !known {
		if r, err := m.c.api.Route(ctx, retry); err == nil {
			routes = withRoute(routes, retry, r)
		} else if !errors.Is(err, remoting.ErrNoTopic) {
			return err
		}
	}
	if err := m.meet(ctx, brokersOf(routes)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, r := range routes {
		for _, q := range r.Queues {
			b := m.brokers[q.Broker]
			if m.queues[q] != nil || b == nil || m.dropped[topic] {
				continue
			}
			lq := &laneQueue{m: m, b: b, q: q, machine: ownership.NewMachine(m.id, m.config, b.roster), kick: make(chan struct{}, 1), room: make(chan struct{}, 1)}
			if b.session == nil {
				lq.machine.Connection(time.Now(), false)
			}
			m.queues[q] = lq
			m.wg.Go(lq.run)
		}
	}
	for _, b := range m.brokers {
		m.balance(b)
	}
	return nil
}

// meet takes in brokers' addresses, and connects to those that are new.
func (m *laneMember) meet(ctx context.Context, brokers map[string]string) error {
	var list []*laneBroker
	m.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		if b := m.brokers[name]; b != nil {
			m.locate(b, brokers[name])
			continue
		}
		list = append(list, &laneBroker{name: name, addr: brokers[name], roster: ownership.NewRoster(m.config.LockLife), members: make(chan struct{}, 1)})
	}
	m.mu.Unlock()
	errs := atOnce(len(list), func(i int) error { return m.connect(ctx, list[i]) })
	for i, b := range list {
		if errs[i] != nil {
			continue
		}
		m.mu.Lock()
		m.brokers[b.name] = b
		m.mu.Unlock()
		m.wg.Go(func() { m.keepBroker(b) })
	}
	return firstError(errs)
}

// withRetries returns the routes together with that of a group's retry topic, where it is known.
func withRetries(routes, retries map[string]remoting.Route, group string) map[string]remoting.Route {
	topic := retryTopic(group)
	if r, known := retries[topic]; known {
		return withRoute(routes, topic, r)
	}
	return routes
}

func withRoute(routes map[string]remoting.Route, topic string, r remoting.Route) map[string]remoting.Route {
	all := map[string]remoting.Route{topic: r}
	for t, r := range routes {
		all[t] = r
	}
	return all
}

// keepRoutes follows topics that get further queues, and brokers whose masters change.
func (m *laneMember) keepRoutes() {
	for {
		wait := routeEverySlow
		m.mu.Lock()
		retry := slices.ContainsFunc(keys(m.queues), func(q remoting.Queue) bool { return strings.HasPrefix(q.Topic, retryPrefix) })
		m.mu.Unlock()
		if !retry {
			wait = time.Second // the broker makes it when the first member joins
		}
		if !m.untilRoutes(wait) {
			return
		}
		routes := make(map[string]remoting.Route, len(m.subs))
		for _, s := range m.subs {
			r, err := m.c.api.Route(m.ctx, s.topic)
			if err != nil {
				break // asked again
			}
			routes[s.topic] = r
		}
		if len(routes) == len(m.subs) {
			if err := m.route(m.ctx, routes); err != nil && m.ctx.Err() == nil {
				m.c.log().Warn("the queues of a lane's group can't be followed, going on trying", "group", m.place.group, "error", err)
			}
		}
	}
}

func keys(m map[remoting.Queue]*laneQueue) []remoting.Queue {
	list := make([]remoting.Queue, 0, len(m))
	for q := range m {
		list = append(list, q)
	}
	return list
}
