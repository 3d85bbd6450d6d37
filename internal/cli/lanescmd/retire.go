package lanescmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/fleet"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

const (
	publishWithin = 30 * time.Second // of reading and publishing the rules
	defaultWait   = 10 * time.Minute // for a lane's end
)

func newRetire(deps target.Deps) *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "retire TAG",
		Short: "Let a lane colour nothing more, and see its left-over messages consumed",
		Long: `Publishes the lane as retired: its entries and marks colour nothing more, and what is left of its messages is consumed by
its own instances or by stand-ins, whatever the mode says. Then it waits until none is left: those that wait, those to be
delivered again, those sent with a delay, and open transactions where the broker tells of them. Messages may be sent with
the tag still, by requests that bear it; so "none is left" is true of that moment.

It ends with 1 where something is left after --wait; the lane is retired all the same. A second run waits again.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, done, err := begin(cmd, deps, args[0], wait)
			defer done()
			if err != nil {
				return err
			}
			result, err := e.modify(func(content []byte) ([]byte, error) { return rules.RetireLane(content, e.tag) })
			if err != nil {
				return err
			}
			e.told("lane %s is retired", result)
			if wait == 0 {
				return nil
			}
			return e.untilNothingIsLeft()
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", defaultWait, "how long to wait for the left-over messages; 0 = not at all")
	return cmd
}

// ending is a lane that is being retired or forgotten.
type ending struct {
	*sources
	cmd  *cobra.Command
	tag  graylib.Tag
	wait time.Duration
	said string          // what was said last of what can't be known
	seen map[string]bool // brokers that were registered at some look

	unheard bool // go on without knowing which rules all members go by
}

func begin(cmd *cobra.Command, deps target.Deps, arg string, wait time.Duration) (*ending, func(), error) {
	nothing := func() {}
	tag, err := graylib.ParseTag(arg)
	switch {
	case err != nil:
		return nil, nothing, deps.Usage(err)
	case tag == graylib.Untagged:
		return nil, nothing, deps.Usage(fmt.Errorf("the tag is empty; want a lane's"))
	case wait < 0:
		return nil, nothing, deps.Usage(fmt.Errorf("--wait is %v; want a duration such as 5m, or 0", wait))
	}
	s, done, err := connect(cmd, deps)
	if err != nil {
		return nil, done, err
	}
	if s.nacos == nil {
		return nil, done, fmt.Errorf("%s", strings.TrimPrefix(s.problems[0], "rules and instances: "))
	}
	return &ending{sources: s, cmd: cmd, tag: tag, wait: wait}, done, nil
}

// publish publishes something. Once begun it isn't given up by an interrupt, so that what is said is so.
func (e *ending) publish(how func(context.Context) (rules.Result, error)) (rules.Result, error) {
	if err := e.cmd.Context().Err(); err != nil {
		return rules.Result{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.cmd.Context()), publishWithin)
	defer cancel()
	return how(ctx)
}

// modify publishes a change of the rules.
func (e *ending) modify(change func([]byte) ([]byte, error)) (rules.Result, error) {
	return e.publish(func(ctx context.Context) (rules.Result, error) { return rules.Modify(ctx, e.nacos, change) })
}

// told says what publishing came to.
func (e *ending) told(what string, r rules.Result) {
	how := fmt.Sprintf("revision %d", r.Revision)
	if !r.Changed {
		how = fmt.Sprintf("since revision %d or before", r.Revision)
	}
	_, _ = fmt.Fprintf(e.cmd.OutOrStdout(), what+", %s\n", e.tag, how)
	for _, n := range r.Notes {
		_, _ = fmt.Fprintf(e.cmd.OutOrStdout(), "note: %s\n", n)
	}
}

// say says on stderr, once, what can't be known.
func (e *ending) say(text string) {
	if text != e.said && text != "" {
		_, _ = fmt.Fprintln(e.cmd.ErrOrStderr(), text)
	}
	e.said = text
}

// remains is what is left of a lane's messages.
type remains struct {
	waiting, retries lanestate.Count
	delayed, halves  int64
	unknownHalves    error
	dead             lanestate.Count
}

func (r remains) sum() int64 { return r.waiting.N + r.retries.N + r.delayed + r.halves }

// String lists what there is: "5,000 wait, 50 to be delivered again".
func (r remains) String() string {
	var parts []string
	add := func(n int64, text, what string) {
		if n > 0 {
			parts = append(parts, text+" "+what)
		}
	}
	add(r.waiting.N, r.waiting.String(), "waiting")
	add(r.retries.N, r.retries.String(), "to be delivered again")
	add(r.delayed, fmt.Sprint(r.delayed), "sent with a delay")
	add(r.halves, fmt.Sprint(r.halves), "in open transactions")
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// left reads what is left of the lane in all its groups. The error says what can't be known of the brokers.
func (e *ending) left(ctx context.Context) (r remains, err error) {
	at, err := e.where(ctx)
	if err != nil {
		return r, err
	}
	var which []lanestate.Of
	for _, base := range at.bases {
		if o := (lanestate.Of{Base: base, Kind: graylib.GroupLane, Lane: e.tag}); at.known[o.Name()] {
			which = append(which, o)
		}
	}
	// In the order in which messages move: what leaves one place while this reads is seen in the next.
	halves, err := e.reader.Halves(ctx, at.brokers)
	r.halves, r.unknownHalves = halves[e.tag], err
	if r.delayed, _, err = e.reader.Delayed(ctx, at.brokers, e.tag); err != nil {
		return r, err
	}
	groups, err := e.reader.Read(ctx, at.brokers, which...)
	if err != nil {
		return r, err
	}
	for _, g := range groups {
		if err := g.Err(); err != nil {
			return r, fmt.Errorf("group %q: %w", g.Name, err)
		}
		r.waiting = r.waiting.Plus(g.Waiting)
		r.retries = r.retries.Plus(g.Retries)
		r.dead = r.dead.Plus(g.DeadLetters)
	}
	return r, nil
}

// errBrokerAway is wrapped where a broker that must be asked isn't registered.
var errBrokerAway = errors.New("not all brokers are there")

// place is where messages of a lane can be.
type place struct {
	brokers   map[string]string // addresses by name
	bases     []string          // the application's groups
	known     lanestate.Groups  // all groups that the brokers know
	instances []fleet.Instance
}

// where looks at all of it. It fails where a broker is known to be away, by
// its replicas, an earlier look or the instances: nobody could tell what it holds.
func (e *ending) where(ctx context.Context) (place, error) {
	masterless, err := e.reader.Masterless(ctx)
	if err != nil {
		return place{}, err
	}
	if len(masterless) > 0 {
		return place{}, fmt.Errorf("%w: broker %s has no master, only replicas: what it holds can't be known. Start its master again", errBrokerAway, masterless[0])
	}
	brokers, err := e.reader.Brokers(ctx)
	if err != nil {
		return place{}, err
	}
	known, err := e.reader.Groups(ctx, brokers)
	if err != nil {
		return place{}, err
	}
	instances, err := fleet.Ask(ctx, e.nacos)
	if err != nil {
		return place{}, err
	}
	if away := fleet.Away(instances, brokers); len(away) > 0 {
		return place{}, fmt.Errorf("%w: %s", errBrokerAway, away[0])
	}
	for _, name := range slices.Sorted(maps.Keys(e.seen)) {
		if _, there := brokers[name]; !there {
			return place{}, fmt.Errorf("%w: broker %s was registered at the name server, and isn't any more; start it again", errBrokerAway, name)
		}
	}
	if e.seen == nil {
		e.seen = make(map[string]bool)
	}
	for name := range brokers {
		e.seen[name] = true
	}
	return place{brokers, basesOf(known, instances), known, instances}, nil
}

// untilNothingIsLeft shows the left-over messages becoming fewer.
func (e *ending) untilNothingIsLeft() error {
	var last remains
	err := e.until(func(ctx context.Context, _ bool) (looked, error) {
		r, err := e.left(ctx)
		if err != nil {
			return looked{}, err
		}
		last = r
		if r.unknownHalves != nil {
			e.say("open transactions of the lane can't be known: " + oneLine(r.unknownHalves) + "; wait until their producers have ended them")
		}
		return looked{left: r.sum(), of: "messages", text: "left-over messages: " + r.String(), done: r.sum() == 0}, nil
	}, fmt.Sprintf("lane %s stays retired; run it again to go on waiting", e.tag), func(_ looked, failed error) error {
		if failed != nil {
			return fmt.Errorf("after %v what is left of lane %s can't be known: %w", e.wait, e.tag, failed)
		}
		return fmt.Errorf("after %v messages of lane %s are left: %s; the lane stays retired. `graychain lanes %s` shows who consumes them", e.wait, e.tag, last, e.tag)
	})
	if err != nil {
		return err
	}
	if last.dead.N > 0 {
		_, _ = fmt.Fprintf(e.cmd.OutOrStdout(), "%s dead letters: `graychain lanes resend %s` sends them again\n", last.dead, e.tag)
	}
	_, _ = fmt.Fprintf(e.cmd.OutOrStdout(), "nothing is left of lane %s; `graychain lanes forget %s` lets it leave the rules\n", e.tag, e.tag)
	return nil
}
