package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/handoffbench"
	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/suite"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what graylib does on a real broker",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchHandoff())
	return cmd
}

func newBenchHandoff() *cobra.Command {
	c := handoffbench.Defaults()
	var output string
	cmd := &cobra.Command{
		Use:   "handoff",
		Short: "Time how a lane's messages change hands, and count what is lost or repeated",
		Long: `handoff runs a lane and its stand-ins as processes on a real broker, under a steady rate of messages. Each round the lane
comes, is stopped cleanly, comes again, and is killed (SIGKILL). Timed is from the kill, the order to stop, or the call of
the lane's Start to the moment at which the other side begins its first message; beside it, until it has begun one of each queue.

It fails where a message was lost, a planned handoff repeated one, or a crash repeated more than a queue's span.`,
		Example: `  graychain bench handoff
  graychain bench handoff --rounds 10 --namesrv 127.0.0.1:9876 --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usage("--output=%q: want text or json", output)
			}
			return benchHandoff(cmd, c, output)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&c.Namesrv, "namesrv", "", "name server of the broker to use; it must filter by property (default: servers of its own, started for the run)")
	fs.IntVar(&c.Rounds, "rounds", c.Rounds, "rounds, each with a clean stop, a kill and two returns")
	fs.IntVar(&c.Rate, "rate", c.Rate, "messages a second")
	fs.DurationVar(&c.Handler, "handler", c.Handler, "how long a message's handler works")
	fs.IntVar(&c.Queues, "queues", c.Queues, "queues of the topic at each broker")
	fs.IntVar(&c.StandIns, "stand-ins", c.StandIns, "processes of the baseline")
	fs.Uint64Var(&c.Seed, "seed", 0, "seed of the pauses between handoffs; 0 = drawn, and printed")
	fs.StringVar(&output, "output", "text", "text or json")
	return cmd
}

// benchHandoff measures and prints. Progress goes to stderr, so that the result can be piped.
func benchHandoff(cmd *cobra.Command, c handoffbench.Config, output string) (err error) {
	checked := c
	if checked.Namesrv == "" {
		checked.Namesrv = "of its own"
	}
	if err := checked.Check(); err != nil {
		return usageError{err}
	}
	shown := newProgress(cmd.ErrOrStderr(), "")
	defer shown.close()
	ctx := cmd.Context()
	if c.Namesrv == "" {
		servers, stop, err := benchServers(ctx, shown)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		c.Namesrv = servers
	}
	began := time.Now()
	const part = "handoffs"
	shown.step(suite.Progress{Part: part, Text: "the first round begins"})
	c.Progress = func(h handoffbench.Handoff) {
		if h.Kind == handoffbench.Crash {
			shown.step(suite.Progress{Part: part, Text: fmt.Sprintf("round %d of %d: kill -9 %.1f ms", h.Round, c.Rounds, float64(h.First.Microseconds())/1000)})
		}
	}
	r, err := handoffbench.Run(ctx, c)
	if err != nil {
		return err
	}
	shown.step(suite.Progress{Part: part, Text: fmt.Sprintf("%d rounds", c.Rounds), Done: true, Took: time.Since(began)})
	shown.close()
	out := cmd.OutOrStdout()
	if output == "json" {
		err = json.NewEncoder(out).Encode(r)
	} else {
		err = r.Write(out)
	}
	if err == nil && !r.OK() {
		return errSilent // the figures say why
	}
	return err
}

// benchServers starts servers for one run. The broker is a stock one but for its filter.
func benchServers(ctx context.Context, shown *progress) (namesrv string, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "graychain-bench-")
	if err != nil {
		return "", nil, err
	}
	servers, err := localinfra.Start(ctx, localinfra.Options{State: dir, Discard: true, Progress: func(e localinfra.Event) {
		if s, ok := suite.ServerProgress(e); ok {
			shown.step(s)
		}
	}})
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return servers.NamesrvAddr(), func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return errors.Join(servers.Stop(ctx), os.RemoveAll(dir))
	}, nil
}
