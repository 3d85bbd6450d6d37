package handoffbench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// Kind is a kind of handoff.
type Kind string

// The kinds.
const (
	Return Kind = "return" // the lane's process joins
	Stop   Kind = "stop"   // it is stopped cleanly
	Crash  Kind = "kill"   // it is killed
)

// Kinds are all kinds.
func Kinds() []Kind { return []Kind{Stop, Crash, Return} }

// Handoff is one handoff, as it was timed.
type Handoff struct {
	Round int // from 1
	Kind  Kind
	First time.Duration // to the first message by the other side
	All   time.Duration // to when each queue had one
}

// takeLimit bounds the wait for the other side: a lock that nobody gives back lapses after 60 s.
const takeLimit = 90 * time.Second

// Pauses between two handoffs are drawn between these, so that they fall anywhere in what happens periodically.
const (
	pauseLeast = 100 * time.Millisecond
	pauseMost  = 400 * time.Millisecond
)

// prefixes of the processes' names, by side.
const (
	sideLane    = "lane-"
	sideStandIn = "stand-in-"
)

type run struct {
	Config
	names   names
	listed  time.Time
	record  *record
	load    *load
	random  *rand.Rand
	queues  int // of the topic, at all brokers
	alive   []*process
	killed  map[string]bool // names of the processes that were killed
	result  Result
	counted int // lane processes so far
}

// Run measures. It needs a name server whose brokers are its to make a topic and groups on; they are removed at the end. An
// error says that it couldn't be measured; what was lost or repeated is in the result.
func Run(ctx context.Context, c Config) (_ Result, err error) {
	if err := c.Check(); err != nil {
		return Result{}, err
	}
	for c.Seed == 0 {
		c.Seed = rand.Uint64() >> 12 // a number that JSON readers keep
	}
	api, err := remoting.New(remoting.Config{NameServers: []string{c.Namesrv}})
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = api.Close() }()
	r := &run{
		Config: c, names: newNames(), listed: time.Now().Add(-time.Minute), killed: make(map[string]bool),
		random: rand.New(rand.NewPCG(c.Seed, 0)),
		result: Result{Config: c},
	}
	r.record = newRecord(r.names.topic)
	if r.queues, err = r.names.create(ctx, api, c.Queues); err != nil {
		return Result{}, err
	}
	defer func() {
		for _, p := range r.alive {
			p.kill()
		}
		r.names.remove(context.WithoutCancel(ctx), api)
	}()
	if err := r.measure(ctx); err != nil {
		return Result{}, err
	}
	return r.result, nil
}

