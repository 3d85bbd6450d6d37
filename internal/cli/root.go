// Package cli is the command graychain: what each of its commands takes, prints and returns.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/graychain/graychain/internal/cli/rulescmd"
	"github.com/graychain/graychain/internal/cli/target"
)

// Exit codes of the command.
const (
	ExitOK     = 0
	ExitFailed = 1 // it was tried and failed; the line on stderr says why
	ExitUsage  = 2 // the command line can't be understood
)

// StateEnv is the environment variable with the state folder, for all commands; --state wins over it.
const StateEnv = "GRAYCHAIN_STATE"

// errUsage is wrapped by errors about the command line.
var errUsage = errors.New("usage")

// usageError marks an error as one about the command line, without adding to its text.
type usageError struct{ error }

func (e usageError) Unwrap() []error { return []error{e.error, errUsage} }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errSilent is returned where everything has been said already.
var errSilent = errors.New("failed")

// Main runs the command with the process's arguments until it is done, or told to end by SIGINT, SIGTERM or SIGHUP, and
// returns its exit code.
func Main() int {
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	return Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// Run runs one command line and returns its exit code. Errors are one line each on stderr.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, errSilent), errors.Is(err, rulescmd.ErrReported), errors.Is(err, target.ErrReported):
		return ExitFailed
	}
	_, _ = fmt.Fprintf(stderr, "graychain: %s\n", strings.TrimSpace(err.Error()))
	if errors.Is(err, errUsage) {
		return ExitUsage
	}
	return ExitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "graychain",
		Short: "Full-link grayscale for Go services, message queue included",
		Long: `graychain runs a chain of four services with a baseline and gray lanes, on a real Nacos and a real RocketMQ, and shows
that a request picked by a rule stays in its lane on every hop, through the message that it causes and back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		// What goes wrong is said once, by Run.
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{flagError(cmd, err)} })
	root.PersistentFlags().String("state", "", "folder of the running suite: logs, data, state (default $"+StateEnv+", else graychain/state in the user's cache folder)")
	root.AddCommand(newUp(), newDown(), newStatus(), newSend(), newVerdict(), newRules(), newLanes(), newDoctor(), newSign(), newBench(), newVersion())
	usageErrors(root)
	return root
}

// flagError says what a flag may be, or where the flags are told.
func flagError(cmd *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return fmt.Errorf("%w; %s --help names the flags", err, cmd.CommandPath())
	}
	want := map[string]string{"duration": "a duration such as 30s", "int": "a whole number", "int64": "a whole number", "bool": "true or false"}[bad.GetFlag().Value.Type()]
	if want == "" {
		return err
	}
	return fmt.Errorf("--%s is %q; want %s", bad.GetFlag().Name, bad.GetValue(), want)
}

// usageErrors marks what is wrong about the arguments of a command, and of those below it, as errors about the command line, and
// says the command's form.
func usageErrors(c *cobra.Command) {
	if args := c.Args; args != nil {
		c.Args = func(cmd *cobra.Command, a []string) error {
			err := args(cmd, a)
			switch form := "; usage: " + cmd.UseLine(); {
			case err == nil:
				return nil
			case strings.Contains(err.Error(), form):
				return usageError{err}
			case cmd.HasSubCommands():
				return usageError{fmt.Errorf("%w; %s --help names the commands", err, cmd.CommandPath())}
			default:
				return usageError{fmt.Errorf("%w%s", err, form)}
			}
		}
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// program returns how this program is called: by its name, or by `go run` where that made it.
func program() string {
	self, err := os.Executable()
	if err == nil && strings.Contains(self, string(os.PathSeparator)+"go-build") {
		return "go run ./cmd/graychain"
	}
	return "graychain"
}

// stateDir returns the state folder that the command line, the environment or the user's account says.
func stateDir(cmd *cobra.Command) (string, error) {
	dir, err := cmd.Flags().GetString("state")
	if err != nil {
		return "", err
	}
	if dir == "" {
		dir = os.Getenv(StateEnv)
	}
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("this user has no cache folder (%w): name a folder with --state or $%s", err, StateEnv)
		}
		dir = filepath.Join(cache, "graychain", "state")
	}
	return filepath.Abs(dir)
}
