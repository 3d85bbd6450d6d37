package handoffbench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// names are what a run makes at the brokers.
type names struct{ topic, group string }

// newNames returns names that no other run has.
func newNames() names {
	unique := fmt.Sprintf("%x", time.Now().UnixNano())
	return names{topic: "graychain-handoff-" + unique, group: "graychain-handoff-" + unique}
}

// errNoBroker is returned where a name server knows no broker.
var errNoBroker = errors.New("the name server knows no broker")

// routeLimit bounds the time until the name server knows a topic that a broker has.
const routeLimit = 15 * time.Second

// create makes the topic at all brokers, and returns the number of its queues once the name server knows them.
func (n names) create(ctx context.Context, api *remoting.Client, queues int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, routeLimit)
	defer cancel()
	brokers, err := api.Brokers(ctx)
	if err != nil {
		return 0, err
	}
	if len(brokers) == 0 {
		return 0, errNoBroker
	}
	for _, addr := range brokers {
		if err := api.CreateTopic(ctx, addr, n.topic, queues); err != nil {
			return 0, err
		}
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		route, err := api.Route(ctx, n.topic)
		if err == nil && len(route.Queues) == queues*len(brokers) {
			return len(route.Queues), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("topic %s has %d of %d queues after %v: %w", n.topic, len(route.Queues), queues*len(brokers), routeLimit, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// Requests that remove what was made (org.apache.rocketmq.remoting.protocol.RequestCode).
const (
	reqDeleteTopicInBroker = 215
	reqDeleteGroup         = 207
)

// remove removes topic, retry topics and groups, as far as it can.
func (n names) remove(ctx context.Context, api *remoting.Client) {
	ctx, cancel := context.WithTimeout(ctx, routeLimit)
	defer cancel()
	brokers, err := api.Brokers(ctx)
	if err != nil {
		return
	}
	topics := []string{n.topic}
	groups := []string{n.group, n.group + "_" + string(lane), n.group + "__tagged"}
	for _, g := range groups {
		topics = append(topics, "%RETRY%"+g)
	}
	for _, addr := range brokers {
		for _, g := range groups {
			_, _ = api.Invoke(ctx, addr, remoting.Command{Code: reqDeleteGroup, Ext: map[string]string{"groupName": g, "cleanOffset": "true"}})
		}
		for _, t := range topics {
			_, _ = api.Invoke(ctx, addr, remoting.Command{Code: reqDeleteTopicInBroker, Ext: map[string]string{"topic": t}})
		}
	}
}
