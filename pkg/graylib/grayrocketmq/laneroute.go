package grayrocketmq

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// route takes in the routes of topics that were read, and meets brokers that are new. Of a topic that doesn't exist the route is empty.
func (m *laneMember) route(ctx context.Context, routes map[string]remoting.Route) {
	retry := retryTopic(m.place.group)
	if _, known := routes[retry]; !known {
		if r, err := m.c.api.Route(ctx, retry); err == nil || errors.Is(err, remoting.ErrNoTopic) {
			routes = withRoute(routes, retry, r)
		}
	}
	m.meet(ctx, brokersOf(routes))
	m.mu.Lock()
	defer m.mu.Unlock()
	lacked := m.lackedBrokers()
	for topic, r := range routes {
		m.missing(topic, r, time.Now())
		maps.DeleteFunc(m.lacking, func(q remoting.Queue, _ bool) bool { return q.Topic == topic })
		for _, q := range r.Queues {
			b := m.brokers[q.Broker]
			if b == nil {
				m.lacking[q] = true
			}
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
	for _, broker := range m.lackedBrokers() {
		if !slices.Contains(lacked, broker) {
			m.c.log().Warn("a broker has no master: its queues wait", "group", m.place.group, "broker", broker)
		}
	}
	for _, b := range m.brokers {
		m.balance(b)
	}
}

// brokerPatience is how long a broker may be missing in a topic's route before its queues count as gone: a name server that has
// just come up knows a broker when that registers next, which brokers do every 30 s.
const brokerPatience = 70 * time.Second

// missing finds out which of a topic's queues its route no longer has; the lock is held. Nobody is to own those: members that
// have come since know only the others, and all must allot the same. A broker that has fewer queues than before says so at once; one
// that is missing altogether is waited for. Queues that are back are taken again.
func (m *laneMember) missing(topic string, r remoting.Route, now time.Time) {
	queues, brokers := make(map[remoting.Queue]bool, len(r.Queues)), make(map[string]bool)
	for _, q := range r.Queues {
		queues[q], brokers[q.Broker] = true, true
	}
	for q, lq := range m.queues {
		if q.Topic != topic {
			continue
		}
		was := lq.gone
		switch {
		case queues[q]:
			lq.missing, lq.gone = time.Time{}, false
		case brokers[q.Broker]:
			lq.gone = true
		case lq.missing.IsZero():
			lq.missing = now
		case now.Sub(lq.missing) >= brokerPatience:
			lq.gone = true
		}
		if lq.gone != was {
			m.c.log().Info("a queue left its topic's route, or is back", "group", m.place.group, "queue", q.String(), "gone", lq.gone)
		}
	}
}

// meet takes in brokers' addresses, and connects to those that are new: on joining at once, later on its own, so that one that
// doesn't answer holds up nothing. Either way it is tried again and again.
func (m *laneMember) meet(ctx context.Context, brokers map[string]string) {
	var list []*laneBroker
	m.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		if b := m.brokers[name]; b != nil {
			m.locate(b, brokers[name])
			continue
		}
		b := &laneBroker{
			name: name, addr: brokers[name], checked: m.joining, roster: ownership.NewRoster(m.config.LockLife), members: make(chan struct{}, 1),
		}
		m.brokers[name] = b
		list = append(list, b)
	}
	joining := m.joining
	m.mu.Unlock()
	var all sync.WaitGroup
	for _, b := range list {
		all.Go(func() {
			if joining {
				if err := m.connect(ctx, b); err != nil {
					m.mu.Lock()
					m.unmet = err
					m.mu.Unlock()
				}
			}
			m.wg.Go(func() { m.keepBroker(b) })
		})
	}
	all.Wait()
}

// lackedBrokers returns the brokers of queues that have no master, sorted; the lock is held.
func (m *laneMember) lackedBrokers() []string {
	var list []string
	for q := range m.lacking {
		list = append(list, q.Broker)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// away returns the brokers whose queues wait: those without a master, and those that the member isn't connected to; the lock is
// held.
func (m *laneMember) away() []string {
	list := m.lackedBrokers()
	for name, b := range m.brokers {
		if b.session == nil {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
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
		if len(m.lacking) > 0 {
			wait = routeEveryLacking
		}
		if m.lacksRetries(time.Now()) {
			wait = time.Second
		}
		m.mu.Unlock()
		if !m.untilRoutes(wait) {
			return
		}
		routes := make(map[string]remoting.Route, len(m.subs))
		for _, s := range m.subs {
			r, err := m.c.api.Route(m.ctx, s.topic)
			if err == nil || errors.Is(err, remoting.ErrNoTopic) {
				routes[s.topic] = r
			}
		}
		if m.ctx.Err() == nil {
			m.route(m.ctx, routes)
		}
	}
}

// retryPatience is how long a broker is looked at each second for the group's retry topic. It makes that when the first member joins,
// and tells the name server at once, or within 30 s.
const retryPatience = time.Minute

// lacksRetries tells whether a broker is about to get the group's retry topic; the lock is held.
func (m *laneMember) lacksRetries(now time.Time) bool {
	for _, b := range m.brokers {
		its := func(q remoting.Queue) bool { return q.Broker == b.name && strings.HasPrefix(q.Topic, retryPrefix) }
		if b.session != nil && now.Sub(b.metAt) < retryPatience && !slices.ContainsFunc(slices.Collect(maps.Keys(m.queues)), its) {
			return true
		}
	}
	return false
}
