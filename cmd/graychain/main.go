// Command graychain runs the reference deployment on this machine and shows what becomes of requests and messages.
package main

import (
	"os"

	"github.com/graychain/graychain/internal/cli"
	"github.com/graychain/graychain/internal/handoffbench"
	"github.com/graychain/graychain/internal/proc"
)

func main() {
	proc.GuardMain()          // takes over where this process is the guard of a suite's processes
	handoffbench.MemberMain() // takes over where this process is one of a bench's lanes or stand-ins
	os.Exit(cli.Main())
}
