package rulescmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

// errNoHistory is returned where the config centre keeps none.
var errNoHistory = errors.New("the config centre has no history")

// historian opens the config centre and its history; done must be called.
func (d Deps) historian(cmd *cobra.Command, ctx context.Context) (store rules.Historian, addr string, done func(), err error) { //nolint:revive // as open
	opened, addr, done, err := d.open(cmd, ctx)
	if err != nil {
		return nil, "", nil, err
	}
	store, ok := opened.(rules.Historian)
	if !ok {
		done()
		return nil, "", nil, fmt.Errorf("nacos %s: %w", addr, errNoHistory)
	}
	return store, addr, done, nil
}

// shown is a version in JSON.
type shown struct {
	Revision int64     `json:"revision,omitempty"`
	At       time.Time `json:"at,omitzero"`
	By       string    `json:"by,omitempty"`
	ID       string    `json:"id,omitempty"` // Nacos's own
	Summary  string    `json:"summary,omitempty"`
	Problem  string    `json:"problem,omitempty"`
	Content  string    `json:"content"`
}

func newHistory(deps Deps) *cobra.Command {
	var (
		limit    int
		revision int64
		output   string
	)
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List what was published, the newest first",
		Long: `Lists the revisions that Nacos remembers (30 days by default), the newest first, with what services would have refused. With
--revision it writes that revision as it was published.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case output != "text" && output != "json":
				return deps.Usage(fmt.Errorf("--output is %q; want text or json", output))
			case limit < 1 || limit > 500:
				return deps.Usage(fmt.Errorf("--limit is %d; want 1 to 500", limit))
			case revision < 1 && cmd.Flags().Changed("revision"):
				return deps.Usage(fmt.Errorf("--revision is %d; want a revision from 1", revision))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			store, addr, done, err := deps.historian(cmd, ctx)
			if err != nil {
				return err
			}
			defer done()
			if revision > 0 {
				limit = 0 // it may be any
			}
			history, err := store.History(ctx, limit)
			if err != nil {
				return err
			}
			if revision > 0 {
				for _, v := range history {
					if v.Revision == revision {
						_, err := cmd.OutOrStdout().Write(v.Content)
						return err
					}
				}
				return fmt.Errorf("revision %d at nacos %s: %w: see `graychain rules history`", revision, addr, rules.ErrNoVersion)
			}
			if output == "json" {
				list := make([]shown, 0, len(history))
				for _, v := range history {
					list = append(list, shown{v.Revision, v.At, v.By, v.ID, contents(v), v.Problem, string(v.Content)})
				}
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				return enc.Encode(list)
			}
			if len(history) == 0 {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "nacos %s remembers no rules document\n", addr)
				return err
			}
			return writeHistory(cmd.OutOrStdout(), history)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most, 1 to 500")
	cmd.Flags().Int64Var(&revision, "revision", 0, "write the document of this revision, as it was published")
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

func writeHistory(out io.Writer, history []rules.Version) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "REVISION\tPUBLISHED\tBY\tWHAT")
	for _, v := range history {
		revision, at, by, what := "-", "before", "-", contents(v)
		if v.Revision > 0 {
			revision = strconv.FormatInt(v.Revision, 10)
		}
		if !v.At.IsZero() {
			at = v.At.Format(time.RFC3339)
		}
		if v.By != "" {
			by = v.By
		}
		if v.Problem != "" {
			what = "refused: " + v.Problem
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", revision, at, by, what)
	}
	return w.Flush()
}

// contents says what a good version holds.
func contents(v rules.Version) string {
	if v.Problem != "" {
		return ""
	}
	doc, err := rules.Parse(v.Content)
	if err != nil {
		return ""
	}
	return summary(doc)
}

func newRollback(deps Deps) *cobra.Command {
	var to int64
	cmd := &cobra.Command{
		Use:   "rollback --to REVISION",
		Short: "Publish an earlier revision again, as the next one",
		Long: `Publishes what an earlier revision said under a new revision, by compare-and-set. What decides who owns messages that were sent
since is not turned back: a lane that is listed now keeps its time "listed", one that was listed since stays in the document,
retired, and one that has been forgotten since is listed anew. What differs from the earlier revision is said.`,
		Example: `  graychain rules history
  graychain rules rollback --to 11`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to < 1 && cmd.Flags().Changed("to") {
				return deps.Usage(fmt.Errorf("--to is %d; want a revision from 1; `graychain rules history` lists them", to))
			}
			if to < 1 {
				return deps.Usage(errors.New("--to is missing: the revision to go back to, from 1; `graychain rules history` lists them"))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			store, addr, done, err := deps.historian(cmd, ctx)
			if err != nil {
				return err
			}
			defer done()
			result, err := rules.Rollback(ctx, store, to)
			if err != nil {
				return report(cmd, fmt.Sprintf("revision %d", to), err)
			}
			return writeResult(cmd, addr, result)
		},
	}
	cmd.Flags().Int64Var(&to, "to", 0, "the revision to go back to")
	return cmd
}
