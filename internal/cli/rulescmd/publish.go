package rulescmd

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

func newGet(deps Deps) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "get",
		Short: "Write the published rules document, as it stands, comments included",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			content, _, err := document(cmd, deps, nil)
			if err != nil {
				return err
			}
			if output == "" || output == "-" {
				_, err = cmd.OutOrStdout().Write(content)
				return err
			}
			return os.WriteFile(output, content, 0o644)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write (default stdout)")
	return cmd
}

func newApply(deps Deps) *cobra.Command {
	var mayLose bool
	cmd := &cobra.Command{
		Use:   "apply FILE|-",
		Short: "Publish a rules document as the next revision",
		Long: `Checks a file and publishes it as the next revision, by compare-and-set: it sets the revision, and the time "listed" of lanes
that are new, and keeps comments and layout. A file with a revision is refused when another one has been published since; a
file without one replaces whatever is published. A file that lacks a published lane is refused: ` + "`graychain lanes retire`" + ` and
` + "`graychain lanes forget`" + ` end a lane. Where nothing is published, or a text that can't be read, Nacos's history tells which lanes there are.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			name := inputName(args[0])
			// What can be refused without Nacos is refused without it.
			if _, err := rules.Parse(content); err != nil {
				return report(cmd, name, err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			store, addr, done, err := deps.open(cmd, ctx)
			if err != nil {
				return err
			}
			defer done()
			var opts []rules.Option
			if mayLose {
				opts = append(opts, rules.MayLoseLanes())
			}
			result, err := rules.Apply(ctx, store, content, opts...)
			if err != nil {
				return report(cmd, name, err)
			}
			return writeResult(cmd, addr, result)
		},
	}
	cmd.Flags().BoolVar(&mayLose, "may-lose-lanes", false, "publish though neither what is published nor Nacos's history tells which lanes the services have; messages that wait for a lane that the file lacks are lost")
	return cmd
}

// writeResult says what publishing came to.
func writeResult(cmd *cobra.Command, addr string, r rules.Result) error {
	for _, n := range r.Notes {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "note: "+n)
	}
	if !r.Changed {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "unchanged: revision %d at nacos %s says the same\n", r.Revision, addr)
		return err
	}
	before := ""
	if r.Previous > 0 {
		before = fmt.Sprintf(" (before: %d)", r.Previous)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "published revision %d%s at nacos %s: %s\n", r.Revision, before, addr, summary(r.Document))
	return err
}
