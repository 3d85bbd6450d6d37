package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
// the brokers create topics by themselves anyway. At the same time it asks for those of the groups' retry topics: the second map
// has those that are known, by topic.
func (c *Consumer) topics(ctx context.Context, subs []*subscription, groups []string) (routes, retries map[string]remoting.Route, err error) {
	names := topicsOf(subs)
	for _, g := range groups {
		names = append(names, retryTopic(g))
	}
	found := make([]remoting.Route, len(names))
	errs := atOnce(len(names), func(i int) (err error) {
		found[i], err = c.api.Route(ctx, names[i])
		return err
	})
	routes, retries = make(map[string]remoting.Route, len(subs)), make(map[string]remoting.Route, len(groups))
	var absent []string
	for i, name := range names {
		switch err := errs[i]; {
		case i >= len(subs):
			if err == nil {
				retries[name] = found[i]
			}
		case errors.Is(err, remoting.ErrNoTopic):
			absent = append(absent, name)
		case err != nil:
			return nil, nil, err
		default:
			routes[name] = found[i]
		}
	}
	return routes, retries, c.createTopics(ctx, absent, routes)
}

// createTopics creates topics that don't exist, and adds their routes.
func (c *Consumer) createTopics(ctx context.Context, absent []string, routes map[string]remoting.Route) error {
	if len(absent) == 0 {
		return nil
	}
	if !c.opts.create {
		return fmt.Errorf("%w: %s: create them, or allow the consumer to", ErrNoTopics, quoted(absent))
	}
	auto, err := c.api.Route(ctx, remoting.DefaultTopic)
	if errors.Is(err, remoting.ErrNoTopic) {
		// A broker that is gone takes its topics with it.
		if brokers, e := c.api.Brokers(ctx); e == nil && len(brokers) == 0 {
			return fmt.Errorf("%w: no broker is registered at the name server %s", remoting.ErrUnreachable, quoted(c.nameServers))
		}
		return fmt.Errorf("%w: %s: the brokers don't create topics by themselves (autoCreateTopicEnable=false): create them",
			ErrNoTopics, quoted(absent))
	}
	if err != nil {
		return err
	}
	made := make(map[string][]string, len(absent)) // brokers, by topic
	for _, topic := range absent {
		made[topic] = slices.Sorted(maps.Keys(auto.Brokers))
		for _, name := range made[topic] {
			if err := c.api.CreateTopic(ctx, auto.Brokers[name], topic, c.opts.queues); err != nil {
				return fmt.Errorf("%w: %q, and broker %q refuses to create it: %w", ErrNoTopics, topic, name, err)
			}
		}
	}
	known, err := c.awaitRoutes(ctx, made)
	maps.Copy(routes, known)
	for topic, r := range known {
		c.log().Info("created a topic", "topic", topic, "queues", len(r.Queues))
	}
	return err
}

// hasQueues tells whether a route has queues on all of these brokers.
func hasQueues(r remoting.Route, brokers ...string) bool {
	return !slices.ContainsFunc(brokers, func(broker string) bool {
		return !slices.ContainsFunc(r.Queues, func(q remoting.Queue) bool { return q.Broker == broker })
	})
}

// awaitRoutes waits until the name server knows topics, each on all of its brokers; in the end, on any. It returns the routes of those that
// are known, and an error that names one that isn't.
func (c *Consumer) awaitRoutes(ctx context.Context, brokers map[string][]string) (known map[string]remoting.Route, err error) {
	known = make(map[string]remoting.Route, len(brokers))
	if len(brokers) == 0 {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, routeWithin)
	defer cancel()
	tick := time.NewTicker(routeEvery)
	defer tick.Stop()
	left := slices.Sorted(maps.Keys(brokers)) // topics
	for {
		found := make([]remoting.Route, len(left))
		errs := atOnce(len(left), func(i int) (err error) {
			found[i], err = c.api.Route(ctx, left[i])
			return err
		})
		var again []string
		for i, topic := range left {
			if errs[i] == nil && len(found[i].Queues) > 0 {
				known[topic] = found[i]
			}
			if errs[i] != nil || !hasQueues(found[i], brokers[topic]...) {
				again = append(again, topic)
			}
		}
		if left = again; len(left) == 0 {
			return known, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, topic := range left {
				if _, ok := known[topic]; !ok {
					return known, fmt.Errorf("topic %q was created and is not known to the name server: %w", topic, errors.Join(firstError(errs), ctx.Err()))
				}
			}
			return known, nil
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

// groups creates the groups that brokers lack, where that is allowed. New groups of a consumer get the settings of <group>
// where that exists.
func (c *Consumer) groups(ctx context.Context, asked *checks) error {
	missing := make(map[string]error)
	for b, broker := range asked.brokers {
		addr := asked.at[broker]
		var like remoting.GroupConfig
		for g, name := range asked.groups {
			err := asked.lacks[b][g]
			if err == nil {
				continue
			}
			if !errors.Is(err, remoting.ErrNoGroup) {
				return err
			}
			missing[name] = nil
			if !c.opts.create {
				continue
			}
			if like == nil {
				if like, err = c.api.Group(ctx, addr, c.baseGroup()); err != nil && !errors.Is(err, remoting.ErrNoGroup) {
					return err
				}
			}
			if err = c.api.CreateGroup(ctx, addr, name, like); err != nil {
				missing[name] = err
				continue
			}
			delete(missing, name)
			c.log().Info("created a consumer group", "group", name, "broker", broker)
		}
	}
	if len(missing) == 0 {
		c.retryTopics(ctx, asked)
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

// retryTopics creates the groups' retry topics on the brokers where they don't exist, and waits once for all of them. Brokers create them
// when a member joins, who would have to look for them. It is a matter of time alone, so a refusal is no error.
func (c *Consumer) retryTopics(ctx context.Context, asked *checks) {
	if !c.opts.create {
		return
	}
	lacking := slices.DeleteFunc(slices.Clone(asked.groups), func(g string) bool {
		return hasQueues(asked.retries[retryTopic(g)], asked.brokers...)
	})
	found := make([]remoting.Route, len(lacking))
	errs := atOnce(len(lacking), func(i int) (err error) {
		found[i], err = c.api.Route(ctx, retryTopic(lacking[i]))
		return err
	})
	made := make(map[string][]string) // brokers, by topic
	for i, g := range lacking {
		topic := retryTopic(g)
		switch {
		case errs[i] == nil && hasQueues(found[i], asked.brokers...):
			asked.retries[topic] = found[i]
			continue
		case errs[i] != nil && !errors.Is(errs[i], remoting.ErrNoTopic):
			c.log().Debug("the retry topic is left to the brokers", "group", g, "error", errs[i])
			continue
		}
		for _, broker := range asked.brokers {
			if hasQueues(found[i], broker) {
				continue
			}
			if err := c.api.CreateTopic(ctx, asked.at[broker], topic, 1); err != nil {
				c.log().Debug("the retry topic is left to the broker", "group", g, "broker", broker, "error", err)
				continue
			}
			made[topic] = append(made[topic], broker)
		}
	}
	known, err := c.awaitRoutes(ctx, made)
	maps.Copy(asked.retries, known)
	if err != nil {
		c.log().Debug("retry topics are left to those who join", "error", err)
	}
}

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(q, ", ")
}
