package rulescmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// errNoRegistry is returned where the config centre is no registry too.
var errNoRegistry = errors.New("it lists no instances")

// fleet lists the endpoints of all live instances.
type fleet interface {
	Instances(ctx context.Context) ([]graylib.Instance, error)
}

const (
	statusTimeout = 3 * time.Second        // of one instance's answer
	statusAgain   = 250 * time.Millisecond // between two rounds while waiting
	maxStatus     = 1 << 20                // bytes of one instance's answer
	atOnce        = 32                     // instances asked at the same time
)

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
			instances, ok := store.(fleet)
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
func ask(ctx context.Context, store rules.Store, instances fleet) (fleetStatus, error) {
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
	list, err := instances.Instances(ctx)
	if err != nil {
		return st, err
	}
	st.Instances = members(list)
	client := &http.Client{Timeout: statusTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	var all sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i := range st.Instances {
		m := &st.Instances[i]
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			m.ask(ctx, client, st)
		})
	}
	all.Wait()
	return st, ctx.Err()
}

// members joins the endpoints of each instance.
func members(list []graylib.Instance) []member {
	var out []member
	for _, in := range list {
		service, rpc := strings.CutSuffix(in.Service, graylib.RPCServiceSuffix)
		i := slices.IndexFunc(out, func(m member) bool { return m.Service == service && m.Instance == in.ID })
		if i < 0 {
			i = len(out)
			out = append(out, member{Service: service, Tag: in.Tag, Instance: in.ID})
		}
		if !rpc {
			out[i].Addr = in.Addr
		}
	}
	slices.SortFunc(out, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

// ask asks one instance.
func (m *member) ask(ctx context.Context, client *http.Client, st fleetStatus) {
	if m.Addr == "" {
		m.Problem = "unknown: it has no HTTP endpoint in the registry to ask"
		return
	}
	var status graylib.Status
	if err := getStatus(ctx, client, m.Addr, &status); err != nil {
		m.Problem = "unknown: " + strings.Join(strings.Fields(err.Error()), " ")
		return
	}
	m.Rules = status.Rules
	switch {
	case status.Instance != m.Instance && m.Instance != m.Addr:
		m.Problem = fmt.Sprintf("unknown: instance %q answers at its address", status.Instance)
	case m.Rules.Refusal != "":
		m.Problem = "refused: " + m.Rules.Refusal
	case m.Rules.Revision != st.Published && st.Problem == "":
		m.Problem = fmt.Sprintf("on revision %d, published is %d", m.Rules.Revision, st.Published)
	}
}

func getStatus(ctx context.Context, client *http.Client, addr string, out *graylib.Status) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+graylib.StatusPath, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", graylib.StatusPath, resp.StatusCode)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(out)
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
