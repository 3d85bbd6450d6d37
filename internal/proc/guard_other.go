//go:build !linux

package proc

import (
	"os"
	"os/exec"
	"syscall"
	"time"
)

func selfPath() (string, error) { return os.Executable() }

// childAttr puts a child into a process group of its own. There is no parent-death signal here.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// becomeReaper does nothing: orphans go to process 1 here.
func becomeReaper() {}

// awaitExit returns when the command has ended. It collects it, which is harmless: a later Wait fails at once and the
// command keeps its state.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }

// childrenOf finds none: only the guard's own children are ever below it here, and those are collected one by one.
func childrenOf(int) []int { return nil }

// sweep does nothing: the process groups have been killed before, and nothing tells what else descended from them.
func sweep(time.Duration) {}
