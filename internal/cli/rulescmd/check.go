package rulescmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE|-",
		Short: "Check a rules document; every problem on a line of its own",
		Long: `Checks a rules document without asking anyone: all its problems are named at once, each with its line, field and value.
Whether it may follow what is published is only known when it is published.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			doc, err := rules.Parse(content)
			if err != nil {
				return report(cmd, inputName(args[0]), err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %s\n", inputName(args[0]), summary(doc))
			return err
		},
	}
}
