package doctorcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// system is what the doctor looks at, in memory: a Nacos, instances and a broker that is its own name server.
type system struct {
	nacosAhead time.Duration // of its clock
	nacosClock error
	content    string
	instances  []graylib.Instance
	malformed  []graynacos.Malformed
	nacosAway  bool

	broker  *remotingtest.Server
	config  string            // of the broker
	ahead   time.Duration     // its clock
	topics  []string          // that have a route
	groups  []string          // that exist
	members map[string]string // group -> the answer to "who is in it"
	made    []string          // groups and topics that were created
}

func (s *system) Get(context.Context) ([]byte, string, error) { return []byte(s.content), "sum", nil }
func (s *system) Publish(context.Context, []byte, string) error {
	return errors.New("the doctor published something")
}
func (s *system) Clock(context.Context) (ahead, within time.Duration, err error) {
	return s.nacosAhead, 0, s.nacosClock
}
func (s *system) Instances(context.Context) ([]graylib.Instance, error) { return s.instances, nil }
func (s *system) MalformedInstances(context.Context) ([]graynacos.Malformed, error) {
	return s.malformed, nil
}

const published = `revision: 7
lanes:
- {tag: gray, listed: 2026-01-01T00:00:00Z}
`

// Request codes (org.apache.rocketmq.remoting.protocol.RequestCode).
const (
	updateTopic, getConfig, getRuntime, checkConfig, getRoute, getCluster, updateGroup, allGroups, connections, getGroup = 17, 26, 28, 46, 105, 106, 200, 201, 203, 352
)

// good is a system with nothing to find.
func good(t *testing.T) *system {
	s := &system{
		content: published, broker: remotingtest.Start(t), config: "enablePropertyFilter=true\nautoCreateTopicEnable=true\nautoCreateSubscriptionGroup=true\n",
		topics: []string{"T"}, groups: []string{"g", "g__tagged", "g_gray"},
		members: map[string]string{"g": member(own("", "T"), "T", "gray_tag IS NULL"), "g_gray": member(own("gray", "T"), "T", "gray_tag = 'gray'")},
	}
	reply := func(v any) remotingtest.Response {
		body, err := json.Marshal(v)
		if err != nil {
			t.Error(err)
		}
		return remotingtest.Response{Body: body}
	}
	brokers := map[string]any{"b": map[string]any{"brokerName": "b", "brokerAddrs": map[int]string{0: s.broker.Addr}}}
	s.broker.Handle(getCluster, func(remotingtest.Request) remotingtest.Response {
		return reply(map[string]any{"brokerAddrTable": brokers})
	})
	s.broker.Handle(getConfig, func(remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Body: []byte(s.config)}
	})
	s.broker.Handle(checkConfig, func(remotingtest.Request) remotingtest.Response {
		if strings.Contains(s.config, "enablePropertyFilter=true") {
			return remotingtest.Response{}
		}
		return remotingtest.Response{Code: 1, Remark: "The broker does not support consumer to filter message by SQL92"}
	})
	s.broker.Handle(getRuntime, func(remotingtest.Request) remotingtest.Response {
		return reply(map[string]any{"table": map[string]string{
			// Half of the second that is under way has passed.
			"bootTimestamp": fmt.Sprint(time.Now().Add(s.ahead - 3500*time.Millisecond).UnixMilli()), "runtime": "[ 0 days, 0 hours, 0 minutes, 3 seconds ]",
		}})
	})
	s.broker.Handle(getRoute, func(r remotingtest.Request) remotingtest.Response {
		if !slices.Contains(s.topics, r.Ext["topic"]) {
			return remotingtest.Response{Code: 17, Remark: "No topic route info"}
		}
		return reply(map[string]any{"brokerDatas": []any{brokers["b"]}, "queueDatas": []any{map[string]any{"brokerName": "b", "perm": 6, "readQueueNums": 2}}})
	})
	s.broker.Handle(allGroups, func(remotingtest.Request) remotingtest.Response {
		table := map[string]any{}
		for _, g := range s.groups {
			table[g] = map[string]string{"groupName": g}
		}
		return reply(map[string]any{"subscriptionGroupTable": table})
	})
	s.broker.Handle(getGroup, func(r remotingtest.Request) remotingtest.Response {
		return reply(map[string]string{"groupName": r.Ext["group"]})
	})
	s.broker.Handle(updateTopic, func(r remotingtest.Request) remotingtest.Response {
		s.made = append(s.made, "topic "+r.Ext["topic"]+" "+r.Ext["readQueueNums"])
		return remotingtest.Response{}
	})
	s.broker.Handle(updateGroup, func(r remotingtest.Request) remotingtest.Response {
		var g struct{ GroupName string }
		_ = json.Unmarshal(r.Body, &g)
		s.made = append(s.made, "group "+g.GroupName)
		return remotingtest.Response{}
	})
	s.broker.Handle(connections, func(r remotingtest.Request) remotingtest.Response {
		if m, ok := s.members[r.Ext["consumerGroup"]]; ok {
			return remotingtest.Response{Body: []byte(m)}
		}
		return remotingtest.Response{Code: 206, Remark: "not online"}
	})
	s.instance(t, "", graylib.Status{Instance: "a-1", Consumers: []graylib.ConsumerState{{Group: "g", Subscriptions: map[string]string{"T": "*"}}}})
	s.instance(t, "gray", graylib.Status{Instance: "a-2"})
	return s
}

