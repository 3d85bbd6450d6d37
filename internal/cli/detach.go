package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/suite"
)

// detach starts this command again in a session of its own, shows what it prints until it is up, and leaves it.
func detach(cmd *cobra.Command, state string) error {
	if info, err := suite.Find(state); err == nil {
		return fmt.Errorf("%w: pid %d, gateway %s, state folder %s; `graychain status` shows it, `graychain down` ends it",
			suite.ErrRuns, info.PID, orDash(info.Gateway), info.State)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	logs := filepath.Join(state, "logs")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	path := filepath.Join(logs, "up.log")
	log, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()

	var args []string
	for _, a := range os.Args[1:] {
		if a != "--detach" && a != "--detach=true" {
			args = append(args, a)
		}
	}
	child := exec.Command(self, append(args, "--detached", "--state", state)...)
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = child.Wait() // its log says how it ended
	}()

	shown := int64(0)
	show := func() {
		n, _ := io.Copy(cmd.OutOrStdout(), io.NewSectionReader(log, shown, 1<<30))
		shown += n
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			show()
			return errSilent // the child has said why
		case <-cmd.Context().Done():
			_ = child.Process.Signal(syscall.SIGTERM)
			<-ended
			show()
			return errors.New("interrupted before it was up; nothing is left running")
		case <-tick.C:
			show()
			info, err := suite.ReadInfo(state)
			if err != nil || !info.Ready || info.PID != child.Process.Pid {
				continue
			}
			show()
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nIt runs on as pid %d; `graychain status` shows it, `graychain down` ends it; its log is %s\n", info.PID, shortPath(path))
			if err == nil && !info.Closed {
				return errSilent // the drawings say why
			}
			return err
		}
	}
}