func (r *run) measure(ctx context.Context) error {
	began := time.Now()
	for i := range r.StandIns {
		p, err := r.spawn(ctx, fmt.Sprintf("%s%d", sideStandIn, i+1))
		if err != nil {
			return err
		}
		if err := p.tell(tellStart); err != nil {
			return err
		}
		if err := p.await(ctx, p.started, "started"); err != nil {
			return err
		}
	}
	rt, err := newRuntime(r.Namesrv, "", r.listed)
	if err != nil {
		return err
	}
	since := r.record.watch(sideStandIn)
	if r.load, err = startLoad(ctx, rt, r.names.topic, r.names.group+"-producer", r.Rate); err != nil {
		return err
	}
	defer r.load.cancel()
	if _, _, err := r.taken(ctx, since); err != nil {
		return fmt.Errorf("before the first round: %w", err)
	}
	for round := range r.Rounds {
		if err := r.round(ctx, round+1); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	list, took := r.load.stop()
	if err := r.load.err(); err != nil {
		return err
	}
	if err := r.consumed(ctx, list); err != nil {
		return err
	}
	r.result.Messages, r.result.Reached = len(list), float64(len(list))/took.Seconds()
	r.result.Took = time.Since(began)
	for _, p := range r.alive { // what is repeated late is seen, too
		if err := p.tell(tellStop); err != nil {
			return err
		}
	}
	for _, p := range r.alive {
		if err := p.stop(ctx); err != nil {
			return err
		}
	}
	r.alive = nil
	r.judge(list)
	return nil
}

// spawn starts a process that waits to be told to join.
func (r *run) spawn(ctx context.Context, name string) (*process, error) {
	c := memberConfig{Namesrv: r.Namesrv, Topic: r.names.topic, Group: r.names.group, Handler: r.Handler, Listed: r.listed}
	if strings.HasPrefix(name, sideLane) {
		c.Tag = lane
	}
	p, err := spawn(name, c, r.record)
	if err != nil {
		return nil, err
	}
	r.alive = append(r.alive, p)
	return p, p.await(ctx, p.ready, "ready")
}

// round lets the lane come, stop, come, and crash.
func (r *run) round(ctx context.Context, n int) error {
	p, err := r.comes(ctx, n)
	if err != nil {
		return err
	}
	err = r.handoff(ctx, Handoff{Round: n, Kind: Stop}, sideStandIn, func() error { return p.tell(tellStop) })
	if err != nil {
		return err
	}
	if err := p.stop(ctx); err != nil {
		return err
	}
	r.forget(p)
	if p, err = r.comes(ctx, n); err != nil {
		return err
	}
	r.killed[p.name] = true
	err = r.handoff(ctx, Handoff{Round: n, Kind: Crash}, sideStandIn, func() error { return p.cmd.Process.Kill() })
	p.kill() // what it had said is noted
	r.forget(p)
	return err
}

func (r *run) comes(ctx context.Context, n int) (*process, error) {
	r.counted++
	p, err := r.spawn(ctx, fmt.Sprintf("%s%d", sideLane, r.counted))
	if err != nil {
		return nil, err
	}
	return p, r.handoff(ctx, Handoff{Round: n, Kind: Return}, sideLane, func() error { return p.tell(tellStart) })
}

func (r *run) forget(p *process) {
	for i, q := range r.alive {
		if q == p {
			r.alive = append(r.alive[:i:i], r.alive[i+1:]...)
		}
	}
}

// handoff does one after a pause, and times it.
func (r *run) handoff(ctx context.Context, h Handoff, to string, do func() error) error {
	pause := time.NewTimer(pauseLeast + time.Duration(r.random.Int64N(int64(pauseMost-pauseLeast))))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := r.healthy(); err != nil {
		return err
	}
	since := r.record.watch(to)
	if err := do(); err != nil {
		return err
	}
	var err error
	if h.First, h.All, err = r.taken(ctx, since); err != nil {
		return fmt.Errorf("%s: %w", h.Kind, err)
	}
	r.result.Handoffs = append(r.result.Handoffs, h)
	if r.Progress != nil {
		r.Progress(h)
	}
	return nil
}

// healthy tells whether all that should run runs.
func (r *run) healthy() error {
	for _, p := range r.alive {
		select {
		case <-p.ended:
			return p.unasked()
		default:
		}
	}
	return r.load.err()
}

// taken waits until the watched side has handled a message of each queue.
func (r *run) taken(ctx context.Context, since time.Time) (first, all time.Duration, err error) {
	limit := time.NewTimer(takeLimit)
	defer limit.Stop()
	for {
		times, changed := r.record.seen()
		if len(times) >= r.queues {
			first, all = times[0].Sub(since), 0
			for _, at := range times {
				first, all = min(first, at.Sub(since)), max(all, at.Sub(since))
			}
			return first, all, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return 0, 0, fmt.Errorf("after %v the other side has handled messages of %d of %d queues", takeLimit, len(times), r.queues)
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
	}
}

// consumed waits until all messages are handled, as long as it goes on.
func (r *run) consumed(ctx context.Context, list []sent) error {
	limit := time.NewTimer(takeLimit)
	defer limit.Stop()
	for {
		left, changed := r.record.left(list)
		if len(left) == 0 {
			return nil
		}
		if len(left) < len(list) {
			list = left
			limit.Reset(takeLimit)
		}
		select {
		case <-changed:
		case <-limit.C:
			return nil // what is left is lost; the judge says so
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
