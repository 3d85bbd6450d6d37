package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// ErrInvalid is wrapped by every error about a setting; the text names the variable, the value and what it may be.
var ErrInvalid = errors.New("invalid configuration")

// ErrHelp is returned where -h asked for the list of settings, after it was printed.
var ErrHelp = flag.ErrHelp

// setting is one value that the environment or a flag may give: HTTP_PORT is also --http-port.
type setting struct {
	name     string // the environment variable
	fallback string // where neither says anything
	usage    string
	envOnly  bool // secrets: a flag would show them to every user of the machine
}

// flagName returns the flag for the variable: --http-port for HTTP_PORT.
func (s setting) flagName() string { return strings.ReplaceAll(strings.ToLower(s.name), "_", "-") }

// values are the settings after defaults, environment and flags, by the variable's name.
type values map[string]string

// get is an os.Getenv over the merged values.
func (v values) get(name string) string { return v[name] }

// merge reads the settings: the default, over it the environment, over it the flags. An empty value counts as unset.
// Help is printed to out where args ask for it, and ErrHelp returned.
func merge(program string, settings []setting, args []string, getenv func(string) string, out io.Writer) (values, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	v := make(values, len(settings))
	fs := flag.NewFlagSet(program, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // what is wrong is in the error, and said once
	fs.Usage = func() {}
	for _, s := range settings {
		v[s.name] = s.fallback
		if e := strings.TrimSpace(getenv(s.name)); e != "" {
			v[s.name] = e
		}
		if s.envOnly {
			continue
		}
		name := s.name
		fs.Func(s.flagName(), s.usage, func(value string) error {
			if value = strings.TrimSpace(value); value != "" {
				v[name] = value
			}
			return nil
		})
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil, errors.Join(ErrHelp, printHelp(program, settings, out))
	case err != nil:
		return nil, fmt.Errorf("%w: %w (-h lists the settings)", ErrInvalid, err)
	case fs.NArg() > 0:
		return nil, fmt.Errorf("%w: unexpected argument %q (-h lists the settings)", ErrInvalid, fs.Arg(0))
	}
	return v, nil
}

// printHelp lists the settings.
func printHelp(program string, settings []setting, out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "Usage: %s [flags]\n\nA flag wins over its environment variable, which wins over the default.\n\n", program)
	_, _ = fmt.Fprintln(w, "VARIABLE\tFLAG\tDEFAULT\tMEANING")
	for _, s := range settings {
		flagName := "--" + s.flagName()
		if s.envOnly {
			flagName = "-"
		}
		fallback := s.fallback
		if fallback == "" {
			fallback = "-"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.name, flagName, fallback, s.usage)
	}
	return w.Flush()
}

// invalid makes an error about one setting.
func invalid(name, value, want string) error {
	return fmt.Errorf("%w: %s=%q: %s", ErrInvalid, name, value, want)
}
