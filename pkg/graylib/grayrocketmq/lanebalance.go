package grayrocketmq

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// balance wants, at one broker, the queues that are the member's by the last list and the rules in force; the lock is held.
func (m *laneMember) balance(b *laneBroker) {
	now := time.Now()
	byTopic := make(map[string][]ownership.Queue)
	for q, lq := range m.queues {
		switch {
		case lq.b != b:
		case lq.gone:
			lq.machine.Want(now, false)
			poke(lq.kick)
		default:
			byTopic[q.Topic] = append(byTopic[q.Topic], ownership.Queue{Topic: q.Topic, Broker: q.Broker, ID: q.ID})
		}
	}
	for topic, queues := range byTopic {
		var mine []ownership.Queue
		switch {
		case m.leaving || m.dropped[topic]:
		case !m.started || !b.roster.Lists(m.id):
			continue // what is held stays; the list is of a broker that has just come up
		default:
			var err error
			mine, err = m.allocate(b, topic, queues)
			if errors.Is(err, errStrategy) {
				m.c.log().Error("the queues of a group stay as they are", "group", m.place.group, "topic", topic, "error", err)
				continue
			}
			if err != nil && !m.unlisted {
				m.c.log().Error("a lane's group has a member that can't be understood: no queue is taken while it is there", "group", m.place.group, "error", err)
			}
			m.unlisted = err != nil
		}
		for _, q := range queues {
			lq := m.queues[remoting.Queue{Topic: q.Topic, Broker: q.Broker, ID: q.ID}]
			lq.machine.Want(now, slices.Contains(mine, q))
			poke(lq.kick)
		}
	}
}

// allocate returns the queues of a topic that the member is to own; the lock is held. In <group> the application's own strategy
// decides, or the client's default, as it does in the members that run without graylib still.
func (m *laneMember) allocate(b *laneBroker, topic string, queues []ownership.Queue) ([]ownership.Queue, error) {
	if m.place.kind != kindBase {
		return ownership.Allocate(m.id, b.roster.IDs(), m.mode(topic), queues)
	}
	var all []*primitive.MessageQueue // of all brokers: that is what strategies are made for
	for q, lq := range m.queues {
		if q.Topic == topic && !lq.gone {
			all = append(all, &primitive.MessageQueue{Topic: q.Topic, BrokerName: q.Broker, QueueId: q.ID})
		}
	}
	for q := range m.lacking { // those who know the broker from before count them
		if q.Topic == topic && m.queues[q] == nil {
			all = append(all, &primitive.MessageQueue{Topic: q.Topic, BrokerName: q.Broker, QueueId: q.ID})
		}
	}
	slices.SortFunc(all, func(x, y *primitive.MessageQueue) int {
		return cmp.Or(strings.Compare(x.BrokerName, y.BrokerName), cmp.Compare(x.QueueId, y.QueueId))
	})
	var mine []ownership.Queue
	chosen, err := m.byStrategy(all, slices.Clone(b.roster.IDs()))
	if err != nil {
		return nil, err
	}
	for _, mq := range chosen {
		mine = append(mine, ownership.Queue{Topic: mq.Topic, Broker: mq.BrokerName, ID: mq.QueueId})
	}
	return mine, nil
}

// errStrategy is wrapped where the application's strategy panics.
var errStrategy = errors.New("the application's strategy of allotting queues panicked")

// byStrategy asks the application's strategy. The client survives one that panics, and changes nothing then; so do we.
func (m *laneMember) byStrategy(all []*primitive.MessageQueue, members []string) (mine []*primitive.MessageQueue, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errStrategy, p)
		}
	}()
	return m.c.set.strategy(m.place.group, m.id, all, members), nil
}

// mode is the mode in force for a topic of the lane. The group's retry topic holds messages of all its topics: where one
// of them is in mode ignore, stand-ins leave it alone.
func (m *laneMember) mode(topic string) graylib.Mode {
	if m.place.kind == kindTagged {
		return graylib.ModeAuto // there are no stand-ins in it
	}
	rules := m.c.rt.Rules()
	tag := m.place.lane.Tag
	if lane, ok := rules.Lane(tag); ok && lane.State == graylib.LaneRetired {
		return graylib.ModeAuto
	}
	of := func(topic string) graylib.Mode {
		return m.c.consumption(rules, topic).Mode(tag)
	}
	if !strings.HasPrefix(topic, retryPrefix) {
		return of(topic)
	}
	for _, s := range m.subs {
		if of(s.topic) == graylib.ModeIgnore {
			return graylib.ModeIgnore
		}
	}
	return graylib.ModeAuto
}