// own is the instance name of a member of graylib's.
func own(tag graylib.Tag, topic string) string {
	return ownership.InstanceName("a", tag, ownership.Own, []string{topic}, "1")
}

func member(name, topic, expression string) string {
	return fmt.Sprintf(`{"connectionSet":[{"clientId":"h@%s","clientAddr":"h:1"}],"subscriptionTable":{"%s":{"expressionType":"SQL92","subString":"%s"}}}`, name, topic, expression)
}

// instance adds an instance of service a that answers with the status, ready and on the published revision unless it says
// otherwise.
func (s *system) instance(t *testing.T, tag graylib.Tag, status graylib.Status) {
	if status.Rules.Revision == 0 {
		status.Rules.Revision = 7
	}
	status.Ready = len(status.NotReady) == 0
	if status.Messages == "" {
		status.Messages = "on"
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(status) }))
	t.Cleanup(server.Close)
	s.instances = append(s.instances, graylib.Instance{ID: status.Instance, Service: "a", Tag: tag, Addr: strings.TrimPrefix(server.URL, "http://")})
}

var errUsage = errors.New("usage")

// doctor runs it, and returns the lines that say more than ✔, with addresses made the same.
func (s *system) doctor(t *testing.T, args ...string) (lines []string, err error) {
	t.Helper()
	cmd := New(target.Deps{
		Nacos: func(_ context.Context, addr string) (target.Nacos, func() error, error) {
			if s.nacosAway {
				return nil, nil, fmt.Errorf("nacos %s can't be reached", addr)
			}
			return s, func() error { return nil }, nil
		},
		Brokers: func(addr string) (*lanestate.Reader, error) {
			return lanestate.Open(remoting.Config{NameServers: []string{addr}, Timeout: 20 * time.Second})
		},
		Suite:  func(*cobra.Command) (string, string) { return "nacos:1", s.broker.Addr },
		Usage:  func(err error) error { return errors.Join(errUsage, err) },
		Getenv: func(string) string { return "" },
	})
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs(append([]string{}, args...)) // never nil: that would be the test binary's own
	err = cmd.ExecuteContext(t.Context())
	text := strings.ReplaceAll(out.String(), s.broker.Addr, "BROKER")
	for _, in := range s.instances {
		text = strings.ReplaceAll(text, in.Addr, in.ID)
	}
	text = byClock.ReplaceAllStringFunc(text, func(by string) string {
		if d, err := time.ParseDuration(by[len("is "):]); err == nil && (d-s.ahead.Abs()).Abs() <= 4*time.Second {
			return "is " + s.ahead.Abs().String() // a machine that stood still between asking and answer measures less exactly
		}
		return by
	})
	all := strings.Split(strings.TrimSpace(text), "\n")
	for i := 1; i < len(all)-1; i++ { // the head and the sum apart
		if l := strings.Join(strings.Fields(all[i]), " "); !strings.HasPrefix(l, "✔") {
			lines = append(lines, l)
		}
	}
	return lines, err
}

