package lanescmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/fleet"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// view is what `graychain lanes` answers. What is unknown is absent, and said in Problems.
type view struct {
	At       time.Time `json:"at"`
	Nacos    string    `json:"nacos"`
	Namesrv  string    `json:"namesrv"`
	Rules    bool      `json:"rules"`              // whether they are known
	Revision int64     `json:"revision,omitempty"` // of the rules that are published; 0 = none are
	Problems []string  `json:"problems,omitempty"` // what is unknown, and why
	Lanes    []lane    `json:"lanes"`              // the listed ones in the document's order, then others; the baseline last
}

// lane is one lane, or the baseline.
type lane struct {
	Tag       graylib.Tag       `json:"tag"` // empty = the baseline
	State     graylib.LaneState `json:"state,omitempty"`
	Listed    time.Time         `json:"listed,omitzero"` // zero = the rules don't list it
	Until     time.Time         `json:"until,omitzero"`  // it is being forgotten
	Instances []instance        `json:"instances"`
	Groups    []group           `json:"groups"`
	Halves    *int64            `json:"halves,omitempty"`  // half messages of transactions that are open; absent = not known
	Delayed   *int64            `json:"delayed,omitempty"` // messages sent with a delay that are due later; absent = not known
}

type instance struct {
	Service  string   `json:"service"`
	Instance string   `json:"instance"`
	Addr     string   `json:"addr"`
	Ready    bool     `json:"ready"`
	NotReady []string `json:"notReady,omitempty"`
	Problem  string   `json:"problem,omitempty"` // it didn't answer
}

// group is one consumer group, as brokers and instances see it.
type group struct {
	lanestate.Group
	Base  string                  `json:"base"`
	Kind  graylib.GroupKind       `json:"kind"`
	Modes map[string]graylib.Mode `json:"modes,omitempty"` // by topic, as the instances apply them
	Owned []owner                 `json:"owned,omitempty"` // its queues, those of the retry topic too, as the instances say
}

// owner is who has one queue of a group.
type owner struct {
	Topic    string            `json:"topic"`
	Queue    string            `json:"queue"` // <broker>/<number>
	Role     graylib.GroupRole `json:"role"`
	Service  string            `json:"service"`
	Instance string            `json:"instance"`
	Addr     string            `json:"addr"`
	State    string            `json:"state"`
	Waiting  string            `json:"waiting,omitempty"` // why its next message is held back
}

// sources are what a view is made of; each may be away.
type sources struct {
	nacosAddr, namesrv string
	nacos              target.Nacos // nil = away
	reader             *lanestate.Reader
	problems           []string // what is away, and why
	base               string   // the only group of the application to look at; empty = all
}

