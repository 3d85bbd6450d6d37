package cli

import (
	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/cli/doctorcmd"
	"github.com/graychain/graychain/internal/cli/lanescmd"
	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/suite"
)

// newLanes is the command `lanes`, on the Nacos and the brokers that its flags, the environment or the running suite name.
func newLanes() *cobra.Command { return lanescmd.New(targets()) }

// newDoctor is the command `doctor`, on the same servers.
func newDoctor() *cobra.Command { return doctorcmd.New(targets()) }

// targets are the servers of the running suite, where nothing else is said.
func targets() target.Deps {
	return target.New(func(cmd *cobra.Command) (nacos, namesrv string) {
		state, err := stateDir(cmd)
		if err != nil {
			return "", ""
		}
		info, err := suite.Find(state)
		if err != nil {
			return "", ""
		}
		return info.Nacos, info.Namesrv
	}, func(err error) error { return usageError{err} })
}
