package remoting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// Errors about groups and subscriptions.
var (
	// ErrNoGroup is wrapped where a broker doesn't know the group.
	ErrNoGroup = errors.New("consumer group doesn't exist")
	// ErrBadExpression is wrapped where a broker can't compile a filter expression.
	ErrBadExpression = errors.New("filter expression refused")
	// ErrNoPropertyFilter is wrapped where a broker doesn't filter by properties at all.
	ErrNoPropertyFilter = errors.New("broker doesn't filter by message properties")
)

// Members returns the client ids of a group's live members, as the broker knows them.
func (c *Client) Members(ctx context.Context, broker, group string) ([]string, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqConsumerList, Ext: map[string]string{"consumerGroup": group}})
	if hasCode(err, codeSystemError) {
		return nil, nil // what a broker answers for a group without members
	}
	if err != nil {
		return nil, fmt.Errorf("members of group %q: %w", group, err)
	}
	var body struct {
		ConsumerIDList []string `json:"consumerIdList"`
	}
	if err := decodeBody("members of group "+group, answer.Body, &body); err != nil {
		return nil, err
	}
	return body.ConsumerIDList, nil
}

type lockRequest struct {
	ConsumerGroup string  `json:"consumerGroup"`
	ClientID      string  `json:"clientId"`
	MQSet         []Queue `json:"mqSet"` // never null: the broker would fail on it
}

func lockBody(group, clientID string, queues []Queue) ([]byte, error) {
	if queues == nil {
		queues = []Queue{}
	}
	return json.Marshal(lockRequest{ConsumerGroup: group, ClientID: clientID, MQSet: queues})
}

// Lock takes the broker's locks of a group's queues, all on this broker, for a client id, and returns those that it holds
// now. A lock lapses 60 s after it was last taken (the broker's rocketmq.broker.rebalance.lockMaxLiveTime).
func (c *Client) Lock(ctx context.Context, broker, group, clientID string, queues []Queue) ([]Queue, error) {
	body, err := lockBody(group, clientID, queues)
	if err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, broker, Command{Code: reqLockQueues, Body: body})
	if err != nil {
		return nil, fmt.Errorf("lock queues of group %q: %w", group, err)
	}
	var locked struct {
		LockOKMQSet []Queue `json:"lockOKMQSet"`
	}
	if err := decodeBody("locks of group "+group, answer.Body, &locked); err != nil {
		return nil, err
	}
	return locked.LockOKMQSet, nil
}

// Unlock gives locks back. Those of another client id stay.
func (c *Client) Unlock(ctx context.Context, broker, group, clientID string, queues []Queue) error {
	body, err := lockBody(group, clientID, queues)
	if err != nil {
		return err
	}
	if _, err := c.call(ctx, broker, Command{Code: reqUnlockQueues, Body: body}); err != nil {
		return fmt.Errorf("unlock queues of group %q: %w", group, err)
	}
	return nil
}

// CheckSQL asks a broker whether it would take an SQL92 subscription. The error wraps [ErrNoPropertyFilter] where it
// filters by no property, and [ErrBadExpression] where it can't compile this one.
func (c *Client) CheckSQL(ctx context.Context, broker, group, topic, expression string) error {
	body, err := json.Marshal(map[string]any{
		"clientId": "graychain", "group": group, "namespace": "",
		"subscriptionData": map[string]any{
			"topic": topic, "subString": expression, "expressionType": "SQL92", "subVersion": 0,
			"classFilterMode": false, "tagsSet": []string{}, "codeSet": []int{},
		},
	})
	if err != nil {
		return err
	}
	_, err = c.call(ctx, broker, Command{Code: reqCheckClientConfig, Body: body})
	switch {
	case err == nil:
		return nil
	case hasCode(err, codeSubscriptionBad):
		return fmt.Errorf("%w: topic %q: %q: %w", ErrBadExpression, topic, expression, err)
	case hasCode(err, codeSystemError):
		return fmt.Errorf("%w: %w", ErrNoPropertyFilter, err)
	}
	return fmt.Errorf("check subscription of group %q to topic %q: %w", group, topic, err)
}

// GroupConfig is a broker's settings of one group, field by field as the broker wrote them.
type GroupConfig map[string]json.RawMessage

// Group returns a broker's settings of a group. The error wraps [ErrNoGroup] where there is none.
func (c *Client) Group(ctx context.Context, broker, group string) (GroupConfig, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqGroup, Ext: map[string]string{"group": group}})
	if err == nil {
		var g GroupConfig
		err := decodeBody("group "+group, answer.Body, &g)
		return g, err
	}
	if hasCode(err, codeGroupNotExist) {
		return nil, fmt.Errorf("%w: %q", ErrNoGroup, group)
	}
	if !hasCode(err, codeNotSupported) {
		return nil, fmt.Errorf("group %q: %w", group, err)
	}
	answer, err = c.call(ctx, broker, Command{Code: reqAllGroups}) // 4.x
	if err != nil {
		return nil, fmt.Errorf("list of groups: %w", err)
	}
	var body struct {
		Table map[string]GroupConfig `json:"subscriptionGroupTable"`
	}
	if err := decodeBody("list of groups", answer.Body, &body); err != nil {
		return nil, err
	}
	g, ok := body.Table[group]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNoGroup, group)
	}
	return g, nil
}

// CreateGroup creates a group on a broker, or replaces its settings: those of like under the new name, or the broker's
// defaults where like is nil.
func (c *Client) CreateGroup(ctx context.Context, broker, group string, like GroupConfig) error {
	g := GroupConfig{}
	if like == nil {
		// org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig
		for k, v := range map[string]string{
			"consumeEnable": "true", "consumeFromMinEnable": "true", "consumeBroadcastEnable": "true",
			"retryQueueNums": "1", "retryMaxTimes": "16", "brokerId": "0", "whichBrokerWhenConsumeSlowly": "1",
			"notifyConsumerIdsChangedEnable": "true",
		} {
			g[k] = json.RawMessage(v)
		}
	}
	for k, v := range like {
		g[k] = v
	}
	name, err := json.Marshal(group)
	if err != nil {
		return err
	}
	g["groupName"] = name
	body, err := json.Marshal(g)
	if err != nil {
		return err
	}
	if _, err := c.call(ctx, broker, Command{Code: reqCreateGroup, Body: body}); err != nil {
		return fmt.Errorf("create group %q: %w", group, err)
	}
	return nil
}

// DefaultTopic is the topic whose settings a broker gives to topics that it creates by itself; it has a route where brokers
// do so (autoCreateTopicEnable).
const DefaultTopic = "TBW102"

// CreateTopic creates a topic on a broker, or replaces its settings, with this number of queues to read and write.
func (c *Client) CreateTopic(ctx context.Context, broker, topic string, queues int) error {
	n := strconv.Itoa(queues)
	_, err := c.call(ctx, broker, Command{Code: reqCreateTopic, Ext: map[string]string{
		"topic": topic, "defaultTopic": DefaultTopic, "readQueueNums": n, "writeQueueNums": n,
		"perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
	}})
	if err != nil {
		return fmt.Errorf("create topic %q: %w", topic, err)
	}
	return nil
}

// Locked tells whether all queues are among those that Lock returned.
func Locked(queues, locked []Queue) bool {
	return !slices.ContainsFunc(queues, func(q Queue) bool { return !slices.Contains(locked, q) })
}
