package rulescmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib/rules"
)

// template is what the editor shows where nothing is published.
const template = `# The rules document of graychain; docs/rules.md describes it. Publishing sets the revision and the times "listed".
lanes:
#  - tag: gray
#    entries:
#      - {name: xiaoming, service: a, path: /dubbo, when: [{from: query, key: name, op: "==", value: xiaoming}]}
messages:
#  - {consumer: a, baseline: ignore, ignore: [gray]}
`

// refusalMark begins the lines that tell in the file itself why it was refused; they are taken out again.
const refusalMark = "#! "

func newEdit(deps Deps) *cobra.Command {
	return &cobra.Command{
		Use:   "edit",
		Short: "Edit the published rules document in $VISUAL or $EDITOR",
		Long: `Opens the published document in $VISUAL, $EDITOR or vi, and publishes it when the editor ends. Where it is refused, the editor opens
again with the reasons on top; leaving without a change gives up, and names the file that holds the text.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Ctrl-C in the editor is the editor's: it doesn't end this command.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), timeout)
			defer cancel()
			store, addr, done, err := deps.open(cmd, ctx)
			if err != nil {
				return err
			}
			defer done()
			content, _, err := store.Get(ctx)
			if err != nil {
				return err
			}
			dir, err := os.MkdirTemp("", "graychain-rules-")
			if err != nil {
				return err
			}
			s := &editing{cmd: cmd, deps: deps, store: store, addr: addr, dir: dir, before: content}
			return s.run()
		},
	}
}

// editing is one session with the editor.
type editing struct {
	cmd    *cobra.Command
	deps   Deps
	store  rules.Store
	addr   string
	dir    string
	before []byte // what was published at first
}

func (s *editing) file() string { return filepath.Join(s.dir, "graychain.yaml") }

func (s *editing) run() error {
	text := s.before
	if len(text) == 0 {
		text = []byte(template)
	}
	last := text
	var refusal error // of the last try
	for {
		if err := os.WriteFile(s.file(), withRefusal(text, refusal), 0o600); err != nil {
			return err
		}
		if err := s.edit(); err != nil {
			return s.keep(err)
		}
		read, err := os.ReadFile(s.file())
		if err != nil {
			return s.keep(err)
		}
		text = withoutRefusal(read)
		if bytes.Equal(text, last) {
			if refusal != nil {
				return s.keep(report(s.cmd, s.file(), refusal))
			}
			s.clean()
			_, err := fmt.Fprintln(s.cmd.OutOrStdout(), "nothing changed")
			return err
		}
		last = text
		// The file holds the text alone: what is said of its lines is true of it, and it can be applied as it is.
		if err := os.WriteFile(s.file(), text, 0o600); err != nil {
			return err
		}
		result, err := s.apply(text)
		if err == nil {
			s.clean()
			return writeResult(s.cmd, s.addr, result)
		}
		if _, about := problems("", err); !about {
			return s.keep(err)
		}
		refusal = err
		if errors.Is(err, rules.ErrStale) {
			refusal = s.explainStale(err)
		}
	}
}

func (s *editing) apply(text []byte) (rules.Result, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.cmd.Context()), timeout)
	defer cancel()
	return rules.Apply(ctx, s.store, text)
}

// explainStale puts what was published meanwhile beside the file.
func (s *editing) explainStale(err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.cmd.Context()), timeout)
	defer cancel()
	published, _, readErr := s.store.Get(ctx)
	if readErr != nil {
		return err
	}
	beside := filepath.Join(s.dir, "published.yaml")
	if writeErr := os.WriteFile(beside, published, 0o600); writeErr != nil {
		return err
	}
	return fmt.Errorf("%w\nwhat is published is in %s: take over what changed, and set the revision to that file's", err, beside)
}

// edit runs the editor and waits for it.
func (s *editing) edit() error {
	editor := "vi"
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if e := s.deps.Getenv(name); e != "" {
			editor = e
		}
	}
	// The variable may hold arguments; the shell splits it, as it does for git and kubectl.
	c := exec.Command("sh", "-c", editor+` "$1"`, "sh", s.file())
	c.Stdin, c.Stdout, c.Stderr = s.cmd.InOrStdin(), s.cmd.OutOrStdout(), s.cmd.ErrOrStderr()
	if err := c.Run(); err != nil {
		return fmt.Errorf("editor %q: %w", editor, err)
	}
	return nil
}

// keep says where the text is, and returns the error.
func (s *editing) keep(err error) error {
	if read, readErr := os.ReadFile(s.file()); readErr == nil {
		if text := withoutRefusal(read); bytes.Equal(text, s.before) || string(text) == template {
			s.clean() // nothing to lose
			return err
		} else if os.WriteFile(s.file(), text, 0o600) != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(s.cmd.ErrOrStderr(), "not published; your text is in %s\n", s.file())
	return err
}

func (s *editing) clean() { _ = os.RemoveAll(s.dir) }

var lineNumber = regexp.MustCompile(`^line (\d+): `)

// withRefusal puts the reasons of a refusal on top of a text; their line numbers are those of the whole.
func withRefusal(text []byte, refusal error) []byte {
	if refusal == nil {
		return text
	}
	reasons := strings.Split(strings.TrimSpace(refusal.Error()), "\n")
	head := len(reasons) + 1
	var b bytes.Buffer
	b.WriteString(refusalMark + "refused, for these reasons. Mend it, or leave without a change to give up.\n")
	for _, r := range reasons {
		if m := lineNumber.FindStringSubmatch(r); m != nil {
			n, _ := strconv.Atoi(m[1])
			r = fmt.Sprintf("line %d: %s", n+head, r[len(m[0]):])
		}
		b.WriteString(refusalMark + r + "\n")
	}
	b.Write(text)
	return b.Bytes()
}

// withoutRefusal takes the reasons out again.
func withoutRefusal(text []byte) []byte {
	for bytes.HasPrefix(text, []byte(refusalMark)) {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return text
}
