package remoting

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

func TestTopicsOf(t *testing.T) {
	s := remotingtest.Start(t)
	known := true
	s.Handle(reqTopicsOfGroup, func(remotingtest.Request) remotingtest.Response {
		if !known {
			return remotingtest.Response{Code: codeNotSupported, Remark: "request type 343 not supported"}
		}
		return remotingtest.Response{Body: []byte(`{"brokerAddr":"h:1","topicList":["T","%RETRY%g"]}`)}
	})
	s.Handle(reqAllConsumerOffsets, func(remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Body: []byte(`{"offsetTable":{"T@g":{0:1},"%RETRY%g@g":{0:3},"T@other":{0:1},"T@g2":{}}}`)}
	})
	c := newClient(t, Config{NameServers: []string{s.Addr}})
	for range 2 {
		got, err := c.TopicsOf(t.Context(), s.Addr, "g")
		if diff := cmp.Diff([]string{"%RETRY%g", "T"}, got); err != nil || diff != "" {
			t.Errorf("broker knows the request: %t: %v, (-want +got):\n%s", known, err, diff)
		}
		known = false
	}
}

func TestConnections(t *testing.T) {
	s := remotingtest.Start(t)
	s.Handle(reqConnections, func(r remotingtest.Request) remotingtest.Response {
		if r.Ext["consumerGroup"] == "empty" {
			return remotingtest.Response{Code: codeNotOnline, Remark: "not online"}
		}
		return remotingtest.Response{Body: []byte(`{"connectionSet":[{"clientAddr":"h:2","clientId":"y","language":"GO","version":317},{"clientAddr":"h:1","clientId":"x","language":"JAVA"}],
			"subscriptionTable":{"T":{"codeSet":[],"expressionType":"SQL92","subString":"gray_tag IS NULL","subVersion":5,"topic":"T"}}}`)}
	})
	c := newClient(t, Config{NameServers: []string{s.Addr}})
	want := Connections{
		Members:       []Connection{{"x", "h:1", "JAVA"}, {"y", "h:2", "GO"}},
		Subscriptions: []Subscription{{Topic: "T", Expression: "gray_tag IS NULL", Type: "SQL92"}},
	}
	got, err := c.Connections(t.Context(), s.Addr, "g")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	if got, err := c.Connections(t.Context(), s.Addr, "empty"); err != nil || len(got.Members) != 0 {
		t.Errorf("a group without members: %+v, %v", got, err)
	}
}

func TestClock(t *testing.T) {
	asked := time.UnixMilli(1_000_000_000_000)
	answered := asked.Add(200 * time.Millisecond)
	boot := asked.Add(-26*time.Hour - 3*time.Minute - 7*time.Second)
	info := map[string]string{"bootTimestamp": fmt.Sprint(boot.UnixMilli()), "runtime": "[ 1 days, 2 hours, 3 minutes, 7 seconds ]"}
	ahead, within, err := clock(info, asked, answered)
	if err != nil || ahead != 400*time.Millisecond || within != 600*time.Millisecond {
		t.Errorf("ahead %v within %v, %v; want 400ms within 600ms", ahead, within, err)
	}
	for _, bad := range []map[string]string{nil, {"bootTimestamp": "1"}, {"bootTimestamp": "x", "runtime": info["runtime"]}, {"bootTimestamp": "1", "runtime": "long"}} {
		if _, _, err := clock(bad, asked, answered); !errors.Is(err, ErrNoClock) {
			t.Errorf("%v: %v, want ErrNoClock", bad, err)
		}
	}
}

// TestSendRefusesSeparators: a property that would become two.
func TestSendRefusesSeparators(t *testing.T) {
	c := newClient(t, Config{NameServers: []string{"127.0.0.1:1"}})
	err := c.Send(t.Context(), "127.0.0.1:1", "P", Outgoing{Topic: "T", Properties: map[string]string{"k": "a\x02b"}})
	if err == nil || !strings.Contains(err.Error(), `property "k"`) {
		t.Errorf("%v, want an error that names the property", err)
	}
}

// TestAdminOnBroker asks a real broker, and looks at a message without becoming a member.
func TestAdminOnBroker(t *testing.T) {
	ctx := t.Context()
	c := newClient(t, Config{NameServers: []string{testenv.Namesrv(t)}})
	brokers, err := c.Brokers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("admin-%x", time.Now().UnixNano())
	for broker, addr := range brokers {
		if err := c.CreateTopic(ctx, addr, name, 1); err != nil {
			t.Fatal(err)
		}
		if err := c.CreateGroup(ctx, addr, name, nil); err != nil {
			t.Fatal(err)
		}
		groups, err := c.Groups(ctx, addr)
		if err != nil || !strings.Contains(strings.Join(groups, " "), name) {
			t.Errorf("groups %v, %v; want %s among them", groups, err, name)
		}
		ahead, within, err := c.Clock(ctx, addr)
		if err != nil || ahead < -within-time.Second || ahead > within+time.Second {
			t.Errorf("the broker on this machine is %v ahead, within %v, %v", ahead, within, err)
		}
		settings, err := c.BrokerConfig(ctx, addr)
		if err != nil || settings["enablePropertyFilter"] != "true" {
			t.Errorf("enablePropertyFilter is %q, %v", settings["enablePropertyFilter"], err)
		}
		q := Queue{Topic: name, Broker: broker, ID: 0}
		deadline := time.Now().Add(30 * time.Second)
		for err = errors.New("not yet"); err != nil && time.Now().Before(deadline); { // the topic reaches the broker's table at once, the route later
			err = c.Send(ctx, addr, "P-"+name, Outgoing{Topic: name, Body: []byte("body"), Properties: map[string]string{"UNIQ_KEY": "ID-1", "gray_tag": "gray"}})
		}
		if err != nil {
			t.Fatal(err)
		}
		look := Pull{Group: name, Queue: q, Max: 32, Filter: Subscription{Topic: name, Expression: "gray_tag = 'gray'", Type: "SQL92"}}
		var got Pulled
		for time.Now().Before(deadline) && len(got.Messages) == 0 { // the queue follows the log
			if got, err = c.Peek(ctx, addr, look); err != nil {
				t.Fatal(err)
			}
		}
		if len(got.Messages) != 1 || got.Messages[0].MsgId != "ID-1" || string(got.Messages[0].Body) != "body" {
			t.Errorf("looked at %+v, want message ID-1", got)
		}
		look.Filter.Expression = "gray_tag = 'blue'"
		if got, err = c.Peek(ctx, addr, look); err != nil || len(got.Messages) != 0 || got.Next != 1 {
			t.Errorf("another tag: %+v, %v; want none, next 1", got, err)
		}
		if conns, err := c.Connections(ctx, addr, name); err != nil || len(conns.Members) != 0 {
			t.Errorf("members %+v, %v: looking has joined the group", conns, err)
		}
		if topics, err := c.TopicsOf(ctx, addr, name); err != nil || len(topics) != 0 {
			t.Errorf("topics %v, %v: looking has committed", topics, err)
		}
		if err := c.SetConsumerOffset(ctx, addr, name, q, 1); err != nil {
			t.Fatal(err)
		}
		if topics, err := c.TopicsOf(ctx, addr, name); err != nil || len(topics) != 1 {
			t.Errorf("topics %v, %v; want %s", topics, err, name)
		}
	}
}
