package lanescmd

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
)

// errNoGroup is wrapped where there is no group whose dead letters could be sent.
var errNoGroup = errors.New("no such consumer group")

func newResend(deps target.Deps) *cobra.Command {
	var (
		o      lanestate.Resending
		base   string
		output string
	)
	cmd := &cobra.Command{
		Use:   "resend TAG|baseline",
		Short: "Send dead letters again, each once",
		Long: `Sends the dead letters of the lane's consumer groups, or of the baseline's, to the topic that they were sent to first, with
their body, keys, tags and message id. All groups of that topic see them: one that handled such a message before handles it
again, unless it knows the message by its id (the idempotency hook does).

What was sent is remembered at the broker, so that each is sent once, however often this runs; where it is interrupted between
two messages, or the broker's answer is lost, the one in between may be sent twice. What is remembered is how far they were sent:
one sent by --id while others before it were not is sent once more with those.`,
		Example: "  graychain lanes resend gray --dry-run\n  graychain lanes resend gray --group test-a --topic TEST_MQ",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tag, _, err := chosen(args)
			switch {
			case err != nil:
				return deps.Usage(err)
			case output != "text" && output != "json":
				return deps.Usage(fmt.Errorf("--output is %q; want text or json", output))
			}
			_, namesrv, err := deps.Addresses(cmd)
			if err != nil {
				return err
			}
			reader, err := deps.Brokers(namesrv)
			if err != nil {
				return deps.Usage(err)
			}
			defer func() { _ = reader.Close() }()
			return resend(cmd, reader, base, tag, o, output)
		},
	}
	cmd.Flags().StringVar(&base, "group", "", "only of this consumer group, as the application names it (default all)")
	cmd.Flags().StringVar(&o.Topic, "topic", "", "only messages that were sent to this topic first")
	cmd.Flags().StringVar(&o.ID, "id", "", "only the message with this id")
	cmd.Flags().BoolVar(&o.Again, "again", false, "also those that were sent again before")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "send nothing; tell what would be sent")
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

// sentLetter is a dead letter with its group.
type sentLetter struct {
	Group string `json:"group"`
	lanestate.DeadLetter
}

// resent is what the command answers.
type resent struct {
	DryRun  bool         `json:"dryRun,omitempty"`
	Sent    int          `json:"sent"`
	Before  int          `json:"before"` // left alone: an earlier run had sent them
	Letters []sentLetter `json:"letters"`
}

func resend(cmd *cobra.Command, reader *lanestate.Reader, base string, tag graylib.Tag, o lanestate.Resending, output string) error {
	ctx := cmd.Context()
	look, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	brokers, err := reader.Brokers(look)
	if err != nil {
		return err
	}
	known, err := reader.Groups(look, brokers)
	if err != nil {
		return err
	}
	bases := known.Bases()
	if base != "" {
		bases = []string{base}
	}
	var names []string
	for _, b := range bases {
		of := []lanestate.Of{{Base: b, Kind: graylib.GroupLane, Lane: tag}}
		if tag == graylib.Untagged {
			of = []lanestate.Of{{Base: b, Kind: graylib.GroupBase}, {Base: b, Kind: graylib.GroupTagged}}
		}
		for _, g := range of {
			if known[g.Name()] {
				names = append(names, g.Name())
			}
		}
	}
	if len(names) == 0 {
		which := "the brokers know none of lane " + tag.String()
		if base != "" {
			which = fmt.Sprintf("the brokers don't know %q", lanestate.Of{Base: base, Kind: graylib.GroupLane, Lane: tag}.Name())
		}
		if tag == graylib.Untagged {
			which = "the brokers know no group of graylib's baseline"
			if base != "" {
				which = fmt.Sprintf("the brokers don't know %q", base)
			}
		}
		return fmt.Errorf("%w: %s", errNoGroup, which)
	}
	all := resent{DryRun: o.DryRun, Letters: []sentLetter{}}
	found := false
	for _, name := range names {
		o.Group = name
		o.Each = func(l lanestate.DeadLetter) { all.Letters = append(all.Letters, sentLetter{name, l}) }
		sum, failed := reader.Resend(ctx, brokers, o)
		all.Sent += sum.Sent
		all.Before += sum.Before
		if errors.Is(failed, lanestate.ErrNoDeadLetter) && len(names) > 1 {
			continue // another group may have it
		}
		found = true
		if err = failed; err != nil {
			break
		}
	}
	if o.ID != "" && !found {
		err = fmt.Errorf("%w: none of %d groups has one with id %q", lanestate.ErrNoDeadLetter, len(names), o.ID)
	}
	var write error
	if output == "json" {
		write = writeJSON(cmd.OutOrStdout(), all)
	} else {
		write = all.write(cmd)
	}
	return errors.Join(err, write)
}

func (r resent) write(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	did := "sent"
	if r.DryRun {
		did = "would be sent"
	}
	if len(r.Letters) > 0 {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "ID\tGROUP\tTOPIC\tTAG\tKEYS\tDIED\t")
		for _, l := range r.Letters {
			what := did
			if l.SentBefore {
				what = "sent before"
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.ID, l.Group, l.Topic, l.Tag, orDash(l.Keys), l.Died.UTC().Format(time.RFC3339), what)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	line := fmt.Sprintf("%d %s", r.Sent, did)
	if r.Sent == 0 {
		line = "nothing to send"
	}
	if r.Before > 0 {
		line += fmt.Sprintf(", %d sent before", r.Before)
	}
	_, err := fmt.Fprintln(out, line)
	return err
}
