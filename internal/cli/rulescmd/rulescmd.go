// Package rulescmd is `graychain rules`: to check, explain, read, publish, edit and turn back the rules document, and to see who applies it.
package rulescmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// DefaultNacos is the address that is tried where nothing else is said.
const DefaultNacos = "127.0.0.1:8848"

// timeout bounds what a command asks of the config centre.
const timeout = 30 * time.Second

// ErrReported is returned where everything has been said on stderr already: the process shall end with 1 and say nothing.
var ErrReported = errors.New("reported")

// Deps is what the commands need of the program they are part of.
type Deps struct {
	// Open connects to the Nacos at addr; the returned function disconnects. The error is one line that names addr.
	Open func(ctx context.Context, addr string) (rules.Store, func() error, error)
	// SuiteNacos returns the address of the running suite's Nacos, "" where no suite runs. nil = there never is one.
	SuiteNacos func(cmd *cobra.Command) string
	// Usage marks an error as one about the command line, which ends the process with 2. nil = errors stay as they are.
	Usage func(err error) error
	// Getenv reads the environment; nil = os.Getenv.
	Getenv func(name string) string
}

// New returns the command `rules`. Its commands read stdin and write stdout and stderr by way of cobra. Problems of a
// document go to stderr, one a line, and end in [ErrReported].
func New(deps Deps) *cobra.Command {
	if deps.Getenv == nil {
		deps.Getenv = os.Getenv
	}
	if deps.Usage == nil {
		deps.Usage = func(err error) error { return err }
	}
	if deps.SuiteNacos == nil {
		deps.SuiteNacos = func(*cobra.Command) string { return "" }
	}
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Check, explain, read, publish, edit and turn back the rules document",
		Long: `The rules document says which requests belong to which lane, who consumes a lane's messages, and which messages are
marked by what they say. It is kept in Nacos, and every service takes a change over within a second.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return deps.Usage(fmt.Errorf("unknown command %q: want check, explain, get, apply, edit, history, rollback or status", args[0]))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().String("nacos", "", "Nacos host:port (default $"+graylib.EnvNacosAddr+", else the running suite's, else "+DefaultNacos+")")
	for _, c := range []*cobra.Command{newCheck(), newExplain(deps), newGet(deps), newApply(deps), newEdit(deps),
		newHistory(deps), newRollback(deps), newStatus(deps)} {
		args := c.Args
		c.Args = func(cmd *cobra.Command, a []string) error {
			if err := args(cmd, a); err != nil {
				return deps.Usage(fmt.Errorf("%w; usage: %s", err, cmd.UseLine()))
			}
			return nil
		}
		c.SilenceUsage, c.SilenceErrors = true, true
		cmd.AddCommand(c)
	}
	return cmd
}

// nacosAddr returns the address that the command line, the environment or the running suite says.
func (d Deps) nacosAddr(cmd *cobra.Command) (string, error) {
	flag, err := cmd.Flags().GetString("nacos")
	if err != nil {
		return "", err
	}
	if flag != "" {
		if err := graynacos.CheckAddr(flag); err != nil {
			return "", d.Usage(fmt.Errorf("--nacos is %w", err))
		}
	}
	for _, addr := range []string{flag, d.Getenv(graylib.EnvNacosAddr), d.SuiteNacos(cmd)} {
		if addr != "" {
			return addr, nil
		}
	}
	return DefaultNacos, nil
}

// open connects to the config centre; done must be called.
func (d Deps) open(cmd *cobra.Command, ctx context.Context) (store rules.Store, addr string, done func(), err error) { //nolint:revive // the command comes first in all of this package
	if addr, err = d.nacosAddr(cmd); err != nil {
		return nil, "", nil, err
	}
	store, disconnect, err := d.Open(ctx, addr)
	if err != nil {
		return nil, "", nil, err
	}
	return store, addr, func() { _ = disconnect() }, nil
}

// readInput reads a file, or stdin for "-". It reads no more than a document may hold, and a little for the check to see.
func readInput(cmd *cobra.Command, name string) ([]byte, error) {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	content, err := io.ReadAll(io.LimitReader(in, rules.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", inputName(name), err)
	}
	return content, nil
}

func inputName(name string) string {
	if name == "-" {
		return "stdin"
	}
	return name
}

// problems returns what is wrong with a document, one line each, as compilers write it: file:line: what. false where the
// error isn't about the document.
func problems(name string, err error) ([]string, bool) {
	about := errors.Is(err, rules.ErrInvalid)
	for _, cause := range []error{rules.ErrStale, rules.ErrRevision, rules.ErrNotListed, rules.ErrLane, rules.ErrLayout} {
		about = about || errors.Is(err, cause)
	}
	if !about {
		return nil, false
	}
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(err.Error()), "\n") {
		if rest, ok := strings.CutPrefix(l, "line "); ok {
			lines = append(lines, name+":"+rest)
		} else {
			lines = append(lines, name+": "+l)
		}
	}
	return lines, true
}

// report writes a document's problems to stderr, and returns [ErrReported]; other errors are returned as they are.
func report(cmd *cobra.Command, name string, err error) error {
	lines, about := problems(name, err)
	if !about {
		return err
	}
	for _, l := range lines {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), l)
	}
	return ErrReported
}

// plural returns "1 lane", "2 lanes".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// summary says what a document holds.
func summary(doc *rules.Document) string {
	entries := 0
	tags := make([]string, 0, len(doc.Lanes))
	for _, l := range doc.Lanes {
		entries += len(l.Entries)
		tag := string(l.Tag)
		if l.State == graylib.LaneRetired {
			tag += " (retired)"
		}
		tags = append(tags, tag)
	}
	lanes := plural(len(doc.Lanes), "lane", "lanes")
	if len(tags) > 0 {
		lanes += " (" + strings.Join(tags, ", ") + ")"
	}
	return fmt.Sprintf("%s, %s, %s, %s", lanes, plural(entries, "entry", "entries"),
		plural(len(doc.Messages), "consumer", "consumers"), plural(len(doc.Marks), "mark", "marks"))
}
