package rulescmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

// errNothingPublished is what commands return that need a document.
var errNothingPublished = errors.New("no rules document is published")

func newExplain(deps Deps) *cobra.Command {
	var (
		of     described
		output string
	)
	cmd := &cobra.Command{
		Use:   "explain --service NAME [FILE|-]",
		Short: "Tell which lane and entry a request would get, and why not the others",
		Long: `Evaluates the entries of a service on a request that is described by flags, with the document of the file, or with the one that
is published. A flag with NAME=VALUE can be given more than once.`,
		Example: `  graychain rules explain --service a --path /dubbo --query name=xiaoming`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return deps.Usage(fmt.Errorf("--output is %q; want text or json", output))
			}
			body := of.body
			if name, ok := strings.CutPrefix(body, "@"); ok {
				content, err := os.ReadFile(name)
				if err != nil {
					return fmt.Errorf("--body is %q: %w", of.body, err)
				}
				body = string(content)
			}
			req, notes, err := of.request(body)
			if err != nil {
				return deps.Usage(err)
			}
			for _, n := range notes {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "note: "+n)
			}

			content, name, err := document(cmd, deps, args)
			if err != nil {
				return err
			}
			doc, err := rules.Parse(content)
			if err != nil {
				return report(cmd, name, err)
			}
			compiled, err := rules.Compile(doc)
			if err != nil {
				return report(cmd, name, err)
			}
			explanation := rules.Explain(compiled, of.service, req)
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				return enc.Encode(explanation)
			}
			return writeExplanation(cmd.OutOrStdout(), explanation)
		},
	}
	of.flags(cmd.Flags())
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

// document reads the file that the arguments name, or what is published.
func document(cmd *cobra.Command, deps Deps, args []string) (content []byte, name string, err error) {
	if len(args) == 1 {
		content, err = readInput(cmd, args[0])
		return content, inputName(args[0]), err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	store, addr, done, err := deps.open(cmd, ctx)
	if err != nil {
		return nil, "", err
	}
	defer done()
	content, _, err = store.Get(ctx)
	if err == nil && len(content) == 0 {
		err = fmt.Errorf("%w at nacos %s: publish one with `graychain rules apply FILE`", errNothingPublished, addr)
	}
	return content, "nacos " + addr, err
}

func writeExplanation(w io.Writer, e rules.Explanation) error {
	var b strings.Builder
	if e.Coloured {
		fmt.Fprintf(&b, "lane %s, by entry %s (service %s, revision %d)\n", e.Tag, e.Entry, e.Service, e.Revision)
	} else {
		fmt.Fprintf(&b, "baseline: no entry colours the request (service %s, revision %d)\n", e.Service, e.Revision)
	}
	for _, l := range e.Lanes {
		fmt.Fprintf(&b, "\nlane %s: %s\n", l.Tag, l.Why)
		for _, entry := range l.Entries {
			fmt.Fprintf(&b, "  %s %s: %s\n", tick(entry.Matches), entry.Name, entry.Why)
			for _, c := range entry.Conditions {
				fmt.Fprintf(&b, "      %s %s: %s\n", tick(c.Holds), c.Condition, c.Why)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func tick(yes bool) string {
	if yes {
		return "+"
	}
	return "-"
}
