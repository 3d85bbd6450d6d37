package cli

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/suite"
)

// How long a suite has to end by itself: its services drain for 25 s at most, its servers end in a few seconds.
const (
	downTimeout = 90 * time.Second
	killTimeout = 10 * time.Second
	downEvery   = 100 * time.Millisecond
)

func newDown() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the running suite and everything that it started",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := stateDir(cmd)
			if err != nil {
				return err
			}
			info, err := suite.Find(state)
			if err != nil {
				return err
			}
			p, err := os.FindProcess(info.PID)
			if err != nil {
				return err
			}
			began := time.Now()
			if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fmt.Errorf("pid %d can't be told to end: %w", info.PID, err)
			}
			how := "ended"
			if err := waitGone(cmd, state, downTimeout); err != nil {
				how = "killed, as it did not end in " + downTimeout.String()
				if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					return fmt.Errorf("pid %d can't be killed: %w", info.PID, err)
				}
				if err := waitGone(cmd, state, killTimeout); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: pid %d, after %.1f s; logs stay in %s/logs\n", how, info.PID, time.Since(began).Seconds(), state)
			return err
		},
	}
}

var errStillRuns = errors.New("the suite still runs")

// waitGone waits until no suite holds the state folder.
func waitGone(cmd *cobra.Command, state string, limit time.Duration) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(downEvery)
	defer tick.Stop()
	for {
		if _, err := suite.Find(state); errors.Is(err, suite.ErrNotRunning) {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("%w after %s (state folder %s)", errStillRuns, limit, state)
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		}
	}
}
