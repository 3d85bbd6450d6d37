package grayrocketmq

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// cluster is a name server and broker in one, as strict as a test wants it.
type cluster struct {
	*remotingtest.Server
	mu     sync.Mutex
	topics map[string]bool
	groups map[string]bool
	auto   bool // autoCreateTopicEnable
	filter bool // enablePropertyFilter
	admin  bool // groups may be created
}

// Codes, as the protocol has them.
const (
	codeRoute = 105
	codeCheck = 46
	codeTopic = 17
	codeGroup = 352
	codeMake  = 200

	codePull         = 11
	codeOffset       = 14
	codeSetOffset    = 15
	codeSearchOffset = 29
	codeMaxOffset    = 30
	codeMinOffset    = 31
	codeHeartbeat    = 34
	codeLeave        = 35
	codeMembers      = 38
	codeLock         = 41
	codeUnlock       = 42
)

func newCluster(t *testing.T) *cluster {
	c := &cluster{Server: remotingtest.Start(t), topics: map[string]bool{}, groups: map[string]bool{}}
	locked := func(h func(remotingtest.Request) remotingtest.Response) remotingtest.Handler {
		return func(r remotingtest.Request) remotingtest.Response {
			c.mu.Lock()
			defer c.mu.Unlock()
			return h(r)
		}
	}
	c.Handle(codeRoute, locked(func(r remotingtest.Request) remotingtest.Response {
		if topic := r.Ext["topic"]; !c.topics[topic] && (topic != "TBW102" || !c.auto) {
			return remotingtest.Response{Code: 17}
		}
		return remotingtest.Response{Body: fmt.Appendf(nil, `{"brokerDatas":[{"brokerName":"b","brokerAddrs":{0:%q}}],
			"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":1}]}`, c.Addr)}
	}))
	c.Handle(codeTopic, locked(func(r remotingtest.Request) remotingtest.Response {
		c.topics[r.Ext["topic"]] = true
		return remotingtest.Response{}
	}))
	c.Handle(codeCheck, locked(func(remotingtest.Request) remotingtest.Response {
		if c.filter {
			return remotingtest.Response{}
		}
		return remotingtest.Response{Code: 1, Remark: "The broker does not support consumer to filter message by SQL92"}
	}))
	c.Handle(codeGroup, locked(func(r remotingtest.Request) remotingtest.Response {
		if c.groups[r.Ext["group"]] {
			return remotingtest.Response{Body: fmt.Appendf(nil, `{"groupName":%q,"retryMaxTimes":3}`, r.Ext["group"])}
		}
		return remotingtest.Response{Code: 26}
	}))
	c.Handle(codeMake, locked(func(r remotingtest.Request) remotingtest.Response {
		if !c.admin {
			return remotingtest.Response{Code: 16, Remark: "no permission\n at org.apache"}
		}
		var g struct {
			GroupName     string
			RetryMaxTimes int
		}
		if err := json.Unmarshal(r.Body, &g); err != nil || g.GroupName == "" {
			return remotingtest.Response{Code: 1}
		}
		c.groups[g.GroupName] = true
		return remotingtest.Response{}
	}))
	return c
}

func (c *cluster) consumer(t *testing.T, filter graylib.Filter) *Consumer {
	t.Helper()
	r := listed(graylib.ModeIgnore, "gray")
	r.Consume.Filter = filter
	cons, err := OpenConsumer([]consumer.Option{consumer.WithGroupName("g"), consumer.WithNameServer([]string{c.Addr})},
		WithConsumerRuntime(unitRuntime(t, "", r)))
	if err != nil {
		t.Fatal(err)
	}
	if err := cons.Subscribe("T", consumer.MessageSelector{}, newSink().handle); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cons.Shutdown() })
	return cons
}

// TestPreflight: what is missing is named, each with its fix.
func TestPreflight(t *testing.T) {
	for _, tc := range []struct {
		name   string
		set    func(*cluster)
		filter graylib.Filter
		is     error
		says   []string
	}{
		{"no topic", func(*cluster) {}, graylib.FilterServer, ErrNoTopics, []string{`"T"`, "autoCreateTopicEnable=false"}},
		{"no property filter", func(c *cluster) { c.auto = true }, graylib.FilterServer, ErrNoPropertyFilter,
			[]string{`broker "b"`, "enablePropertyFilter=true", "filter: client", `consumer "c"`}},
		{"no groups", func(c *cluster) { c.auto, c.filter = true, true }, graylib.FilterServer, ErrNoGroups,
			[]string{`"g", "g__tagged", "g_gray"`, "no permission"}},
		{"no groups, filter in the client", func(c *cluster) { c.auto = true }, graylib.FilterClient, ErrNoGroups, []string{`"g__tagged"`}},
		{"some groups", func(c *cluster) { c.auto, c.filter = true, true; c.groups["g"] = true }, graylib.FilterServer, ErrNoGroups,
			[]string{`create "g__tagged", "g_gray" on`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t)
			// <group> has offsets, so that lanes' groups needn't be prepared.
			c.Handle(14, func(r remotingtest.Request) remotingtest.Response {
				if r.Ext["consumerGroup"] == "g" {
					return remotingtest.Response{Ext: map[string]string{"offset": "5"}}
				}
				return remotingtest.Response{Code: 22}
			})
			tc.set(c)
			cons := c.consumer(t, tc.filter)
			err := cons.Start()
			if !errors.Is(err, tc.is) {
				t.Fatalf("got %v, want %v", err, tc.is)
			}
			for _, s := range tc.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q doesn't say %s", err, s)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if st := cons.rt.Status(); st.Ready || len(st.NotReady) != 1 {
				t.Errorf("ready %v: %v", st.Ready, st.NotReady)
			}
		})
	}
}
