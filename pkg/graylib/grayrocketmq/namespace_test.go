package grayrocketmq

import (
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// narrowed is a document whose entry about messages is for one service, group and topic.
type narrowed struct {
	*graylibtest.Rules
	service, group, topic string
}

func (r narrowed) Consumption(service, group, topic string) graylib.Consumption {
	if service != r.service || group != r.group || topic != r.topic {
		return graylib.Consumption{Baseline: graylib.ModeIgnore, Default: graylib.ModeIgnore}
	}
	return r.Consume
}

// TestRulesWithoutNamespace: rules name groups and topics as the application does, whose namespace is its client's.
func TestRulesWithoutNamespace(t *testing.T) {
	doc := listed(graylib.ModeAll, "gray")
	doc.Consume.Filter = graylib.FilterClient
	rt, err := graylib.New(graylib.Identity{Service: "a", Addr: "127.0.0.1:1"}, graylib.WithRules(graylib.StaticRules(narrowed{doc, "a", "g", "T"})))
	if err != nil {
		t.Fatal(err)
	}
	c, err := OpenConsumer([]consumer.Option{
		consumer.WithGroupName("g"), consumer.WithNamespace("ns"), consumer.WithNameServer([]string{"127.0.0.1:1"}),
	}, WithConsumerRuntime(rt))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Shutdown() })
	if err := c.Subscribe("T", consumer.MessageSelector{}, newSink().handle); err != nil {
		t.Fatal(err)
	}
	sub := c.subs[0]
	if f := c.filter(sub.topic); f != graylib.FilterClient {
		t.Errorf("filter of %q: %q, want %q", sub.topic, f, graylib.FilterClient)
	}
	lane, _ := doc.Lane("gray")
	laneGroup := place{group: graylib.LaneGroup(c.baseGroup(), "gray"), kind: kindLane, lane: lane}
	m := &laneMember{worker: newWorker(c, laneGroup, c.subs)}
	for _, topic := range []string{sub.topic, retryTopic(m.group())} {
		if mode := m.mode(topic); mode == graylib.ModeIgnore {
			t.Errorf("mode of %q: %q", topic, mode)
		}
	}
	tagged := newWorker(c, place{group: graylib.TaggedGroup(c.baseGroup()), kind: kindTagged}, c.subs)
	msg := &primitive.MessageExt{Message: primitive.Message{Topic: sub.topic}, MsgId: "1", StoreTimestamp: time.Now().UnixMilli()}
	msg.WithProperty(graylib.MessageKeys.Tag, "gray")
	v := tagged.decide(sub, msg, &primitive.MessageQueue{Topic: sub.topic})
	if v.reason != reasonStandIn { // nobody is there to ask for the lane
		t.Errorf("a tagged message in %s: %+v, want mode all's %q", tagged.group(), v, reasonStandIn)
	}
	if key := tagged.key(delivery{msg: msg, sub: sub}); key != "1@"+tagged.group() {
		t.Errorf("a copy's key: %q", key)
	}
	if s := c.State(); s.Namespace != "ns" || s.Group != "ns%g" {
		t.Errorf("state: namespace %q, group %q", s.Namespace, s.Group)
	}
}
