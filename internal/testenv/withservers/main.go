// Withservers runs a command with one Nacos and one RocketMQ of its own, whose addresses the command finds in the
// environment (package testenv), and ends with its exit code:
//
//	go run ./internal/testenv/withservers make test
//
// Where the addresses are set already, or Java or Maven is missing, it runs the command without starting anything; tests
// then skip or fail as package testenv says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/internal/testenv"
)

// delays are the broker's levels of delay, which retries follow too: short, so that tests see a third delivery in seconds.
const delays = "1s 1s 1s 1s 1s 2s 2s 2s 2s 2s 3s 3s 3s 3s 3s 5s 5s 5s"

func main() {
	proc.GuardMain()
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: withservers COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "withservers:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(ctx context.Context, argv []string) (code int, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Minute
	cmd.Env = os.Environ()
	if os.Getenv(testenv.EnvNacos) == "" || os.Getenv(testenv.EnvNamesrv) == "" {
		if missing := localinfra.CheckTools(ctx); missing != nil {
			fmt.Fprintln(os.Stderr, "withservers: NO SERVERS, tests on them are skipped (with CI=true they fail):", missing)
		} else {
			servers, dir, err := start(ctx)
			if err != nil {
				return 1, err
			}
			defer func() {
				stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
				defer cancel()
				err = errors.Join(err, servers.Stop(stop), os.RemoveAll(dir))
			}()
			cmd.Env = append(cmd.Env, testenv.EnvNacos+"="+servers.NacosAddr(), testenv.EnvNamesrv+"="+servers.NamesrvAddr())
		}
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

func start(ctx context.Context) (*localinfra.Servers, string, error) {
	dir, err := os.MkdirTemp("", "graychain-servers-")
	if err != nil {
		return nil, "", err
	}
	began := time.Now()
	servers, err := localinfra.Start(ctx, localinfra.Options{
		State: dir, Discard: true,
		Nacos: localinfra.Port{Number: 18848}, Namesrv: localinfra.Port{Number: 19876}, Broker: localinfra.Port{Number: 20911},
		BrokerConfig: map[string]string{
			"messageDelayLevel": delays,
			// A half message is asked for after 1 to 4 s rather than after up to 36 s; 15 times, which must take longer than a
			// producer takes to be known to the broker (30 s). What was answered must be noted by then, else it is asked again, and
			// the message is stored twice.
			"transactionTimeOut": "1000", "transactionCheckInterval": "3000", "transactionOpBatchInterval": "100",
		},
	})
	if err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(dir))
	}
	fmt.Fprintf(os.Stderr, "withservers: nacos %s, name server %s, ready after %v\n", servers.NacosAddr(), servers.NamesrvAddr(), time.Since(began).Round(100*time.Millisecond))
	return servers, dir, nil
}
