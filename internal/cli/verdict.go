package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/internal/verdict"
)

func newVerdict() *cobra.Command {
	var (
		o      verdict.LedgerOptions
		output string
	)
	cmd := &cobra.Command{
		Use:   "verdict [FOLDER...]",
		Short: "Judge the messages of journals, by id over all groups",
		Long: `verdict reads the journals that services keep in the folders that GRAY_JOURNAL named (default: the suite's, in its state folder)
and judges each message by its id over all groups: missing (G5), repeated (G6), in the wrong lane (G2, G4). What an instance
had begun that ended without closing its journal may be repeated, up to a span of 64 messages per queue. Where journals have
gaps, what is missing is unjudged. The command fails where a promise is broken.

Collect the journals of all producers and consumers first, and name groups whose application takes all of a topic: of a message
that the broker's filter left out for others, nothing is known.`,
		RunE: func(cmd *cobra.Command, folders []string) error {
			if output != "text" && output != "json" {
				return usageError{fmt.Errorf("--output is %q; want text or json", output)}
			}
			if o.Settle < 0 {
				return usageError{fmt.Errorf("--settle is %s; want a duration from 0s", o.Settle)}
			}
			if len(folders) == 0 {
				state, err := stateDir(cmd)
				if err != nil {
					return err
				}
				folders = []string{filepath.Join(state, suite.JournalFolder)}
			}
			h, err := verdict.ReadHistory(folders)
			if err != nil {
				return err
			}
			account := h.Ledger.Judge(o)
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				err = enc.Encode(struct {
					verdict.History
					verdict.Account
				}{h, account})
			} else {
				err = writeAccount(cmd.OutOrStdout(), h, account)
			}
			if err == nil && len(account.Broken) > 0 {
				err = errSilent
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Groups, "group", nil, "base consumer groups to judge (default: all that had a message of the topic)")
	flags.DurationVar(&o.Settle, "settle", 0, "messages sent less than this before the last event are unjudged where missing: they may be under way")
	flags.StringVar(&output, "output", "text", "text or json")
	return cmd
}

// mostNamed is how many broken promises are told one by one.
const mostNamed = 20

func writeAccount(out io.Writer, h verdict.History, a verdict.Account) error {
	line := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(out, "%-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	const stamp = "2006-01-02 15:04:05"
	span := ""
	if !a.First.IsZero() {
		span = fmt.Sprintf(", %s to %s (%s)", a.First.Local().Format(stamp), a.Last.Local().Format(stamp), a.Last.Sub(a.First).Round(time.Millisecond))
	}
	line("journals", "%d files of %d processes, %d of them killed or running; %d events%s", h.Files, h.Processes, h.Unclosed, h.Events, span)
	for _, gap := range a.GapsKnown {
		line("gap", "%s", gap)
	}
	line("messages", "%d sent; %d more that no producer reported; %d ids stored twice", a.Sent, a.Unsent, a.Twice)
	for _, group := range slices.Sorted(maps.Keys(a.Handled)) {
		line("handled", "%d by %s", a.Handled[group], group)
	}
	if a.Failed > 0 {
		line("failed", "%d deliveries, each tried again or among the dead letters", a.Failed)
	}
	if a.Repeats > 0 {
		line("repeated", "%d deliveries after a crash, within its spans", a.Repeats)
	}
	for _, why := range slices.Sorted(maps.Keys(a.Unjudged)) {
		line("unjudged", "%d: %s", a.Unjudged[why], why)
	}
	for i, f := range a.Broken {
		if i == mostNamed {
			line("", "… and %d more", len(a.Broken)-mostNamed)
			break
		}
		line("", "%s", f)
	}
	says := "nothing lost, nothing twice, nothing in the wrong lane"
	switch {
	case len(a.Broken) > 0:
		says = fmt.Sprintf("broken promises: %d", len(a.Broken))
	case len(a.Unjudged) > 0:
		says += ", of what could be judged"
	}
	line("verdict", "%s", says)
	return nil
}
