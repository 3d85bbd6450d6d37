package lanescmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

func newForget(deps target.Deps) *cobra.Command {
	var (
		wait    time.Duration
		unheard bool
	)
	cmd := &cobra.Command{
		Use:   "forget TAG",
		Short: "Let a retired lane leave the rules, when nothing of it is left",
		Long: `Publishes that the lane owns what is stored until 30 s from now and nothing later, waits until that is past by 30 s and all
of it has been consumed, retries included, and takes the lane out of the rules. From then on its tag is an unlisted one,
whose messages are the baseline's.

All members of the consumer groups concerned must go by the rules as they are published, as the instances' status says: one that is
cut off from Nacos would go on as if the lane were listed, and handle what others take for the baseline's.

An interrupt changes nothing: a second run goes on where the first was. Until 30 s after the time that it names the lane can be
listed again (` + "`graychain rules edit`: take `until` out" + `), as if nothing had been; afterwards its tag can be listed anew once the lane has left.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, done, err := begin(cmd, deps, args[0], wait)
			defer done()
			if err != nil {
				return err
			}
			e.unheard = unheard
			return e.forget()
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", defaultWait, "how long to wait for the left-over messages; 0 = publish the time alone")
	cmd.Flags().BoolVar(&unheard, "unheard", false, "go on though members of the groups don't say which rules they go by (they have no status page, say); see to it yourself that they have read them")
	return cmd
}

// errUnaware is wrapped where a member may not know what is about to be published.
var errUnaware = errors.New("not every member goes by the rules as they are published; with --unheard that isn't looked at")

func (e *ending) forget() error {
	// Where brokers and groups can't be read, nobody could tell later what is left: find out before anything is changed.
	ctx, cancel := context.WithTimeout(e.cmd.Context(), lookWithin)
	err := e.allAware(ctx)
	cancel()
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	result, err := e.modify(func(content []byte) ([]byte, error) {
		return rules.ForgetLane(content, e.tag, time.Now().Add(rules.ForgetNotice+time.Second)) // until is in whole seconds
	})
	if err != nil {
		return err
	}
	lane, err := result.Document.Lane(e.tag)
	if err != nil {
		return err
	}
	e.told("lane %s is forgotten from "+lane.Until.UTC().Format(clock)+" on", result)
	if e.wait == 0 {
		return nil
	}
	return e.untilForgotten(lane.Until)
}

// untilForgotten waits until nothing stored before until is left, and takes the lane out of the rules.
func (e *ending) untilForgotten(until time.Time) error {
	err := e.until(func(ctx context.Context, live bool) (looked, error) {
		l, err := e.mayLeave(ctx, until, live)
		if errors.Is(err, rules.ErrRelisted) || errors.Is(err, rules.ErrNoLane) {
			err = stop{err}
		}
		return l, err
	}, fmt.Sprintf("lane %s stays in the rules, retired and being forgotten; run it again to go on", e.tag), func(last looked, failed error) error {
		why := cmp.Or(last.text, "nothing is left by the first look")
		if failed != nil {
			why = oneLine(failed)
		}
		return fmt.Errorf("after %v lane %s can't leave the rules yet: %s; run it again to go on", e.wait, e.tag, why)
	})
	if err != nil {
		return err
	}
	result, err := e.publish(func(ctx context.Context) (rules.Result, error) { return rules.Drop(ctx, e.nacos, e.tag, until) })
	if err != nil {
		return err
	}
	e.told("lane %s has left the rules", result)
	return nil
}

// mayLeave says why the lane has to stay a while, if it has; with countdown it says how long.
func (e *ending) mayLeave(ctx context.Context, until time.Time, countdown bool) (looked, error) {
	doc, err := e.document(ctx)
	if err != nil {
		return looked{}, err
	}
	var revision int64
	if doc != nil { // an emptied document: every reader keeps the last good one
		revision = doc.Revision
		if err := doc.Forgets(e.tag, until); err != nil {
			return looked{}, err
		}
	}
	at, err := e.where(ctx)
	if err != nil {
		return looked{}, err
	}
	now := time.Now()
	for name, addr := range at.brokers { // messages bear the brokers' time
		ahead, within, err := e.reader.API().Clock(ctx, addr)
		if errors.Is(err, lanestate.ErrNoClock) {
			continue
		}
		if err != nil {
			return looked{}, fmt.Errorf("broker %q: %w", name, err)
		}
		if theirs := time.Now().Add(ahead - within); theirs.Before(now) && ahead < -within {
			now = theirs
		}
	}
	if leaves := until.Add(rules.ForgetDelay); now.Before(leaves) {
		why := "the lane may leave at " + leaves.UTC().Format(clock) + " at the earliest"
		in := leaves.Sub(now).Round(time.Second)
		if countdown {
			why += fmt.Sprintf(", in %v", in)
		}
		return looked{left: int64(in / time.Second), of: "seconds", text: why}, nil
	}
	halves, err := e.reader.Halves(ctx, at.brokers)
	if err != nil {
		e.say("open transactions of the lane can't be known: " + oneLine(err) + "; what they send later is the baseline's")
	}
	list, err := e.reader.LeftBefore(ctx, at.brokers, at.bases, e.tag, until)
	if err != nil {
		return looked{}, err
	}
	var parts []string
	left := int64(0)
	for _, l := range list {
		parts = append(parts, l.String())
		left += l.Count.N
	}
	if n := halves[e.tag]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d in open transactions", n))
		left += n
	}
	if len(parts) == 0 {
		why, err := e.unaware(ctx, at, revision)
		return looked{left: -1, text: why, done: why == ""}, err
	}
	return looked{left: left, of: "messages", text: strings.Join(parts, "; ")}, nil
}

// allAware returns an error where the brokers can't be asked, or where a member doesn't go by the rules that are published.
func (e *ending) allAware(ctx context.Context) error {
	at, err := e.where(ctx)
	if err != nil {
		return err
	}
	doc, err := e.document(ctx)
	if err != nil || doc == nil {
		return err // publishing says what there is to say of an empty document
	}
	if !slices.ContainsFunc(doc.Lanes, func(l rules.Lane) bool { return l.Tag == e.tag && l.State == graylib.LaneRetired }) {
		return nil // there is nothing to forget, as publishing will say
	}
	why, err := e.unaware(ctx, at, doc.Revision)
	if err == nil && why != "" {
		err = fmt.Errorf("%w: %s", errUnaware, why)
	}
	return err
}
