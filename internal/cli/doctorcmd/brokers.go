package doctorcmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/graychain/graychain/internal/fleet"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// consumer is one application's group with what it subscribes to.
type consumer struct {
	service   string // empty = not known
	namespace string // which its group and topics begin with; empty = none
	group     string
	topics    []string
	model     graylib.MessageModel
}

func (c consumer) broadcasting() bool { return c.model == graylib.ModelBroadcasting }

// consumers returns those that instances run, and that the command line names.
func (d *doctor) consumers() []consumer {
	var list []consumer
	add := func(service, namespace, group string, model graylib.MessageModel, topics []string) {
		i := slices.IndexFunc(list, func(c consumer) bool { return c.group == group })
		if i < 0 {
			i = len(list)
			list = append(list, consumer{service: service, namespace: namespace, group: group})
		}
		c := &list[i]
		c.model = cmp.Or(c.model, model)
		c.topics = append(c.topics, topics...)
		slices.Sort(c.topics)
		c.topics = slices.Compact(c.topics)
	}
	for _, in := range d.instances {
		if in.Status == nil {
			continue
		}
		for _, c := range in.Status.Consumers {
			add(in.Service, c.Namespace, c.Group, c.Model, slices.Collect(maps.Keys(c.Subscriptions)))
		}
	}
	if d.group != "" {
		add("", "", d.group, "", d.topics)
	}
	return list
}

// filter says where the rules have a consumer's messages filtered. They name group and topic as the application does.
func (d *doctor) filter(c consumer, topic string) graylib.Filter {
	bare := func(name string) string { return name }
	if c.namespace != "" {
		bare = func(name string) string { return strings.TrimPrefix(name, c.namespace+"%") }
	}
	return d.rules.Consumption(c.service, bare(c.group), bare(topic)).Filter
}

// groups returns the names of the groups of a consumer.
func (d *doctor) groups(c consumer) []lanestate.Of {
	of := []lanestate.Of{{Base: c.group, Kind: graylib.GroupBase}}
	if !c.broadcasting() {
		of = append(of, lanestate.Of{Base: c.group, Kind: graylib.GroupTagged})
	}
	for _, l := range d.rules.Lanes() {
		of = append(of, lanestate.Of{Base: c.group, Kind: graylib.GroupLane, Lane: l.Tag})
	}
	return of
}

// checkBrokers checks the name server and each broker.
func (d *doctor) checkBrokers(ctx context.Context) {
	brokers, err := d.reader.Brokers(ctx)
	switch {
	case errors.Is(err, lanestate.ErrNoBroker):
		d.add(ok, "name server", "", "reachable")
		d.add(failed, "brokers", "start a broker with namesrvAddr="+d.Namesrv, "%v", err)
	case err != nil:
		d.add(failed, "name server", "start RocketMQ, or name it: --namesrv host:port or $"+graylib.EnvNamesrvAddr, "%v", err)
	}
	if err != nil {
		d.add(skipped, "topics, groups", "", "no broker can be asked")
		return
	}
	d.add(ok, "name server", "", "reachable, %s", plural(len(brokers), "broker", "brokers"))
	for _, away := range fleet.Away(d.instances, brokers) {
		d.add(failed, "broker "+away.Name, "start it again; where it is gone for good, restart "+strings.Join(away.Instances, ", "),
			"isn't registered at the name server, and %s had queues of it", strings.Join(away.Instances, ", "))
	}
	consumers := d.consumers()
	settings := make(map[string]map[string]string) // of the brokers that answer
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		at, err := d.reader.API().BrokerConfig(ctx, brokers[name])
		if err != nil {
			d.add(failed, "broker "+name, "see whether it runs, and whether its address (brokerIP1) can be reached from here", "at %s: %v", brokers[name], err)
			continue
		}
		settings[name] = at
		d.checkFilter(ctx, name, brokers[name], consumers)
		d.checkBrokerClock(ctx, name, brokers[name])
	}
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		if _, answers := settings[name]; !answers {
			d.add(skipped, "topics, groups", "", "broker %s can't be asked", name)
			delete(brokers, name)
		}
	}
	if len(brokers) == 0 {
		return
	}
	for _, c := range consumers {
		d.checkTopics(ctx, brokers, settings, c)
		d.checkGroups(ctx, brokers, settings, c)
		d.checkMembers(ctx, brokers, c)
	}
	if len(consumers) == 0 {
		d.add(note, "topics, groups", "", "no live instance consumes; name a group with --group and --topic")
	}
}

