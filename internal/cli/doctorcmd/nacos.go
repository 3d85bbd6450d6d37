package doctorcmd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/fleet"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// Clocks: a lane's boundary lies 30 s before its listing (design/messages.md), more than clocks may differ.
const (
	clockWarn = 5 * time.Second
	clockFail = rules.MaxSkew
)

const clockFix = "set the clocks by NTP: a lane's messages are told from earlier ones by time"

// malformedLister tells of instances that no lane is theirs; *graynacos.Client is one.
type malformedLister interface {
	MalformedInstances(ctx context.Context) ([]graynacos.Malformed, error)
}

// checkNacos checks the config centre, the registry, the rules and the instances.
func (d *doctor) checkNacos(ctx context.Context, deps target.Deps) {
	d.rules = graylib.NoRules
	nacos, disconnect, err := deps.Nacos(ctx, d.Nacos)
	if err != nil {
		d.add(failed, "nacos", "start Nacos, or name it: --nacos host:port or $"+graylib.EnvNacosAddr, "%v", err)
		d.add(skipped, "rules", "", "Nacos is away")
		d.add(skipped, "instances", "", "Nacos is away")
		return
	}
	defer func() { _ = disconnect() }()
	d.add(ok, "nacos", "", "reachable")
	if c, is := nacos.(rules.Clocked); is {
		if ahead, within, err := c.Clock(ctx); err != nil {
			d.add(note, "clocks", "", "%v", err)
		} else {
			d.checkClock("clocks", "Nacos", ahead, within)
		}
	}
	published, known := d.checkRules(ctx, nacos)
	if d.instances, err = fleet.Ask(ctx, nacos); err != nil {
		d.add(failed, "instances", "", "the registry can't be read: %v", err)
		return
	}
	d.checkInstances(published)
	if l, is := nacos.(malformedLister); is {
		bad, err := l.MalformedInstances(ctx)
		if err != nil {
			d.add(failed, "tags", "", "the registry can't be read: %v", err)
		}
		for _, m := range bad {
			d.add(failed, "tags", "set "+graylib.EnvTag+" to a tag, and start it anew; nobody routes to it", "instance %s of %s: %v", m.Addr, m.Service, m.Err)
		}
	}
	if known {
		d.checkLanes()
	}
}

// checkRules returns the revision that instances are to be on, 0 where there is none, and whether that is known.
func (d *doctor) checkRules(ctx context.Context, nacos target.Nacos) (revision int64, known bool) {
	content, _, err := nacos.Get(ctx)
	switch {
	case err != nil:
		d.add(failed, "rules", "", "can't be read: %v", err)
		return 0, false
	case len(content) == 0:
		d.add(note, "rules", "", "no rules document is published: no lane is listed, nothing is coloured")
		return 0, true
	}
	v := rules.Version{Content: content, At: time.Now()}
	v.Judge()
	if v.Problem != "" {
		d.add(failed, "rules", "graychain rules edit", "what is published is refused by every instance: %s", v.Problem)
		return 0, false
	}
	doc, err := rules.Parse(content)
	if err == nil {
		d.rules, err = rules.Compile(doc)
	}
	if err != nil {
		d.rules = graylib.NoRules
		d.add(failed, "rules", "graychain rules edit", "what is published can't be used: %v", err)
		return 0, false
	}
	d.add(ok, "rules", "", "revision %d, %s", doc.Revision, plural(len(doc.Lanes), "lane", "lanes"))
	return doc.Revision, true
}