var byClock = regexp.MustCompile(`is [0-9hms]+\b`)

func TestGood(t *testing.T) {
	s := good(t)
	if lines, err := s.doctor(t); err != nil || len(lines) != 0 {
		t.Errorf("a good system: %v\n%s", err, strings.Join(lines, "\n"))
	}
}

// TestBroadcasting: a consumer that broadcasts has the client's own members, the application's filter and no <group>__tagged.
func TestBroadcasting(t *testing.T) {
	s := good(t)
	s.instances = nil
	s.groups = []string{"g", "g_gray"}
	s.members = map[string]string{"g": member("DEFAULT#a#-#g", "T", "*"), "g_gray": member("DEFAULT#a#gray#g_gray", "T", "gray_tag = 'gray'")}
	s.instance(t, "", graylib.Status{Instance: "a-1", Consumers: []graylib.ConsumerState{{
		Group: "g", Model: graylib.ModelBroadcasting, Subscriptions: map[string]string{"T": "*"},
	}}})
	s.instance(t, "gray", graylib.Status{Instance: "a-2"})
	if lines, err := s.doctor(t, "--create"); err != nil || len(lines) != 0 || len(s.made) != 0 {
		t.Errorf("%v, made %q\n%s", err, s.made, strings.Join(lines, "\n"))
	}
	s.members["g_gray"] = member("DEFAULT#a#gray#g_gray", "T", "*")
	lines, err := s.doctor(t)
	if err == nil || len(lines) == 0 || !strings.HasPrefix(lines[0], `✘ members group g_gray is subscribed to topic T with "*"`) {
		t.Errorf("a lane's member with a wrong filter: %v\n%s", err, strings.Join(lines, "\n"))
	}
}

