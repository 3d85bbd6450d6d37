package remoting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoClock is wrapped where a broker doesn't tell its time.
var ErrNoClock = errors.New("broker doesn't tell its time")

// Groups returns the names of all consumer groups that a broker knows, in order; its own are among them.
func (c *Client) Groups(ctx context.Context, broker string) ([]string, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqAllGroups})
	if err != nil {
		return nil, fmt.Errorf("list of groups: %w", err)
	}
	var body struct {
		Table map[string]json.RawMessage `json:"subscriptionGroupTable"`
	}
	if err := decodeBody("list of groups", answer.Body, &body); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(body.Table)), nil
}

// TopicsOf returns the topics on which a group has offsets at a broker, in order, its retry topic among them.
func (c *Client) TopicsOf(ctx context.Context, broker, group string) ([]string, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqTopicsOfGroup, Ext: map[string]string{"group": group}})
	if hasCode(err, codeNotSupported) {
		return c.topicsByTable(ctx, broker, group)
	}
	if err != nil {
		return nil, fmt.Errorf("topics of group %q: %w", group, err)
	}
	var body struct {
		TopicList []string `json:"topicList"`
	}
	if err := decodeBody("topics of group "+group, answer.Body, &body); err != nil {
		return nil, err
	}
	slices.Sort(body.TopicList)
	return body.TopicList, nil
}

// topicsByTable finds a group's topics in the table of all offsets.
func (c *Client) topicsByTable(ctx context.Context, broker, group string) ([]string, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqAllConsumerOffsets})
	if err != nil {
		return nil, fmt.Errorf("table of offsets: %w", err)
	}
	var body struct {
		OffsetTable map[string]json.RawMessage `json:"offsetTable"`
	}
	if err := decodeBody("table of offsets", answer.Body, &body); err != nil {
		return nil, err
	}
	var topics []string
	for key := range body.OffsetTable {
		if topic, ok := strings.CutSuffix(key, "@"+group); ok {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics, nil
}

// Connections is what a broker knows of a group's live members.
type Connections struct {
	Members       []Connection
	Subscriptions []Subscription // one per topic, the same for all members: the broker keeps what was said last
}

// Connection is one live member of a group.
type Connection struct {
	ClientID string `json:"clientId"`
	Addr     string `json:"clientAddr"`
	Language string `json:"language"`
}

// Connections returns a group's live members and what they subscribe to; nothing where it has none.
func (c *Client) Connections(ctx context.Context, broker, group string) (Connections, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqConnections, Ext: map[string]string{"consumerGroup": group}})
	if hasCode(err, codeNotOnline) {
		return Connections{}, nil
	}
	if err != nil {
		return Connections{}, fmt.Errorf("members of group %q: %w", group, err)
	}
	var body struct {
		ConnectionSet     []Connection `json:"connectionSet"`
		SubscriptionTable map[string]struct {
			SubString      string `json:"subString"`
			ExpressionType string `json:"expressionType"`
		} `json:"subscriptionTable"`
	}
	if err := decodeBody("members of group "+group, answer.Body, &body); err != nil {
		return Connections{}, err
	}
	r := Connections{Members: body.ConnectionSet}
	slices.SortFunc(r.Members, func(a, b Connection) int { return strings.Compare(a.ClientID, b.ClientID) })
	for _, topic := range slices.Sorted(maps.Keys(body.SubscriptionTable)) {
		s := body.SubscriptionTable[topic]
		r.Subscriptions = append(r.Subscriptions, Subscription{Topic: topic, Expression: s.SubString, Type: s.ExpressionType})
	}
	return r, nil
}

// BrokerConfig returns a broker's settings, as its configuration file would name them.
func (c *Client) BrokerConfig(ctx context.Context, broker string) (map[string]string, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqBrokerConfig})
	if err != nil {
		return nil, fmt.Errorf("settings of the broker: %w", err)
	}
	settings := make(map[string]string)
	for line := range strings.Lines(string(answer.Body)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			settings[k] = v
		}
	}
	return settings, nil
}

// RuntimeInfo returns what a broker says of its state, by the broker's own names.
func (c *Client) RuntimeInfo(ctx context.Context, broker string) (map[string]string, error) {
	answer, err := c.call(ctx, broker, Command{Code: reqRuntimeInfo})
	if err != nil {
		return nil, fmt.Errorf("state of the broker: %w", err)
	}
	var body struct {
		Table map[string]string `json:"table"`
	}
	err = decodeBody("state of the broker", answer.Body, &body)
	return body.Table, err
}

// running is how long a broker's store says that it has been up (StoreStatsService.getFormatRuntime).
var running = regexp.MustCompile(`^\[ (\d+) days, (\d+) hours, (\d+) minutes, (\d+) seconds \]$`)

// clockStep is how exactly a broker tells its time.
const clockStep = time.Second

// Clock returns how far a broker's clock is ahead of this machine's (negative: behind it), within plus or minus the second
// value. Brokers tell when they were started and how long ago that is, in whole seconds; no message is needed. The error
// wraps [ErrNoClock] where a broker doesn't.
func (c *Client) Clock(ctx context.Context, broker string) (ahead, within time.Duration, err error) {
	asked := time.Now()
	info, err := c.RuntimeInfo(ctx, broker)
	if err != nil {
		return 0, 0, err
	}
	answered := time.Now()
	return clock(info, asked, answered)
}

func clock(info map[string]string, asked, answered time.Time) (ahead, within time.Duration, err error) {
	boot, err := strconv.ParseInt(info["bootTimestamp"], 10, 64)
	up := running.FindStringSubmatch(info["runtime"])
	if err != nil || up == nil {
		return 0, 0, fmt.Errorf("%w: bootTimestamp %q, runtime %q", ErrNoClock, info["bootTimestamp"], info["runtime"])
	}
	var since time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.ParseInt(up[i+1], 10, 32)
		since += time.Duration(n) * unit
	}
	// The broker's time lies within one step from what it says, ours between asking and answer: middle to middle.
	theirs := time.UnixMilli(boot).Add(since + clockStep/2)
	trip := answered.Sub(asked)
	return theirs.Sub(asked.Add(trip / 2)), clockStep/2 + trip/2, nil
}