// checkFilter asks whether the broker takes the filter of <group>.
func (d *doctor) checkFilter(ctx context.Context, name, addr string, consumers []consumer) {
	err := d.reader.API().CheckSQL(ctx, addr, "TOOLS_CONSUMER", remoting.DefaultTopic, graylib.MessageKeys.Tag+" IS NULL")
	if err == nil {
		d.add(ok, "broker "+name, "", "at %s filters by property", addr)
		return
	}
	fix := "set enablePropertyFilter=true in its configuration and start it anew, or filter: client for its consumers in the rules"
	if !errors.Is(err, remoting.ErrNoPropertyFilter) {
		d.add(failed, "broker "+name, "", "at %s: %v", addr, err)
		return
	}
	var need []string
	for _, c := range consumers {
		for _, topic := range c.topics {
			if d.filter(c, topic) != graylib.FilterClient && !slices.Contains(need, c.group) {
				need = append(need, c.group)
			}
		}
	}
	if len(consumers) > 0 && len(need) == 0 {
		d.add(note, "broker "+name, "", "at %s doesn't filter by property; all consumers filter by themselves (filter: client)", addr)
		return
	}
	what := ""
	if len(need) > 0 {
		what = "; the consumers " + strings.Join(need, ", ") + " need it"
	}
	d.add(failed, "broker "+name, fix, "at %s doesn't filter by property (enablePropertyFilter is off)%s", addr, what)
}

func (d *doctor) checkBrokerClock(ctx context.Context, name, addr string) {
	ahead, within, err := d.reader.API().Clock(ctx, addr)
	if err != nil {
		d.add(note, "clocks", "", "broker %s: %v", name, err)
		return
	}
	before := len(d.Findings)
	if d.checkClock("clocks", "broker "+name, ahead, within); len(d.Findings) == before {
		d.add(ok, "clocks", "", "broker %s agrees with this machine within %v", name, clockWarn)
	}
}

// checkTopics checks that a consumer's topics are there.
func (d *doctor) checkTopics(ctx context.Context, brokers map[string]string, settings map[string]map[string]string, c consumer) {
	auto := !slices.ContainsFunc(slices.Collect(maps.Values(settings)), func(s map[string]string) bool { return s["autoCreateTopicEnable"] == "false" })
	for _, topic := range c.topics {
		route, err := d.reader.API().Route(ctx, topic)
		switch {
		case err == nil && len(route.Queues) > 0:
			d.add(ok, "topic", "", "%s of %s: %s on %s", topic, c.group, plural(len(route.Queues), "queue", "queues"), plural(len(route.Brokers), "broker", "brokers"))
			continue
		case err == nil:
			d.add(failed, "topic", "give it the permission to be read: mqadmin updateTopicPerm -t "+topic+" -p 6 …", "%s of %s has no queue that can be read", topic, c.group)
			continue
		case !errors.Is(err, remoting.ErrNoTopic):
			d.add(failed, "topic", "", "%s of %s: %v", topic, c.group, err)
			continue
		}
		var commands []string
		made := true
		for _, name := range slices.Sorted(maps.Keys(brokers)) {
			if d.create {
				err := d.reader.API().CreateTopic(ctx, brokers[name], topic, d.queues)
				if err != nil {
					d.add(failed, "topic", "", "%s can't be created on broker %s: %v", topic, name, err)
					made = false
				}
			}
			commands = append(commands, fmt.Sprintf("mqadmin updateTopic -n '%s' -b %s -t %s -r %d -w %d", d.Namesrv, brokers[name], topic, d.queues, d.queues))
		}
		switch fix := "graychain doctor --create\n" + strings.Join(commands, "\n"); {
		case d.create && made:
			d.add(ok, "topic", "", "%s of %s was created", topic, c.group)
		case d.create:
		case auto:
			d.add(note, "topic", fix, "%s of %s doesn't exist; it is created when it is first needed", topic, c.group)
		default:
			d.add(failed, "topic", fix, "%s of %s doesn't exist, and the brokers don't create topics by themselves", topic, c.group)
		}
	}
}

