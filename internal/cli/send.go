package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/draw"
	"github.com/graychain/graychain/internal/suite"
)

// sendFlags are the flags of `graychain send`.
type sendFlags struct {
	path   string
	names  []string // -q k=v; --name v is name=v
	name   string
	header []string
	count  int
	wait   time.Duration

	qps       float64
	grayShare float64
	grayQuery string
	forTime   time.Duration
}

// Bounds of `graychain send`: it is a demonstration on one machine, not a load generator.
const (
	maxCount = 1000
	maxQPS   = 2000
	maxFor   = time.Hour
)

func newSend() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:   "send [PATH]",
		Short: "Send requests to the running suite, and draw what became of them",
		Long: `send sends GET requests through the gateway of the running suite. Each one's loop is drawn with its verdict. With
--qps it sends steady traffic instead, and shows requests per second by service and tag.`,
		Example: `  graychain send
  graychain send --name xiaoming
  graychain send '/A/stream?name=xiaoming' --header 'cookie: user=1'
  graychain send --qps 50 --gray-share 20 --for 30s`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if cmd.Flags().Changed("path") {
					return usage("--path=%q and %q: give the path once", f.path, args[0])
				}
				f.path = args[0]
			}
			r, err := f.request()
			if err != nil {
				return err
			}
			if err := f.check(cmd); err != nil {
				return err
			}
			state, err := stateDir(cmd)
			if err != nil {
				return err
			}
			info, err := suite.Find(state)
			if err != nil {
				return err
			}
			client := suite.NewClient(info)
			defer client.Close()
			if f.qps > 0 {
				gray, err := f.gray(r)
				if err != nil {
					return err
				}
				return runTraffic(cmd.Context(), client, trafficPlan{plain: r, gray: gray, share: f.grayShare / 100, qps: f.qps, span: f.forTime},
					cmd.OutOrStdout())
			}
			return f.send(cmd, client, r)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.path, "path", "/A/dubbo", "path at the gateway, with or without a query")
	fs.StringVar(&f.name, "name", "", "the query parameter name, which the rule of up looks at: xiaoming")
	fs.StringArrayVarP(&f.names, "query", "q", nil, "a query parameter, key=value; may be repeated")
	fs.StringArrayVarP(&f.header, "header", "H", nil, "a header, 'name: value'; may be repeated")
	fs.IntVar(&f.count, "count", 1, fmt.Sprintf("how many requests, one after the other, 1 to %d", maxCount))
	fs.DurationVar(&f.wait, "wait", 10*time.Second, "how long to wait for a loop to close, at most 1m")
	fs.Float64Var(&f.qps, "qps", 0, fmt.Sprintf("steady traffic of so many requests per second, up to %d", maxQPS))
	fs.Float64Var(&f.grayShare, "gray-share", 20, "with --qps: percent of the requests that bear --gray-query")
	fs.StringVar(&f.grayQuery, "gray-query", "name=xiaoming", "with --qps: the query parameter of the gray requests")
	fs.DurationVar(&f.forTime, "for", 30*time.Second, "with --qps: for how long, up to 1h")
	return cmd
}

// request makes the request that the flags describe.
func (f *sendFlags) request() (suite.Request, error) {
	r, err := suite.ParseRequest(f.path)
	if err != nil {
		return r, usage("--path: %w", err)
	}
	for _, q := range f.names {
		k, v, ok := strings.Cut(q, "=")
		if !ok || k == "" {
			return r, usage("--query=%q: want key=value", q)
		}
		r.Query.Add(k, v)
	}
	if f.name != "" {
		r.Query.Set("name", f.name)
	}
	for _, h := range f.header {
		k, v, ok := strings.Cut(h, ":")
		if k = strings.TrimSpace(k); !ok || k == "" || strings.ContainsAny(h, "\r\n") {
			return r, usage("--header=%q: want 'name: value'", h)
		}
		r.Header[http.CanonicalHeaderKey(k)] = append(r.Header[http.CanonicalHeaderKey(k)], strings.TrimSpace(v))
	}
	return r, nil
}

func (f *sendFlags) gray(r suite.Request) (suite.Request, error) {
	k, v, ok := strings.Cut(f.grayQuery, "=")
	if !ok || k == "" {
		return r, usage("--gray-query=%q: want key=value", f.grayQuery)
	}
	gray := r
	gray.Query = make(map[string][]string)
	for key, values := range r.Query {
		gray.Query[key] = values
	}
	gray.Query.Set(k, v)
	return gray, nil
}

func (f *sendFlags) check(cmd *cobra.Command) error {
	switch {
	case f.count < 1 || f.count > maxCount:
		return usage("--count=%d: want 1 to %d", f.count, maxCount)
	case f.wait < 0 || f.wait > time.Minute:
		return usage("--wait=%s: want 0s to 1m", f.wait)
	case cmd.Flags().Changed("qps") && !(f.qps > 0 && f.qps <= maxQPS):
		return usage("--qps=%g: want more than 0, up to %d", f.qps, maxQPS)
	case !(f.grayShare >= 0 && f.grayShare <= 100):
		return usage("--gray-share=%g: want 0 to 100, in percent", f.grayShare)
	case f.forTime <= 0 || f.forTime > maxFor:
		return usage("--for=%s: want more than 0s, up to %s", f.forTime, maxFor)
	}
	for _, name := range []string{"gray-share", "gray-query", "for"} {
		if cmd.Flags().Changed(name) && f.qps == 0 {
			return usage("--%s goes with --qps", name)
		}
	}
	if f.qps > 0 && cmd.Flags().Changed("count") {
		return usage("--count and --qps exclude each other")
	}
	return nil
}

// send sends the requests one after the other. A single one is drawn; of several those that aren't closed.
func (f *sendFlags) send(cmd *cobra.Command, client *suite.Client, r suite.Request) error {
	out := cmd.OutOrStdout()
	paint := draw.NewPainter(out)
	open := 0
	for k := range f.count {
		answer, err := client.Send(cmd.Context(), r)
		if err != nil {
			return err
		}
		judged, err := client.Judge(cmd.Context(), r, answer.RequestID, f.wait)
		if err != nil {
			return err
		}
		if !judged.Verdict.Closed {
			open++
		}
		if f.count == 1 || !judged.Verdict.Closed {
			if err := drawLoop(out, paint, r, answer, judged); err != nil {
				return err
			}
			continue
		}
		if err := oneLine(out, paint, k+1, answer, judged); err != nil {
			return err
		}
	}
	if f.count > 1 {
		_, _ = fmt.Fprintf(out, "%d requests, %d closed, %d not\n", f.count, f.count-open, open)
	}
	if open > 0 {
		return errSilent // the drawings say why
	}
	return nil
}

// oneLine says in one line what became of a request whose loop is closed.
func oneLine(out io.Writer, paint *draw.Painter, n int, a suite.Answer, judged suite.Judged) error {
	tag := paint.Baseline("untagged")
	if judged.Tag != "" {
		tag = paint.Lane(string(judged.Tag))
	}
	by := []string{}
	for _, m := range judged.Loop.Messages {
		for _, e := range m.Handled() {
			by = append(by, fmt.Sprintf("%s by %s", e.Topic, strings.ToUpper(e.Service)+string(e.Tag)))
		}
	}
	consumed := ""
	if len(by) > 0 {
		consumed = "; consumed: " + strings.Join(by, ", ")
	}
	_, err := fmt.Fprintf(out, "%4d  %s  %s  %s%s\n", n, paint.Good("closed"), tag, a.Text, consumed)
	return err
}
