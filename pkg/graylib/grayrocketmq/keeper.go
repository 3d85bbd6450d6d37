package grayrocketmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Times of trying again where groups could not be joined.
const (
	retryFirst = 500 * time.Millisecond
	retryMost  = 10 * time.Second
)

// keeper keeps a consumer a member of the groups that its instance belongs to, by the rules in force.
//
// The first time all groups are joined in order, or none: <group>'s first offsets are set last. Until then the instance isn't ready. What
// is listed later is joined group by group, and what fails there is tried again, told (log, status), and keeps nobody from working: no
// other group, and not the instance, which goes on with the groups that it has.
type keeper struct {
	c       *Consumer
	ctx     context.Context
	cancel  context.CancelFunc
	changed chan struct{} // holds one: the rules have changed
	done    chan struct{}
	unwatch func()
	told    string // what was logged last, so that it isn't repeated
	settled bool   // the first join has succeeded
	strange bool   // it was logged that <group> has members without graylib
	stopped sync.Once
	leaves  sync.WaitGroup // of groups that are being left, beside everything else
	left    atomic.Int64   // handlers that were running still when their group was left
}

func newKeeper(c *Consumer) *keeper {
	k := &keeper{c: c, changed: make(chan struct{}, 1), done: make(chan struct{})}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.unwatch = c.rt.RulesSource().Watch(func(graylib.Rules) {
		select {
		case k.changed <- struct{}{}:
		default:
		}
	})
	return k
}

// start joins for the first time and then keeps.
func (k *keeper) start() error {
	k.c.rt.SetReady(k.c.component(), "starting")
	err := k.reconcile(k.ctx)
	if err != nil && (!k.c.opts.background || permanent(err)) {
		k.unwatch()
		k.cancel()
		close(k.done)
		k.c.leaveAll()
		k.c.rt.SetReady(k.c.component(), err.Error())
		return err
	}
	go k.run(err)
	return nil
}

// permanent tells whether an error is of the settings: trying again doesn't help.
func permanent(err error) bool {
	return errors.Is(err, ErrNotSupported) || errors.Is(err, ErrInvalidOption)
}

// stop ends the keeping. Groups stay joined; those that are being left are so still (leaves).
func (k *keeper) stop() {
	k.stopped.Do(func() {
		k.unwatch()
		k.cancel()
	})
	<-k.done
}

func (k *keeper) run(err error) {
	defer close(k.done)
	wait := retryFirst
	for {
		var again <-chan time.Time
		var timer *time.Timer
		if err != nil {
			k.tell(err)
			timer = time.NewTimer(wait)
			again = timer.C
			wait = min(2*wait, retryMost)
		} else {
			wait = retryFirst
		}
		select {
		case <-k.ctx.Done():
		case <-k.changed:
			wait = retryFirst
		case <-again:
		}
		if timer != nil {
			timer.Stop()
		}
		if k.ctx.Err() != nil {
			return
		}
		err = k.reconcile(k.ctx)
	}
}

// tell says why groups aren't joined, in the log once per reason.
func (k *keeper) tell(err error) {
	if s := err.Error(); s != k.told {
		k.told = s
		k.c.log().Warn("the consumer can't join its groups, going on trying", "error", err)
	}
}

// tellStrangers says once who is in <group> without graylib: it takes tagged messages, and no locks.
func (k *keeper) tellStrangers(list []string) {
	if len(list) == 0 || k.strange {
		return
	}
	k.strange = true
	k.c.log().Warn("the group has members without graylib, or with another version of it: they take tagged messages as untagged ones, and a queue that moves between them and "+
		"this one may repeat messages. Set "+graylib.EnvMessages+"=on in all instances, at the producers too; while a service is being taken over it is expected (docs/messages.md)",
		"group", k.c.baseGroup(), "members", list)
}

// joined is a membership in one group.
type joined interface {
	group() string
	start()   // from here on queues are taken
	close()   // nothing more begins, but for what must to keep offsets in order
	suspend() // takes nothing more from the brokers
	unsuspend()
	unsubscribe(topic string) error
	outdated(subs []*subscription) bool // whether it must be another member to subscribe to these alone
	lag(sum map[string]int64)           // adds, by topic, the messages that aren't consumed yet
	leave(ctx context.Context) int
	state() graylib.GroupState
}

