// Package target finds the Nacos and the RocketMQ that a command is about: by its flags, the environment or the running
// suite.
package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/internal/fleet"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/lanestate"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// Addresses that are tried where nothing else is said.
const (
	DefaultNacos   = "127.0.0.1:8848"
	DefaultNamesrv = "127.0.0.1:9876"
)

// ErrReported is returned where everything has been said already: the process shall end with 1 and say nothing.
var ErrReported = errors.New("reported")

// Nacos is what commands ask of the config centre and registry.
type Nacos interface {
	rules.Store
	fleet.Lister
}

// Deps is what commands need of the program they are part of.
type Deps struct {
	// Nacos connects to the Nacos at addr; the returned function disconnects. The error is one line that names addr.
	Nacos func(ctx context.Context, addr string) (Nacos, func() error, error)
	// Brokers makes a reader of the brokers of a name server.
	Brokers func(namesrv string) (*lanestate.Reader, error)
	// Suite returns the addresses of the running suite's servers, "" where no suite runs.
	Suite func(cmd *cobra.Command) (nacos, namesrv string)
	// Usage marks an error as one about the command line, which ends the process with 2.
	Usage func(err error) error
	// Getenv reads the environment.
	Getenv func(name string) string
}

// New returns what a program needs outside of tests.
func New(suite func(cmd *cobra.Command) (nacos, namesrv string), usage func(err error) error) Deps {
	return Deps{
		Nacos: func(ctx context.Context, addr string) (Nacos, func() error, error) {
			config, err := graylib.ConfigFrom(nil) // namespace and user
			if err != nil {
				return nil, nil, err
			}
			config.NacosAddr = addr
			client, err := graynacos.Dial(ctx, config, slog.New(slog.DiscardHandler))
			if err != nil {
				return nil, nil, err
			}
			return client, client.Close, nil
		},
		Brokers: func(namesrv string) (*lanestate.Reader, error) {
			config, err := graylib.ConfigFrom(nil) // keys
			if err != nil {
				return nil, err
			}
			return lanestate.Open(remoting.Config{
				NameServers: strings.FieldsFunc(namesrv, func(c rune) bool { return c == ';' || c == ',' }),
				AccessKey:   config.RocketMQAccessKey, SecretKey: config.RocketMQSecretKey,
			})
		},
		Suite: suite, Usage: usage, Getenv: os.Getenv,
	}
}

// Flags gives a command, and those below it, the flags that name the servers.
func Flags(cmd *cobra.Command) {
	cmd.PersistentFlags().String("nacos", "", "Nacos host:port (default $"+graylib.EnvNacosAddr+", else the running suite's, else "+DefaultNacos+")")
	cmd.PersistentFlags().String("namesrv", "", "RocketMQ name server host:port[;host:port] (default $"+graylib.EnvNamesrvAddr+", else the running suite's, else "+DefaultNamesrv+")")
}

// Addresses returns the addresses of the Nacos and the name server.
func (d Deps) Addresses(cmd *cobra.Command) (nacos, namesrv string, err error) {
	if said, err := cmd.Flags().GetString("nacos"); err == nil && said != "" {
		if err := graynacos.CheckAddr(said); err != nil {
			return "", "", d.Usage(fmt.Errorf("--nacos is %w", err))
		}
	}
	suiteNacos, suiteNamesrv := d.Suite(cmd)
	if nacos, err = d.pick(cmd, "nacos", graylib.EnvNacosAddr, suiteNacos, DefaultNacos); err != nil {
		return "", "", err
	}
	namesrv, err = d.pick(cmd, "namesrv", graylib.EnvNamesrvAddr, suiteNamesrv, DefaultNamesrv)
	return nacos, namesrv, err
}

func (d Deps) pick(cmd *cobra.Command, flag, env, suite, otherwise string) (string, error) {
	said, err := cmd.Flags().GetString(flag)
	if err != nil {
		return "", err
	}
	for _, addr := range []string{said, d.Getenv(env), suite} {
		if addr != "" {
			return addr, nil
		}
	}
	return otherwise, nil
}

// Args makes a command's complaint about its arguments a usage error with the command's form.
func (d Deps) Args(c *cobra.Command) *cobra.Command {
	args := c.Args
	c.Args = func(cmd *cobra.Command, a []string) error {
		if err := args(cmd, a); err != nil {
			return d.Usage(fmt.Errorf("%w; usage: %s", err, cmd.UseLine()))
		}
		return nil
	}
	c.SilenceUsage, c.SilenceErrors = true, true
	return c
}
