package remoting

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrNoTopic is wrapped where no name server knows the topic.
var ErrNoTopic = errors.New("topic doesn't exist")

// masterID is the id of a broker set's master; offsets and locks live there.
const masterID = 0

// permRead is the bit of a queue's permission that allows reading.
const permRead = 4

// maxQueues bounds the queues of one topic that a route may name; brokers refuse more than 10,000 or so, and a route that
// lies must not take all memory.
const maxQueues = 1 << 16

// Queue is one queue of a topic; the JSON form is the protocol's.
type Queue struct {
	Topic  string `json:"topic"`
	Broker string `json:"brokerName"`
	ID     int    `json:"queueId"`
}

// String returns "<topic>@<broker>/<id>".
func (q Queue) String() string { return fmt.Sprintf("%s@%s/%d", q.Topic, q.Broker, q.ID) }

// Compare orders queues by topic, broker and number.
func (q Queue) Compare(o Queue) int {
	return cmp.Or(cmp.Compare(q.Topic, o.Topic), cmp.Compare(q.Broker, o.Broker), cmp.Compare(q.ID, o.ID))
}

// Route says where a topic's queues are.
type Route struct {
	Queues  []Queue           // those that can be read, in order
	Brokers map[string]string // broker name -> the master's address; a broker without a master is absent
}

type brokerData struct {
	BrokerName  string           `json:"brokerName"`
	BrokerAddrs map[int64]string `json:"brokerAddrs"`
}

// Route asks a name server for a topic's route. The error wraps [ErrNoTopic] where there is no such topic.
func (c *Client) Route(ctx context.Context, topic string) (Route, error) {
	answer, err := c.nameServer(ctx, Command{Code: reqRoute, Ext: map[string]string{
		"topic": topic, "acceptStandardJsonOnly": "true",
	}})
	if hasCode(err, codeTopicNotExist) {
		return Route{}, fmt.Errorf("%w: %q", ErrNoTopic, topic)
	}
	if err != nil {
		return Route{}, fmt.Errorf("route of topic %q: %w", topic, err)
	}
	var body struct {
		BrokerDatas []brokerData `json:"brokerDatas"`
		QueueDatas  []struct {
			BrokerName    string `json:"brokerName"`
			Perm          int    `json:"perm"`
			ReadQueueNums int    `json:"readQueueNums"`
		} `json:"queueDatas"`
	}
	if err := decodeBody("route of topic "+topic, answer.Body, &body); err != nil {
		return Route{}, err
	}
	r := Route{Brokers: masters(body.BrokerDatas)}
	for _, qd := range body.QueueDatas {
		if qd.Perm&permRead == 0 {
			continue
		}
		if qd.ReadQueueNums < 0 || len(r.Queues)+qd.ReadQueueNums > maxQueues {
			return Route{}, fmt.Errorf("%w: route of topic %q: %d queues", ErrMalformedFrame, topic, qd.ReadQueueNums)
		}
		for id := range qd.ReadQueueNums {
			r.Queues = append(r.Queues, Queue{Topic: topic, Broker: qd.BrokerName, ID: id})
		}
	}
	slices.SortFunc(r.Queues, Queue.Compare)
	return r, nil
}

// Brokers asks a name server for all brokers: name -> the master's address. Those without a master are left out; see
// [Client.Masterless].
func (c *Client) Brokers(ctx context.Context) (map[string]string, error) {
	list, err := c.clusters(ctx)
	if err != nil {
		return nil, err
	}
	return masters(list), nil
}

// Masterless asks a name server for the brokers that only replicas are registered of, sorted: their masters are down, and what
// they hold can't be known.
func (c *Client) Masterless(ctx context.Context) ([]string, error) {
	list, err := c.clusters(ctx)
	if err != nil {
		return nil, err
	}
	there := masters(list)
	var names []string
	for _, b := range list {
		if there[b.BrokerName] == "" {
			names = append(names, b.BrokerName)
		}
	}
	slices.Sort(names)
	return names, nil
}

// clusters asks a name server for all brokers with their addresses.
func (c *Client) clusters(ctx context.Context) ([]brokerData, error) {
	answer, err := c.nameServer(ctx, Command{Code: reqClusterInfo})
	if err != nil {
		return nil, fmt.Errorf("list of brokers: %w", err)
	}
	var body struct {
		BrokerAddrTable map[string]brokerData `json:"brokerAddrTable"`
	}
	if err := decodeBody("list of brokers", answer.Body, &body); err != nil {
		return nil, err
	}
	list := make([]brokerData, 0, len(body.BrokerAddrTable))
	for name, b := range body.BrokerAddrTable {
		b.BrokerName = name
		list = append(list, b)
	}
	return list, nil
}

func masters(list []brokerData) map[string]string {
	m := make(map[string]string, len(list))
	for _, b := range list {
		if addr := b.BrokerAddrs[masterID]; addr != "" {
			m[b.BrokerName] = addr
		}
	}
	return m
}
