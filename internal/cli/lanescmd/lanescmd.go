// Package lanescmd is `graychain lanes`: to see who consumes each lane's messages and what is left of them, to retire and
// forget a lane, and to send dead letters again.
package lanescmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/draw"
	"github.com/graychain/graychain/pkg/graylib"
)

// lookWithin bounds one look at everything.
const lookWithin = 60 * time.Second

// watchEvery is how often --watch looks again.
const watchEvery = 2 * time.Second

// New returns the command `lanes`. Where something has been said already it returns [target.ErrReported].
func New(deps target.Deps) *cobra.Command {
	var (
		output string
		base   string
		watch  bool
	)
	cmd := &cobra.Command{
		Use:   "lanes [TAG]",
		Short: "Show each lane's instances, consumer groups and left-over messages; retire and forget lanes",
		Long: `Shows, for each lane that the rules list and for the baseline: its live instances, its consumer groups, who consumes
them, how many messages wait, are to be delivered again, or are dead. With a TAG (or "baseline") each queue too.

It reads the rules and the registry in Nacos, asks the instances (GET ` + graylib.StatusPath + `), and looks at the brokers without
joining a group. What is away is said; the rest is shown. It ends with 1 where something is unknown.`,
		Example: "  graychain lanes\n  graychain lanes gray\n  graychain lanes retire gray\n  graychain lanes forget gray",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return deps.Usage(fmt.Errorf("--output is %q; want text or json", output))
			}
			only, detail, err := chosen(args)
			if err != nil {
				return deps.Usage(err)
			}
			s, done, err := connect(cmd, deps)
			defer done()
			if err != nil {
				return err
			}
			s.base = base
			for {
				v, err := look(cmd.Context(), s)
				if err != nil {
					if watch && cmd.Context().Err() != nil {
						return nil
					}
					return err
				}
				if detail {
					if v, err = v.only(only); err != nil {
						return err
					}
				}
				out := cmd.OutOrStdout()
				if watch && draw.IsTerminal(out) {
					_, _ = io.WriteString(out, "\x1b[H\x1b[2J")
				}
				if output == "json" {
					err = writeJSON(out, v)
				} else {
					err = v.write(out, detail)
				}
				switch {
				case err != nil:
					return err
				case !watch && len(v.Problems) > 0:
					return target.ErrReported
				case !watch:
					return nil
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(watchEvery):
				}
			}
		},
	}
	target.Flags(cmd)
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	cmd.Flags().StringVar(&base, "group", "", "only this consumer group, as the application names it (default all)")
	cmd.Flags().BoolVar(&watch, "watch", false, "look again every "+watchEvery.String()+" until interrupted")
	deps.Args(cmd)
	for _, c := range []*cobra.Command{newRetire(deps), newForget(deps), newResend(deps)} {
		cmd.AddCommand(deps.Args(c))
	}
	return cmd
}

// baselineWord names the baseline where a tag is asked for; it can be no tag.
const baselineWord = "baseline"

// chosen reads the tag of a command line; detail says that there was one.
func chosen(args []string) (tag graylib.Tag, detail bool, err error) {
	if len(args) == 0 || args[0] == baselineWord {
		return graylib.Untagged, len(args) > 0, nil
	}
	tag, err = graylib.ParseTag(args[0])
	if err == nil && tag == graylib.Untagged {
		err = fmt.Errorf("tag %q; want a lane's tag, or %s", args[0], baselineWord)
	}
	return tag, true, err
}

// connect connects to what the command line says. done must be called.
func connect(cmd *cobra.Command, deps target.Deps) (*sources, func(), error) {
	nacos, namesrv, err := deps.Addresses(cmd)
	if err != nil {
		return nil, func() {}, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), lookWithin)
	defer cancel()
	return open(ctx, deps, nacos, namesrv)
}

func look(ctx context.Context, s *sources) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	return s.read(ctx)
}

func writeJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// errUnknownLane is wrapped where neither rules, instances nor brokers know a lane.
var errUnknownLane = errors.New("no such lane")

// only keeps one lane.
func (v view) only(tag graylib.Tag) (view, error) {
	for _, l := range v.Lanes {
		if l.Tag == tag {
			v.Lanes = []lane{l}
			return v, nil
		}
	}
	if len(v.Problems) > 0 {
		return v, fmt.Errorf("%w: %s; but not all is known: %s", errUnknownLane, tag, v.Problems[0])
	}
	return v, fmt.Errorf("%w: %s is neither in the rules, nor an instance's tag, nor does a broker hold anything for it", errUnknownLane, tag)
}