// checkInstances checks each instance, and says what all of them have in common once.
func (d *doctor) checkInstances(published int64) {
	if len(d.instances) == 0 {
		d.add(note, "instances", "", "none live")
		return
	}
	var answered, current int
	messages := map[string][]string{}
	for _, in := range d.instances {
		name := fmt.Sprintf("%s%s at %s", in.Service, tagOf(in.Tag), in.Addr)
		if in.Status == nil {
			d.add(failed, "instances", "see whether it hangs, and whether its HTTP port can be reached from here", "%s doesn't answer: %s", name, in.Problem)
			continue
		}
		answered++
		s := in.Status
		switch {
		case s.Rules.Refusal != "":
			d.add(failed, "rules", "graychain rules edit", "%s refuses what is published: %s", name, s.Rules.Refusal)
		case published > 0 && s.Rules.Revision != published:
			d.add(failed, "rules", "wait 10 s; then see whether it reaches Nacos: its log says so", "%s is on revision %d, published is %d", name, s.Rules.Revision, published)
		default:
			current++
		}
		if !s.Ready {
			d.add(warning, "instances", "", "%s isn't ready: %s", name, strings.Join(s.NotReady, "; "))
		}
		for _, c := range s.Consumers {
			for _, group := range slices.Sorted(maps.Keys(c.Unjoined)) {
				d.add(failed, "instances", "mend that; it goes on trying", "%s can't join group %s, and consumes on in the others: %s", name, group, c.Unjoined[group])
			}
		}
		messages[s.Messages] = append(messages[s.Messages], name)
		d.checkClock("clocks", name, in.Ahead, time.Second)
	}
	if answered > 0 {
		d.add(ok, "instances", "", "%d of %d answer, %d on the published rules", answered, len(d.instances), current)
	}
	if off, on := messages["off"], messages["on"]; len(off) > 0 && len(on) > 0 {
		d.add(failed, "messages", "set "+graylib.EnvMessages+"=on everywhere, or off everywhere",
			"message grayscale is off in %s, and on in %s: what the ones mark the others don't tell apart", strings.Join(off, ", "), plural(len(on), "other", "others"))
	} else if len(off) > 0 {
		d.add(note, "messages", "", "message grayscale is off in all instances (%s)", graylib.EnvMessages)
	} else if len(on) == answered && answered > 0 {
		d.add(ok, "messages", "", "message grayscale is on in all instances")
	}
}

// checkClock says nothing of a clock that is right.
func (d *doctor) checkClock(check, name string, ahead, within time.Duration) {
	by := ahead.Abs() - within
	if by <= clockWarn {
		return
	}
	l := warning
	if by > clockFail {
		l = failed
	}
	way := "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	d.add(l, check, clockFix, "the clock of %s is %v %s this machine's", name, ahead.Abs().Round(time.Second), way)
}

// checkLanes compares the lanes that are listed with those that live.
func (d *doctor) checkLanes() {
	lives := func(tag graylib.Tag) bool {
		return slices.ContainsFunc(d.instances, func(in fleet.Instance) bool { return in.Tag == tag })
	}
	var seen []graylib.Tag
	for _, in := range d.instances {
		if _, listed := d.rules.Lane(in.Tag); listed || in.Tag == graylib.Untagged || slices.Contains(seen, in.Tag) {
			continue
		}
		seen = append(seen, in.Tag)
		d.add(warning, "lanes", "list it: graychain rules edit", "instances live of lane %s, which the rules don't list: nothing is coloured for it, and its consumers join no group", in.Tag)
	}
	for _, l := range d.rules.Lanes() {
		switch {
		case !l.Until.IsZero():
			d.add(note, "lanes", "graychain lanes forget "+string(l.Tag), "lane %s is being forgotten", l.Tag)
		case l.State == graylib.LaneRetired:
			d.add(note, "lanes", "", "lane %s is retired", l.Tag)
		case !lives(l.Tag):
			d.add(note, "lanes", "", "lane %s has no live instance: the baseline answers, and stand-ins consume unless the mode is ignore", l.Tag)
		default:
			d.add(ok, "lanes", "", "lane %s lives", l.Tag)
		}
	}
}

func tagOf(tag graylib.Tag) string {
	if tag == graylib.Untagged {
		return ""
	}
	return " (" + string(tag) + ")"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
