package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

func newStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the running suite: its processes, addresses and logs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := stateDir(cmd)
			if err != nil {
				return err
			}
			found, err := suite.Find(state)
			if err != nil {
				return err
			}
			client := suite.NewClient(found)
			defer client.Close()
			info, err := client.Info(cmd.Context())
			if err != nil {
				return err
			}
			return writeStatus(cmd.OutOrStdout(), info, time.Now())
		},
	}
}

func writeStatus(out io.Writer, info suite.Info, now time.Time) error {
	what := "running"
	if !info.Ready {
		what = "starting"
	}
	_, _ = fmt.Fprintf(out, "%s since %s (%s), pid %d\n", what, info.Started.Local().Format("2006-01-02 15:04:05"),
		now.Sub(info.Started).Round(time.Second), info.PID)
	_, _ = fmt.Fprintf(out, "  gateway   %s\n  observer  %s\n  state     %s\n\n", orDash(info.Gateway), info.Observer, info.State)
	return writeProcesses(out, info)
}

// writeProcesses lists servers and services with their ports.
func writeProcesses(out io.Writer, info suite.Info) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "  PROCESS\tLANE\tHTTP\tRPC\tPID\tSTATE\tLOG")
	more := map[string][]string{}
	exposed := false
	for _, e := range info.Servers {
		if e.PID == 0 {
			port := e.Addr[strings.LastIndex(e.Addr, ":")+1:]
			if e.Exposed {
				port, exposed = port+"*", true
			}
			more[e.Name] = append(more[e.Name], port)
			continue
		}
		_, _ = fmt.Fprintf(w, "  %s\t-\t%s\t-\t%d\tup\t%s\n", e.Name, e.Addr, e.PID, shortPath(e.Log))
	}
	for _, i := range info.Instances {
		lane, state := "baseline", "up"
		if i.Tag != graylib.Untagged {
			lane = string(i.Tag)
		}
		if !i.Live {
			state = "down"
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.Name, lane, i.HTTP, orDash(i.RPC), number(i.PID), state, shortPath(i.Log))
	}
	if err := w.Flush(); err != nil || len(more) == 0 {
		return err
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(more)) {
		list = append(list, name+" "+strings.Join(more[name], " "))
	}
	note := ""
	if exposed {
		note = "; * on every interface, as the server has no setting for it"
	}
	_, err := fmt.Fprintf(out, "  further ports: %s%s\n", strings.Join(list, ", "), note)
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// shortPath writes the user's home as ~.
func shortPath(path string) string {
	home, err := os.UserHomeDir()
	if err != nil || home == "/" || home == "" {
		return path
	}
	if rest, ok := strings.CutPrefix(path, home+string(os.PathSeparator)); ok {
		return "~/" + rest
	}
	return path
}