var _, _ joined = (*broadcaster)(nil), (*laneMember)(nil)

// desired returns the groups to be a member of, in the order in which their first offsets are set and they are joined. The
// second list is of those whose first offsets must be set before <group>'s, though this instance doesn't join them now.
func desired(id graylib.Identity, group string, broadcast bool, rules graylib.Rules, known bool) (join, prepare []place) {
	if id.Tag != graylib.Untagged {
		if lane, ok := rules.Lane(id.Tag); ok {
			join = append(join, place{group: graylib.LaneGroup(group, id.Tag), kind: kindLane, lane: lane})
		}
		return join, nil
	}
	if broadcast {
		return []place{{group: group, kind: kindAll}}, nil
	}
	for _, lane := range rules.Lanes() { // as a stand-in
		join = append(join, place{group: graylib.LaneGroup(group, lane.Tag), kind: kindLane, lane: lane})
	}
	tagged := place{group: graylib.TaggedGroup(group), kind: kindTagged}
	if known {
		join = append(join, tagged)
	} else {
		prepare = append(prepare, tagged)
	}
	return append(join, place{group: group, kind: kindBase}), prepare
}

// rulesKnown tells whether any rules document was ever read. Before that nobody can tell whose a tagged message is, and
// __tagged isn't joined: its messages wait.
func rulesKnown(s graylib.RulesStatus) bool { return s.Origin != "none" }

// reconcile joins and leaves until the groups are the desired ones.
func (k *keeper) reconcile(ctx context.Context) error {
	c := k.c
	id := c.rt.Identity()
	if c.rt.Idle() {
		c.log().Warn("grayscale is switched off ("+graylib.EnvEnabled+"=off), and this instance has a tag: it joins no group", "tag", id.Tag)
		c.rt.SetReady(c.component(), "")
		return nil
	}
	known := rulesKnown(c.rt.RulesSource().Status())
	join, prepare := desired(id, c.baseGroup(), c.broadcasting(), c.rt.Rules(), known)

	c.mu.Lock()
	subs := c.subs
	if len(subs) == 0 { // unsubscribed: it would be a member that wants nothing
		join = nil
	}
	var leaving, outdated, staying []joined
	wanted := slices.Clone(join)
	for _, m := range c.joined {
		its := func(p place) bool { return p.group == m.group() }
		switch {
		case !slices.ContainsFunc(wanted, its):
			leaving = append(leaving, m)
		case m.outdated(subs): // left when another one has taken its place: meanwhile it goes on with the other topics
			outdated = append(outdated, m)
		default:
			staying = append(staying, m)
			join = slices.DeleteFunc(join, its)
		}
	}
	c.joined = append(staying, outdated...)
	c.mu.Unlock()

	for _, m := range leaving { // a handler may take as long as the drain limit allows
		k.leaves.Go(func() { k.leave(ctx, m) })
	}
	err := k.joinAll(ctx, subs, join, prepare)
	k.leaveReplaced(ctx, outdated)
	if err != nil {
		return err
	}
	k.told = ""
	if id.Tag != graylib.Untagged && !known {
		why := fmt.Sprintf("no rules document was read yet: whether lane %q is listed isn't known, and no group is joined", id.Tag)
		c.log().Warn(why)
		c.rt.SetReady(c.component(), why)
		return nil // the rules' coming makes the next try
	}
	k.settled = true
	if len(subs) > 0 && len(c.Groups()) == 0 {
		c.log().Info("this instance's lane is not listed: it joins no group until it is", "tag", id.Tag)
	}
	if id.Tag == graylib.Untagged && !known {
		c.log().Info("no rules document was read yet: tagged messages wait until one is")
	}
	c.rt.SetReady(c.component(), "")
	return nil
}