// open connects to what is there. The error is about the command line alone.
func open(ctx context.Context, deps target.Deps, nacosAddr, namesrv string) (s *sources, done func(), err error) {
	s = &sources{nacosAddr: nacosAddr, namesrv: namesrv}
	closers := []func() error{}
	done = func() {
		for _, c := range closers {
			_ = c()
		}
	}
	if s.reader, err = deps.Brokers(namesrv); err != nil {
		return nil, done, deps.Usage(err)
	}
	closers = append(closers, s.reader.Close)
	nacos, disconnect, err := deps.Nacos(ctx, nacosAddr)
	if err != nil {
		s.problems = append(s.problems, "rules and instances: "+oneLine(err))
		return s, done, ctx.Err()
	}
	closers = append(closers, disconnect)
	s.nacos = nacos
	return s, done, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// read makes a view of what is there now.
func (s *sources) read(ctx context.Context) (view, error) {
	v := view{At: time.Now(), Nacos: s.nacosAddr, Namesrv: s.namesrv, Problems: slices.Clone(s.problems), Lanes: []lane{}}
	unknown := func(what string, err error) { v.Problems = append(v.Problems, what+": "+oneLine(err)) }
	var doc *rules.Document
	var instances []fleet.Instance
	if s.nacos != nil {
		var err error
		if doc, err = s.document(ctx); err != nil {
			unknown("rules", err)
		} else {
			v.Rules = true
		}
		if instances, err = fleet.Ask(ctx, s.nacos); err != nil {
			unknown("instances", err)
		}
	}
	brokers, err := s.reader.Brokers(ctx)
	var known lanestate.Groups
	if err != nil {
		unknown("queues and messages", err)
		brokers = nil
	} else {
		for _, away := range fleet.Away(instances, brokers) {
			v.Problems = append(v.Problems, "queues and messages: "+away.String())
		}
		brokers, known = s.answering(ctx, brokers, unknown)
	}
	v.lanes(doc, instances, known)
	bases := basesOf(known, instances)
	if s.base != "" {
		bases = []string{s.base}
	}
	for i := range v.Lanes {
		if err := v.Lanes[i].groups(ctx, s.reader, brokers, bases, known); err != nil {
			return v, err
		}
		v.Lanes[i].owners(instances)
	}
	if brokers != nil {
		if err := v.pending(ctx, s.reader, brokers); err != nil {
			unknown("half and delayed messages", err)
		}
	}
	v.Lanes = slices.DeleteFunc(v.Lanes, func(l lane) bool { return l.Tag != graylib.Untagged && l.Listed.IsZero() && l.empty() })
	for _, l := range v.Lanes {
		for _, in := range l.Instances {
			if in.Problem != "" {
				v.Problems = append(v.Problems, fmt.Sprintf("%s of %s at %s: %s", in.Instance, in.Service, in.Addr, in.Problem))
			}
		}
		for _, g := range l.Groups {
			for _, p := range g.Problems {
				v.Problems = append(v.Problems, "group "+g.Name+": "+strings.Join(strings.Fields(p), " "))
			}
		}
	}
	if doc != nil {
		v.Revision = doc.Revision
	}
	return v, ctx.Err()
}

// answering returns those of the brokers that answer, and the groups that these know; both nil where none does.
func (s *sources) answering(ctx context.Context, brokers map[string]string, unknown func(what string, err error)) (map[string]string, lanestate.Groups) {
	var there map[string]string
	var known lanestate.Groups
	for _, name := range slices.Sorted(maps.Keys(brokers)) {
		one := map[string]string{name: brokers[name]}
		groups, err := s.reader.Groups(ctx, one)
		if err != nil {
			unknown("queues and messages", err)
			continue
		}
		if there == nil {
			there, known = make(map[string]string), make(lanestate.Groups)
		}
		maps.Copy(there, one)
		maps.Copy(known, groups)
	}
	return there, known
}

// document reads the published rules; nil where there are none.
func (s *sources) document(ctx context.Context) (*rules.Document, error) {
	content, _, err := s.nacos.Get(ctx)
	if err != nil || len(content) == 0 {
		return nil, err
	}
	return rules.Parse(content)
}

// lanes lays out the lanes: those that the rules list, those that only instances or groups bear, the baseline.
func (v *view) lanes(doc *rules.Document, instances []fleet.Instance, known lanestate.Groups) {
	find := func(tag graylib.Tag) *lane {
		for i := range v.Lanes {
			if v.Lanes[i].Tag == tag {
				return &v.Lanes[i]
			}
		}
		v.Lanes = append(v.Lanes, lane{Tag: tag, Instances: []instance{}, Groups: []group{}})
		return &v.Lanes[len(v.Lanes)-1]
	}
	if doc != nil {
		for _, l := range doc.Lanes {
			to := find(l.Tag)
			to.State, to.Listed, to.Until = cmp.Or(l.State, graylib.LaneActive), l.Listed, l.Until
		}
	}
	for _, in := range instances {
		if in.Tag != graylib.Untagged {
			find(in.Tag)
		}
	}
	for _, base := range known.Bases() {
		for _, name := range slices.Sorted(maps.Keys(known)) {
			rest, ok := strings.CutPrefix(name, base+graylib.GroupLaneInfix)
			if tag := graylib.Tag(rest); ok && tag != graylib.Untagged && tag.Valid() {
				find(tag)
			}
		}
	}
	find(graylib.Untagged)
	for _, in := range instances {
		to := find(in.Tag)
		one := instance{Service: in.Service, Instance: in.ID, Addr: in.Addr, Problem: in.Problem}
		if in.Status != nil {
			one.Ready, one.NotReady = in.Status.Ready, in.Status.NotReady
		}
		to.Instances = append(to.Instances, one)
	}
}

// basesOf returns the application's groups: those that the brokers know with a <group>__tagged, and those that instances
// consume for.
func basesOf(known lanestate.Groups, instances []fleet.Instance) []string {
	bases := known.Bases()
	for _, in := range instances {
		if in.Status == nil {
			continue
		}
		for _, c := range in.Status.Consumers {
			bases = append(bases, c.Group)
		}
	}
	slices.Sort(bases)
	return slices.Compact(bases)
}

// groups reads the lane's groups at the brokers; without brokers they are named alone.
func (l *lane) groups(ctx context.Context, reader *lanestate.Reader, brokers map[string]string, bases []string, known lanestate.Groups) error {
	var which []lanestate.Of
	for _, base := range bases {
		of := []lanestate.Of{{Base: base, Kind: graylib.GroupLane, Lane: l.Tag}}
		if l.Tag == graylib.Untagged {
			of = []lanestate.Of{{Base: base, Kind: graylib.GroupBase}, {Base: base, Kind: graylib.GroupTagged}}
		}
		for _, o := range of {
			if known == nil || known[o.Name()] {
				which = append(which, o)
			}
		}
	}
	if brokers == nil {
		for _, o := range which {
			l.Groups = append(l.Groups, group{Group: lanestate.Group{Name: o.Name()}, Base: o.Base, Kind: o.Kind})
		}
		return nil
	}
	read, err := reader.Read(ctx, brokers, which...)
	for i, g := range read {
		l.Groups = append(l.Groups, group{Group: g, Base: which[i].Base, Kind: which[i].Kind})
	}
	return err
}

// owners notes who has which queue, as the instances say.
func (l *lane) owners(instances []fleet.Instance) {
	for i := range l.Groups {
		g := &l.Groups[i]
		for _, in := range instances {
			if in.Status == nil {
				continue
			}
			for _, c := range in.Status.Consumers {
				for _, is := range c.Groups {
					if is.Group != g.Name {
						continue
					}
					if g.Modes == nil {
						g.Modes = is.Modes
					}
					for _, q := range is.Queues {
						g.Owned = append(g.Owned, owner{
							Topic: q.Topic, Queue: q.Queue, Role: is.Role, Service: in.Service, Instance: in.ID, Addr: in.Addr, State: q.State, Waiting: q.Waiting,
						})
					}
				}
			}
		}
		slices.SortFunc(g.Owned, func(a, b owner) int { return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Queue, b.Queue)) })
	}
}

