package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// retryTopic is the topic that a broker keeps for a group's retries.
func retryTopic(group string) string { return retryPrefix + group }

const retryPrefix = "%RETRY%"

// routeWithin bounds the wait until a topic that was just created is known to the name server: brokers register at once.
const (
	routeWithin = 5 * time.Second
	routeEvery  = 50 * time.Millisecond
)

// topics returns the routes of all topics, creating those that don't exist where that is allowed: the option says so, and
// the brokers create topics by themselves anyway.
func (c *Consumer) topics(ctx context.Context, subs []*subscription) (map[string]remoting.Route, error) {
	routes := make(map[string]remoting.Route, len(subs))
	var absent []string
	for _, s := range subs {
		r, err := c.api.Route(ctx, s.topic)
		switch {
		case errors.Is(err, remoting.ErrNoTopic):
			absent = append(absent, s.topic)
		case err != nil:
			return nil, err
		default:
			routes[s.topic] = r
		}
	}
	if len(absent) == 0 {
		return routes, nil
	}
	if !c.opts.create {
		return nil, fmt.Errorf("%w: %s: create them, or allow the consumer to", ErrNoTopics, quoted(absent))
	}
	auto, err := c.api.Route(ctx, remoting.DefaultTopic)
	if errors.Is(err, remoting.ErrNoTopic) {
		// A broker that is gone takes its topics with it.
		if brokers, e := c.api.Brokers(ctx); e == nil && len(brokers) == 0 {
			return nil, fmt.Errorf("%w: no broker is registered at the name server %s", remoting.ErrUnreachable, quoted(c.nameServers))
		}
		return nil, fmt.Errorf("%w: %s: the brokers don't create topics by themselves (autoCreateTopicEnable=false): create them",
			ErrNoTopics, quoted(absent))
	}
	if err != nil {
		return nil, err
	}
	for _, topic := range absent {
		for _, name := range slices.Sorted(maps.Keys(auto.Brokers)) {
			if err := c.api.CreateTopic(ctx, auto.Brokers[name], topic, c.opts.queues); err != nil {
				return nil, fmt.Errorf("%w: %q, and broker %q refuses to create it: %w", ErrNoTopics, topic, name, err)
			}
		}
		if routes[topic], err = c.awaitRoute(ctx, topic); err != nil {
			return nil, err
		}
		c.log().Info("created a topic", "topic", topic, "queues", len(routes[topic].Queues))
	}
	return routes, nil
}

// awaitRoute waits until the name server knows a topic.
func (c *Consumer) awaitRoute(ctx context.Context, topic string) (remoting.Route, error) {
	ctx, cancel := context.WithTimeout(ctx, routeWithin)
	defer cancel()
	tick := time.NewTicker(routeEvery)
	defer tick.Stop()
	for {
		r, err := c.api.Route(ctx, topic)
		if err == nil && len(r.Queues) > 0 {
			return r, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return r, fmt.Errorf("topic %q was created and is not known to the name server: %w", topic, errors.Join(err, ctx.Err()))
		}
	}
}

// brokersOf returns all brokers of the routes: name -> the master's address.
func brokersOf(routes map[string]remoting.Route) map[string]string {
	all := make(map[string]string)
	for _, r := range routes {
		maps.Copy(all, r.Brokers)
	}
	return all
}

// groups creates the groups that don't exist, where that is allowed. New groups of a consumer get the settings of <group>
// where that exists.
func (c *Consumer) groups(ctx context.Context, names []string, brokers map[string]string) error {
	missing := make(map[string]error)
	for _, broker := range slices.Sorted(maps.Keys(brokers)) {
		addr := brokers[broker]
		like, err := c.api.Group(ctx, addr, c.baseGroup())
		if err != nil && !errors.Is(err, remoting.ErrNoGroup) {
			return err
		}
		for _, name := range names {
			_, err := c.api.Group(ctx, addr, name)
			if errors.Is(err, remoting.ErrNoGroup) && c.opts.create {
				if err = c.api.CreateGroup(ctx, addr, name, like); err == nil {
					c.log().Info("created a consumer group", "group", name, "broker", broker)
					continue
				}
				missing[name] = err
				continue
			}
			if errors.Is(err, remoting.ErrNoGroup) {
				missing[name] = nil
			} else if err != nil {
				return err
			}
		}
		c.retryTopics(ctx, names, addr)
	}
	if len(missing) == 0 {
		return nil
	}
	list := slices.Sorted(maps.Keys(missing))
	err := fmt.Errorf("%w: create %s on the brokers (`graychain doctor --create` does)", ErrNoGroups, quoted(list))
	for _, name := range list {
		if missing[name] != nil {
			return fmt.Errorf("%w: %w", err, missing[name])
		}
	}
	return err
}

// retryTopics creates the groups' retry topics where they don't exist. Brokers do so when a member joins; a client that
// finds no route then looks again only after 30 s, and retries would wait that long. It is a matter of time alone, so a
// refusal is no error.
func (c *Consumer) retryTopics(ctx context.Context, groups []string, addr string) {
	if !c.opts.create {
		return
	}
	for _, g := range groups {
		if _, err := c.api.Route(ctx, retryTopic(g)); errors.Is(err, remoting.ErrNoTopic) {
			if err = c.api.CreateTopic(ctx, addr, retryTopic(g), 1); err == nil {
				_, err = c.awaitRoute(ctx, retryTopic(g))
			}
			if err != nil {
				c.log().Debug("the retry topic is left to the broker", "group", g, "error", err)
			}
		}
	}
}

// checkFilter asks each broker whether it takes the group's filters.
func (c *Consumer) checkFilter(ctx context.Context, p place, subs []*subscription, brokers map[string]string) error {
	for _, s := range subs {
		sel := s.selector(p.kind, p.lane.Tag, c.filter(s.topic))
		if sel.Type != consumer.SQL92 {
			continue
		}
		for _, broker := range slices.Sorted(maps.Keys(brokers)) {
			err := c.api.CheckSQL(ctx, brokers[broker], p.group, s.topic, sel.Expression)
			if errors.Is(err, ErrNoPropertyFilter) {
				return fmt.Errorf("broker %q at %s: set enablePropertyFilter=true in its configuration, or filter: client for consumer %q in the rules: %w",
					broker, brokers[broker], c.rt.Identity().Service, err)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(q, ", ")
}
