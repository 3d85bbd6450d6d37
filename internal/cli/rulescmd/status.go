package rulescmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/fleet"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// errNoRegistry is returned where the config centre is no registry too.
var errNoRegistry = errors.New("it lists no instances")

const statusAgain = 250 * time.Millisecond // between two rounds while waiting

// member is one live instance and what it says of the rules.
type member struct {
	Service  string              `json:"service"`
	Tag      graylib.Tag         `json:"tag"`
	Instance string              `json:"instance"`
	Addr     string              `json:"addr"` // where it was asked; empty = it has no HTTP endpoint
	Rules    graylib.RulesStatus `json:"rules"`
	Problem  string              `json:"problem,omitempty"` // why it is not on the published revision; empty = it is
}

// fleetStatus is what the command answers.
type fleetStatus struct {
	Published int64    `json:"published"`         // revision in Nacos; 0 = none
	Problem   string   `json:"problem,omitempty"` // what is wrong with what is published
	Instances []member `json:"instances"`
}

func newStatus(deps Deps) *cobra.Command {
	var (
		wait   time.Duration
		output string
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell the revision that each live instance is on, and what it refused",
		Long: `Asks every live instance that graylib has registered in Nacos for its status (GET ` + graylib.StatusPath + ` on its HTTP port), and compares
with what is published. It ends with 1 unless all are on the published revision; with --wait it waits until they are.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case output != "text" && output != "json":
				return deps.Usage(fmt.Errorf("--output is %q; want text or json", output))
			case wait < 0:
				return deps.Usage(fmt.Errorf("--wait is %v; want a duration such as 10s", wait))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout+wait)
			defer cancel()
			store, addr, done, err := deps.open(cmd, ctx)
			if err != nil {
				return err
			}
			defer done()
			instances, ok := store.(fleet.Lister)
			if !ok {
				return fmt.Errorf("nacos %s: %w", addr, errNoRegistry)
			}
			var st fleetStatus
			for deadline := time.Now().Add(wait); ; {
				if st, err = ask(ctx, store, instances); err != nil {
					return err
				}
				if st.settled() || time.Now().After(deadline) {
					break
				}
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(statusAgain):
				}
			}
			if output == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				enc.SetEscapeHTML(false)
				err = enc.Encode(st)
			} else {
				err = st.write(cmd.OutOrStdout(), addr)
			}
			if err == nil && !st.settled() {
				err = ErrReported
			}
			return err
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait until all are on the published revision")
	cmd.Flags().StringVar(&output, "output", "text", "text or json")
	return cmd
}

// settled tells whether all instances apply what is published.
func (s fleetStatus) settled() bool {
	return s.Problem == "" && !slices.ContainsFunc(s.Instances, func(m member) bool { return m.Problem != "" })
}

// ask reads what is published, and asks all live instances.
func ask(ctx context.Context, store rules.Store, instances fleet.Lister) (fleetStatus, error) {
	var st fleetStatus
	content, _, err := store.Get(ctx)
	if err != nil {
		return st, err
	}
	published := rules.Version{Content: content, At: time.Now()}
	published.Judge()
	if st.Published = published.Revision; len(content) > 0 { // without a document, instances tell what they go on with
		st.Problem = published.Problem
	}
	list, err := fleet.Ask(ctx, instances)
	if err != nil {
		return st, err
	}
	for _, in := range list {
		m := member{Service: in.Service, Tag: in.Tag, Instance: in.ID, Addr: in.Addr}
		m.judge(in, st)
		st.Instances = append(st.Instances, m)
	}
	return st, nil
}

// judge says whether an instance is on what is published.
func (m *member) judge(in fleet.Instance, st fleetStatus) {
	if in.Status == nil {
		m.Problem = "unknown: " + in.Problem
		return
	}
	m.Rules = in.Status.Rules
	switch {
	case m.Rules.Refusal != "":
		m.Problem = "refused: " + m.Rules.Refusal
	case m.Rules.Revision != st.Published && st.Problem == "":
		m.Problem = fmt.Sprintf("on revision %d, published is %d", m.Rules.Revision, st.Published)
	}
}

func (s fleetStatus) write(out io.Writer, addr string) error {
	published := "no rules document is published"
	switch {
	case s.Problem != "":
		published = "what is published is refused: " + s.Problem
	case s.Published > 0:
		published = "published is revision " + strconv.FormatInt(s.Published, 10)
	}
	on := 0
	for _, m := range s.Instances {
		if m.Problem == "" {
			on++
		}
	}
	if _, err := fmt.Fprintf(out, "%s at nacos %s; %d of %s there\n", published, addr, on, plural(len(s.Instances), "live instance is", "live instances are")); err != nil {
		return err
	}
	if len(s.Instances) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "SERVICE\tTAG\tADDR\tREVISION\tFROM\tREAD\tPROBLEM")
	for _, m := range s.Instances {
		_, port, _ := net.SplitHostPort(m.Addr)
		where, revision, from, read, problem := m.Addr, "-", "-", "-", "-"
		if port == "" {
			where = "-"
		}
		if m.Rules.Origin != "" {
			revision, from = strconv.FormatInt(m.Rules.Revision, 10), m.Rules.Origin
		}
		if !m.Rules.ReadAt.IsZero() {
			read = m.Rules.ReadAt.UTC().Format(time.RFC3339)
		}
		if m.Problem != "" {
			problem = m.Problem
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Service, m.Tag, where, revision, from, read, problem)
	}
	return w.Flush()
}