// TestFindings breaks one thing at a time.
func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		name  string
		wrong func(t *testing.T, s *system)
		args  []string
		fails bool
		want  []string
	}{
		{"no Nacos", func(_ *testing.T, s *system) { s.nacosAway = true }, []string{"--group", "g"}, true, []string{
			"✘ nacos nacos nacos:1 can't be reached", "-> start Nacos, or name it: --nacos host:port or $GRAY_NACOS_ADDR",
			"? rules not checked: Nacos is away", "? instances not checked: Nacos is away",
		}},
		{"no broker", func(_ *testing.T, s *system) {
			s.broker.Handle(getCluster, func(remotingtest.Request) remotingtest.Response {
				return remotingtest.Response{Body: []byte(`{"brokerAddrTable":{}}`)}
			})
		}, nil, true, []string{
			"✘ brokers no broker is registered at the name server", "-> start a broker with namesrvAddr=BROKER", "? topics, groups not checked: no broker can be asked",
		}},
		{"no name server", nil, []string{"--namesrv", "127.0.0.1:1"}, true, []string{
			"✘ name server list of brokers: RocketMQ server can't be reached: 127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused",
			"-> start RocketMQ, or name it: --namesrv host:port or $GRAY_NAMESRV_ADDR", "? topics, groups not checked: no broker can be asked",
		}},
		{"no property filter", func(_ *testing.T, s *system) { s.config = "autoCreateTopicEnable=true\n" }, nil, true, []string{
			"✘ broker b at BROKER doesn't filter by property (enablePropertyFilter is off); the consumers g need it",
			"-> set enablePropertyFilter=true in its configuration and start it anew, or filter: client for its consumers in the rules",
		}},
		{"no property filter, and none needed", func(_ *testing.T, s *system) {
			s.config = ""
			s.content += "messages: [{consumer: a, filter: client}]\n"
		}, nil, false, []string{"· broker b at BROKER doesn't filter by property; all consumers filter by themselves (filter: client)"}},
		{"the broker's clock", func(_ *testing.T, s *system) { s.ahead = -time.Hour }, nil, true, []string{
			"✘ clocks the clock of broker b is 1h0m0s behind this machine's", "-> " + clockFix,
		}},
		{"the broker's clock, a little", func(_ *testing.T, s *system) { s.ahead = 10 * time.Second }, nil, false, []string{
			"! clocks the clock of broker b is 10s ahead of this machine's", "-> " + clockFix,
		}},
		{"Nacos's clock", func(_ *testing.T, s *system) { s.nacosAhead = time.Minute }, nil, true, []string{
			"✘ clocks the clock of Nacos is 1m0s ahead of this machine's", "-> " + clockFix,
		}},
		{"Nacos's clock isn't told", func(_ *testing.T, s *system) { s.nacosClock = errors.New("nacos nacos:1: no Date") }, nil, false, []string{
			"· clocks nacos nacos:1: no Date",
		}},
		{"missing topic", func(_ *testing.T, s *system) { s.topics = nil; s.config += "autoCreateTopicEnable=false\n" }, nil, true, []string{
			"✘ topic T of g doesn't exist, and the brokers don't create topics by themselves",
			"-> graychain doctor --create", "-> mqadmin updateTopic -n 'BROKER' -b BROKER -t T -r 4 -w 4",
		}},
		{"a topic yet to come", func(_ *testing.T, s *system) { s.topics = nil }, nil, false, []string{
			"· topic T of g doesn't exist; it is created when it is first needed",
			"-> graychain doctor --create", "-> mqadmin updateTopic -n 'BROKER' -b BROKER -t T -r 4 -w 4",
		}},
		{"missing groups", func(_ *testing.T, s *system) {
			s.groups = []string{"g"}
			s.config += "autoCreateSubscriptionGroup=false\n"
		}, nil, true, []string{
			"✘ groups not there, and the brokers don't create groups by themselves: g__tagged, g_gray",
			"-> graychain doctor --create", "-> mqadmin updateSubGroup -n 'BROKER' -b BROKER -g g__tagged", "-> mqadmin updateSubGroup -n 'BROKER' -b BROKER -g g_gray",
		}},
		{"before the first start", func(_ *testing.T, s *system) {
			s.config += "autoCreateTopicEnable=false\nautoCreateSubscriptionGroup=false\n"
		},
			[]string{"--group", "new", "--topic", "N", "--queues", "8"}, true, []string{
				"✘ topic N of new doesn't exist, and the brokers don't create topics by themselves",
				"-> graychain doctor --create", "-> mqadmin updateTopic -n 'BROKER' -b BROKER -t N -r 8 -w 8",
				"✘ groups not there, and the brokers don't create groups by themselves: new, new__tagged, new_gray",
				"-> graychain doctor --create", "-> mqadmin updateSubGroup -n 'BROKER' -b BROKER -g new",
				"-> mqadmin updateSubGroup -n 'BROKER' -b BROKER -g new__tagged", "-> mqadmin updateSubGroup -n 'BROKER' -b BROKER -g new_gray",
			}},
		{"a consumer without graylib", func(_ *testing.T, s *system) { s.members["g"] = member("DEFAULT", "T", "gray_tag IS NULL") }, nil, true, []string{
			"✘ members group g has a member without graylib, h@DEFAULT at h:1: it takes tagged messages, and changes the group's filter",
			"-> run it with graylib and GRAY_MESSAGES=on, or in a group of its own",
		}},
		{"another version", func(_ *testing.T, s *system) {
			s.members["g_gray"] = member("a#gray#own#v1#1", "T", "gray_tag = 'gray'")
		}, nil, true, []string{
			"✘ members group g_gray has a member of version v1, h@a#gray#own#v1#1 at h:1; this program knows " + ownership.Version + ": such members take no queue beside each other",
			"-> run the same version of graylib in all instances of the service",
		}},
		{"another filter", func(_ *testing.T, s *system) { s.members["g"] = member(own("", "T"), "T", "*") }, nil, true, []string{
			`✘ members group g is subscribed to topic T with "*"; want "gray_tag IS NULL" in it: messages go to the wrong side`,
			"-> run all instances of the service with graylib of the same version",
		}},
		{"nothing published", func(_ *testing.T, s *system) { s.content = "" }, nil, false, []string{
			"· rules no rules document is published: no lane is listed, nothing is coloured",
			"! lanes instances live of lane gray, which the rules don't list: nothing is coloured for it, and its consumers join no group", "-> list it: graychain rules edit",
		}},
		{"broken rules", func(_ *testing.T, s *system) { s.content = "lanes: 3\n" }, nil, true, []string{
			`✘ rules what is published is refused by every instance: line 1: lanes: is the number 3; want a list`, "-> graychain rules edit",
		}},
		{"an old revision", func(t *testing.T, s *system) {
			s.instance(t, "", graylib.Status{Instance: "a-3", Rules: graylib.RulesStatus{Revision: 6}})
		}, nil, true, []string{
			"✘ rules a at a-3 is on revision 6, published is 7", "-> wait 10 s; then see whether it reaches Nacos: its log says so",
		}},
		{"an instance that refuses, one that isn't ready", func(t *testing.T, s *system) {
			s.instance(t, "", graylib.Status{Instance: "a-3", Rules: graylib.RulesStatus{Refusal: "revision 8: no"}})
			s.instance(t, "gray", graylib.Status{Instance: "a-4", NotReady: []string{"consumer g: no broker"}})
		}, nil, true, []string{
			"✘ rules a at a-3 refuses what is published: revision 8: no", "-> graychain rules edit", "! instances a (gray) at a-4 isn't ready: consumer g: no broker",
		}},
		{"an instance that can't join a lane's group", func(t *testing.T, s *system) {
			s.instance(t, "", graylib.Status{Instance: "a-3", Consumers: []graylib.ConsumerState{{
				Group: "g", Subscriptions: map[string]string{"T": "*"}, Unjoined: map[string]string{"g_gray": "broker has no master"},
			}}})
		}, nil, true, []string{
			"✘ instances a at a-3 can't join group g_gray, and consumes on in the others: broker has no master", "-> mend that; it goes on trying",
		}},
		{"messages off in one", func(t *testing.T, s *system) { s.instance(t, "", graylib.Status{Instance: "a-3", Messages: "off"}) }, nil, true, []string{
			"✘ messages message grayscale is off in a at a-3, and on in 2 others: what the ones mark the others don't tell apart",
			"-> set GRAY_MESSAGES=on everywhere, or off everywhere",
		}},
		{"a dead instance", func(_ *testing.T, s *system) {
			s.instances = append(s.instances, graylib.Instance{ID: "a-9", Service: "a.rpc", Addr: "h:1"})
		}, nil, true, []string{
			"✘ instances a at doesn't answer: it has no HTTP endpoint in the registry to ask", "-> see whether it hangs, and whether its HTTP port can be reached from here",
		}},
		{"a malformed tag", func(_ *testing.T, s *system) {
			_, err := graylib.ParseTag("Gray")
			s.malformed = []graynacos.Malformed{{Service: "b", Addr: "h:2", Err: err}}
		}, nil, true, []string{
			func() string { _, err := graylib.ParseTag("Gray"); return "✘ tags instance h:2 of b: " + err.Error() }(), "-> set GRAY_TAG to a tag, and start it anew; nobody routes to it",
		}},
		{"lanes without instances", func(_ *testing.T, s *system) {
			s.content = "revision: 7\nlanes:\n- {tag: gray, listed: 2026-01-01T00:00:00Z}\n- {tag: blue, listed: 2026-01-01T00:00:00Z}\n- {tag: red, listed: 2026-01-01T00:00:00Z, state: retired}\n" +
				"- {tag: old, listed: 2026-01-01T00:00:00Z, state: retired, until: 2026-02-01T00:00:00Z}\n"
			s.groups = append(s.groups, "g_blue", "g_red", "g_old")
		}, nil, false, []string{
			"· lanes lane blue has no live instance: the baseline answers, and stand-ins consume unless the mode is ignore",
			"· lanes lane red is retired", "· lanes lane old is being forgotten", "-> graychain lanes forget old",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := good(t)
			if tc.wrong != nil {
				tc.wrong(t, s)
			}
			lines, err := s.doctor(t, tc.args...)
			if errors.Is(err, target.ErrReported) != tc.fails {
				t.Errorf("ended with %v, want a failure: %t", err, tc.fails)
			}
			if diff := cmp.Diff(tc.want, lines); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCreate(t *testing.T) {
	s := good(t)
	s.groups, s.topics = []string{"g"}, nil
	if lines, err := s.doctor(t, "--create", "--queues", "2"); err != nil || len(lines) != 0 {
		t.Errorf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	if diff := cmp.Diff([]string{"topic T 2", "group g__tagged", "group g_gray"}, s.made); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
}

func TestUsage(t *testing.T) {
	s := good(t)
	for _, args := range [][]string{{"x"}, {"--output", "xml"}, {"--topic", "T"}, {"--queues", "0"}} {
		if _, err := s.doctor(t, args...); !errors.Is(err, errUsage) {
			t.Errorf("doctor %q: %v, want a usage error", args, err)
		}
	}
}

func TestJSON(t *testing.T) {
	s := good(t)
	s.topics = nil
	cmd := New(target.Deps{
		Nacos: func(context.Context, string) (target.Nacos, func() error, error) {
			return s, func() error { return nil }, nil
		},
		Brokers: func(addr string) (*lanestate.Reader, error) {
			return lanestate.Open(remoting.Config{NameServers: []string{addr}})
		},
		Suite: func(*cobra.Command) (string, string) { return "nacos:1", s.broker.Addr },
		Usage: func(err error) error { return err }, Getenv: func(string) string { return "" },
	})
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--output", "json"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || !got.OK || got.Nacos != "nacos:1" || got.count(note) != 1 {
		t.Errorf("%v: %s", err, out.String())
	}
}

// narrowed is a document with one entry, for group g and topic T of service a.
type narrowed struct{ graylib.Rules }

func (narrowed) Consumption(service, group, topic string) graylib.Consumption {
	if service == "a" && group == "g" && topic == "T" {
		return graylib.Consumption{Filter: graylib.FilterClient}
	}
	return graylib.Consumption{Filter: graylib.FilterServer}
}

// TestRulesWithoutNamespace: rules name groups and topics as the application does, whose namespace is its client's.
func TestRulesWithoutNamespace(t *testing.T) {
	d := &doctor{rules: narrowed{}}
	for _, c := range []consumer{
		{service: "a", group: "g", topics: []string{"T"}},
		{service: "a", namespace: "ns", group: "ns%g", topics: []string{"ns%T"}},
	} {
		if f := d.filter(c, c.topics[0]); f != graylib.FilterClient {
			t.Errorf("the filter of %+v: %q, want %q", c, f, graylib.FilterClient)
		}
	}
}