// pending counts what is still to come of each lane.
func (v *view) pending(ctx context.Context, reader *lanestate.Reader, brokers map[string]string) error {
	halves, err := reader.Halves(ctx, brokers)
	for i := range v.Lanes {
		l := &v.Lanes[i]
		if l.Tag == graylib.Untagged {
			continue
		}
		if err == nil {
			n := halves[l.Tag]
			l.Halves = &n
		}
		n, _, delayErr := reader.Delayed(ctx, brokers, l.Tag)
		if delayErr != nil {
			return errors.Join(err, delayErr)
		}
		l.Delayed = &n
	}
	return err
}

// empty tells whether nothing of a lane that isn't listed is left.
func (l *lane) empty() bool {
	for _, g := range l.Groups {
		if g.Waiting.N+g.Retries.N+g.DeadLetters.N > 0 || len(g.Members) > 0 || g.Err() != nil {
			return false
		}
	}
	return len(l.Instances) == 0
}

// who says who consumes a group: the lane's own instances, stand-ins, nobody.
func (g *group) who(tag graylib.Tag) string {
	var own, standIns []string
	for _, o := range g.Owned {
		if strings.HasPrefix(o.Topic, lanestate.RetryPrefix) {
			continue
		}
		name := o.Service + " " + o.Addr
		switch {
		case o.Role == graylib.RoleStandIn:
			standIns = append(standIns, name)
		default:
			own = append(own, name)
		}
	}
	list := func(role string, names []string) string {
		slices.Sort(names)
		names = slices.Compact(names)
		if n := len(names); n > 2 {
			return fmt.Sprintf("%s: %s and %d more", role, names[0], n-1)
		}
		return role + ": " + strings.Join(names, ", ")
	}
	role := "lane"
	if tag == graylib.Untagged {
		role = "baseline"
	}
	switch {
	case len(own) > 0 && len(standIns) > 0:
		return list(role, own) + "; " + list("stand-in", standIns)
	case len(own) > 0:
		return list(role, own)
	case len(standIns) > 0:
		return list("stand-in", standIns)
	case g.mode() == string(graylib.ModeIgnore):
		return "nobody: mode ignore"
	case len(g.Members) > 0:
		return fmt.Sprintf("unknown: %d in the group, none says that it has a queue", len(g.Members))
	default:
		return "nobody"
	}
}

// oldest is the age of the oldest message that waits, "" where none is known to.
func (g *group) oldest(now time.Time) string {
	at := g.Waiting.Oldest
	if r := g.Retries.Oldest; at.IsZero() || !r.IsZero() && r.Before(at) {
		at = r
	}
	if at.IsZero() {
		return ""
	}
	return max(now.Sub(at), 0).Round(time.Second).String()
}