// checkGroups checks that a consumer's groups are there.
func (d *doctor) checkGroups(ctx context.Context, brokers map[string]string, settings map[string]map[string]string, c consumer) {
	var there, missing, created, commands []string
	auto := true
	known := make(map[string][]string, len(brokers)) // asking for one group would create it on some brokers
	for name, addr := range brokers {
		list, err := d.reader.API().Groups(ctx, addr)
		if err != nil {
			d.add(failed, "groups", "", "broker %s: %v", name, err)
			return
		}
		known[name] = list
	}
	for _, of := range d.groups(c) {
		name := of.Name()
		absent := false
		for _, broker := range slices.Sorted(maps.Keys(brokers)) {
			addr := brokers[broker]
			if slices.Contains(known[broker], name) {
				continue
			}
			if d.create {
				var like remoting.GroupConfig // <group>'s settings, where it exists
				var err error
				if slices.Contains(known[broker], c.group) {
					like, err = d.reader.API().Group(ctx, addr, c.group)
				}
				if err != nil {
					d.add(failed, "groups", "", "broker %s: %v", broker, err)
					return
				}
				if err := d.reader.API().CreateGroup(ctx, addr, name, like); err != nil {
					d.add(failed, "groups", "", "%s can't be created on broker %s: %v", name, broker, err)
					return
				}
				created = append(created, name)
				continue
			}
			absent = true
			auto = auto && settings[broker]["autoCreateSubscriptionGroup"] != "false"
			commands = append(commands, fmt.Sprintf("mqadmin updateSubGroup -n '%s' -b %s -g %s", d.Namesrv, addr, name))
		}
		if absent {
			missing = append(missing, name)
		} else {
			there = append(there, name)
		}
	}
	if len(created) > 0 {
		d.add(ok, "groups", "", "created: %s", strings.Join(slices.Compact(created), ", "))
	}
	switch fix := "graychain doctor --create\n" + strings.Join(commands, "\n"); {
	case len(missing) == 0 && len(created) == 0:
		d.add(ok, "groups", "", "%s", strings.Join(there, ", "))
	case len(missing) == 0:
	case auto:
		d.add(note, "groups", fix, "not there yet: %s; they are created when they are first needed", strings.Join(missing, ", "))
	default:
		d.add(failed, "groups", fix, "not there, and the brokers don't create groups by themselves: %s", strings.Join(missing, ", "))
	}
}

// checkMembers checks that the members of a consumer's groups are graylib's, of the same version, with the group's filter. Where
// it broadcasts, the client's own consumers are the members and choose their ids, and <group> has the application's filter: there
// the lanes' filters alone can be checked.
func (d *doctor) checkMembers(ctx context.Context, brokers map[string]string, c consumer) {
	before := d.count(failed)
	members := 0
	for _, of := range d.groups(c) {
		for _, broker := range slices.Sorted(maps.Keys(brokers)) {
			conns, err := d.reader.API().Connections(ctx, brokers[broker], of.Name())
			if err != nil {
				d.add(failed, "members", "", "broker %s: %v", broker, err)
				return
			}
			members += len(conns.Members)
			for _, m := range conns.Members {
				if !c.broadcasting() {
					d.checkMember(of, m)
				}
			}
			if len(conns.Members) > 0 && !(c.broadcasting() && of.Kind == graylib.GroupBase) {
				d.checkSubscriptions(of, c, conns.Subscriptions)
			}
		}
	}
	if d.count(failed) == before && members > 0 && c.broadcasting() {
		d.add(ok, "members", "", "%s in the groups of %s, which broadcasts", plural(members, "member", "members"), c.group)
	} else if d.count(failed) == before && members > 0 {
		d.add(ok, "members", "", "%s in the groups of %s, all with the groups' filters", plural(members, "member", "members"), c.group)
	}
}

// checkMember reads a client id (design/wire.md).
func (d *doctor) checkMember(of lanestate.Of, m remoting.Connection) {
	if _, err := ownership.ParseMember(m.ClientID); err == nil {
		return
	}
	_, name, _ := strings.Cut(m.ClientID, "@")
	parts := strings.Split(name, "#")
	switch {
	case len(parts) > 4 && parts[3] != ownership.Version:
		d.add(failed, "members", "run the same version of graylib in all instances of the service",
			"group %s has a member of version %s, %s at %s; this program knows %s: such members take no queue beside each other", of.Name(), parts[3], m.ClientID, m.Addr, ownership.Version)
	case of.Kind == graylib.GroupBase:
		d.add(failed, "members", "run it with graylib and "+graylib.EnvMessages+"=on, or in a group of its own",
			"group %s has a member without graylib, %s at %s: it takes tagged messages, and changes the group's filter", of.Name(), m.ClientID, m.Addr)
	default:
		d.add(failed, "members", "end it, or give it a group of its own", "group %s has a member that isn't graylib's, %s at %s: the others take no queue while it is there", of.Name(), m.ClientID, m.Addr)
	}
}

// checkSubscriptions compares what the broker keeps for the group with its constant filter.
func (d *doctor) checkSubscriptions(of lanestate.Of, c consumer, subs []remoting.Subscription) {
	want := map[graylib.GroupKind]string{
		graylib.GroupBase: graylib.MessageKeys.Tag + " IS NULL", graylib.GroupTagged: graylib.MessageKeys.Tag + " IS NOT NULL",
		graylib.GroupLane: graylib.MessageKeys.Tag + " = '" + string(of.Lane) + "'",
	}[of.Kind]
	for _, topic := range c.topics {
		if d.filter(c, topic) == graylib.FilterClient {
			continue
		}
		i := slices.IndexFunc(subs, func(s remoting.Subscription) bool { return s.Topic == topic })
		if i >= 0 && !strings.Contains(subs[i].Expression, want) {
			d.add(failed, "members", "run all instances of the service with graylib of the same version", "group %s is subscribed to topic %s with %q; want %q in it: messages go to the wrong side", of.Name(), topic, subs[i].Expression, want)
		}
	}
}
