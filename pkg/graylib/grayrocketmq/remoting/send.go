package remoting

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Outgoing is a message as it goes to the broker.
type Outgoing struct {
	Topic      string
	Body       []byte
	Flag       int32
	Properties map[string]string // the client's own among them; none may hold the characters 1 and 2
}

// Separators of a message's properties (org.apache.rocketmq.common.message.MessageDecoder).
const (
	nameSeparator     = "\x01"
	propertySeparator = "\x02"
)

// Send stores a message on a broker, in a queue of the broker's choice, and returns when it is stored. Unlike the client's
// producer it leaves the message's id as the properties have it. A lost answer may mean that it was stored.
func (c *Client) Send(ctx context.Context, broker, producerGroup string, m Outgoing) error {
	var properties strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m.Properties)) {
		v := m.Properties[k]
		if strings.ContainsAny(k+v, nameSeparator+propertySeparator) {
			return fmt.Errorf("send to topic %q: property %q: its name or value holds a separator", m.Topic, k)
		}
		properties.WriteString(k + nameSeparator + v + propertySeparator)
	}
	_, err := c.call(ctx, broker, Command{Code: reqSend, Body: m.Body, Ext: map[string]string{
		"producerGroup": producerGroup, "topic": m.Topic, "defaultTopic": DefaultTopic, "defaultTopicQueueNums": "4",
		"queueId": "-1", "sysFlag": "0", "bornTimestamp": strconv.FormatInt(time.Now().UnixMilli(), 10),
		"flag": strconv.FormatInt(int64(m.Flag), 10), "properties": properties.String(), "reconsumeTimes": "0",
		"unitMode": "false", "batch": "false",
	}})
	if err != nil {
		return fmt.Errorf("send to topic %q: %w", m.Topic, err)
	}
	return nil
}