// joinAll joins groups: at first all of them or none, later each by itself.
func (k *keeper) joinAll(ctx context.Context, subs []*subscription, join, prepare []place) error {
	c := k.c
	if !k.settled {
		if len(join) == 0 {
			return nil
		}
		err := k.join(ctx, subs, join, prepare)
		if err != nil {
			c.rt.SetReady(c.component(), err.Error())
		}
		return err
	}
	errs := make([]error, len(join))
	var all sync.WaitGroup
	for i, p := range join {
		all.Go(func() { errs[i] = k.join(ctx, subs, []place{p}, nil) })
	}
	all.Wait()
	unjoined := make(map[string]string)
	var err error
	for i, p := range join {
		switch {
		case errs[i] == nil:
			continue
		case err == nil:
			err = fmt.Errorf("group %q: %w", p.group, errs[i])
		default: // all on one line
			err = fmt.Errorf("%w; group %q: %w", err, p.group, errs[i])
		}
		unjoined[p.group] = errs[i].Error()
	}
	c.mu.Lock()
	c.unjoined = unjoined
	c.mu.Unlock()
	return err
}

// leaveReplaced leaves groups as the members that don't subscribe as the consumer does now, where another member is joined.
func (k *keeper) leaveReplaced(ctx context.Context, outdated []joined) {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joined = slices.DeleteFunc(slices.Clone(c.joined), func(m joined) bool {
		replaced := slices.Contains(outdated, m) && slices.ContainsFunc(c.joined, func(other joined) bool {
			return other.group() == m.group() && !slices.Contains(outdated, other)
		})
		if replaced {
			k.leaves.Go(func() { k.leave(ctx, m) })
		}
		return replaced
	})
}

func (k *keeper) leave(ctx context.Context, m joined) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.c.opts.drain)
	defer cancel()
	if n := m.leave(ctx); n > 0 {
		k.left.Add(int64(n))
		k.c.log().Warn("left a group while handlers were running; their messages are delivered again", "group", m.group(), "handlers", n)
		return
	}
	k.c.log().Info("left a group: its lane is no longer listed, or a topic was unsubscribed from", "group", m.group())
}

// join prepares groups and joins them.
func (k *keeper) join(ctx context.Context, subs []*subscription, join, prepare []place) error {
	c := k.c
	all := slices.Clone(join)
	if slices.ContainsFunc(join, func(p place) bool { return p.kind == kindBase }) {
		all = append(slices.Clone(prepare), join...)
	}
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.group
	}
	routes, retries, err := c.topics(ctx, subs, names)
	if err != nil {
		return err
	}
	c.brokers.set(brokersOf(routes))
	f := &firstOffsets{api: c.api, id: instanceName(c.rt.Identity(), "first"), base: c.baseGroup(), from: c.set.from, at: c.from}
	var offsets *firstOffsets
	if !c.broadcasting() { // each instance keeps its own offsets
		offsets = f
	}
	asked, away := c.check(ctx, join, all, subs, present(routes), present(retries), offsets), masterless(routes)
	if asked.gone != nil {
		// The others are not to wait for it.
		c.unreachable(ctx, routes, away)
		asked = c.check(ctx, join, all, subs, without(routes, away), without(retries, away), offsets)
	}
	if err := c.some(routes, away, asked); err != nil {
		return err
	}
	k.tellStrangers(asked.strangers)
	routes = without(routes, away)
	if err := firstError(asked.filters); err != nil {
		return err
	}
	if err := c.groups(ctx, asked); err != nil {
		return err
	}
	if c.broadcasting() {
		if c.lanes == nil { // before any member: they read it
			c.lanes = c.watchLanes(ctx)
		}
	}
	for _, p := range all {
		for _, s := range subs {
			if !asked.unset[beginning{p.group, s.topic}] {
				continue
			}
			if err := f.mayBegin(ctx, p, routes[s.topic], away); err != nil {
				return err
			}
			if err := f.set(ctx, p, routes[s.topic]); err != nil {
				return err
			}
		}
	}
	for _, p := range join {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var m joined
		var err error
		if c.broadcasting() {
			m, err = c.joinBroadcast(p, subs)
		} else {
			m, err = c.joinLane(ctx, p, subs, withRetries(routes, asked.retries, p.group))
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.joined = append(c.joined, m)
		if c.suspended {
			m.suspend()
		}
		err = c.forgo(m, subs)
		c.mu.Unlock()
		if err != nil {
			return err
		}
		m.start()
		if lm, ok := m.(*laneMember); ok && len(away) > 0 {
			poke(lm.reroute)
		}
		c.log().Info("joined a group", "group", p.group)
	}
	return nil
}
