package rulescmd

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

const published = `# the rules
revision: 12
lanes:
- tag: gray
  listed: 2026-01-01T00:00:00Z
  entries:
  - {name: xiaoming, service: a, path: /dubbo, when: [{from: query, key: name, op: "==", value: xiaoming}]}
  - {name: some, service: a, when: [{from: header, key: X-User-Id, op: percent, value: 5}]}
messages:
- {consumer: a, baseline: ignore, ignore: [gray]}
`

// memStore is a config centre in memory.
type memStore struct {
	mu      sync.Mutex
	content string
	opened  []string // addresses
	closed  int
}

func sum(content string) string {
	if content == "" {
		return ""
	}
	h := md5.Sum([]byte(content))
	return hex.EncodeToString(h[:])
}

func (s *memStore) Get(context.Context) ([]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content == "" {
		return nil, "", nil
	}
	return []byte(s.content), sum(s.content), nil
}

func (s *memStore) Publish(_ context.Context, content []byte, casMD5 string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sum(s.content) != casMD5 {
		return fmt.Errorf("mem: %w", rules.ErrConflict)
	}
	s.content = string(content)
	return nil
}

var errUsage = errors.New("usage")

// run runs one command line.
func run(t *testing.T, store *memStore, env map[string]string, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := New(Deps{
		Open: func(_ context.Context, addr string) (rules.Store, func() error, error) {
			if addr == "away:1" {
				return nil, nil, fmt.Errorf("nacos %s can't be reached", addr)
			}
			store.opened = append(store.opened, addr)
			return store, func() error { store.closed++; return nil }, nil
		},
		SuiteNacos: func(*cobra.Command) string { return env["suite"] },
		Usage:      func(err error) error { return errors.Join(errUsage, err) },
		Getenv:     func(name string) string { return env[name] },
	})
	var out, errOut bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetArgs(append([]string{}, args...)) // never nil: that would be the test binary's own
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(t.Context())
	if len(store.opened) != store.closed {
		t.Errorf("opened %d times, closed %d times", len(store.opened), store.closed)
	}
	return out.String(), errOut.String(), err
}

func file(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCommands(t *testing.T) {
	good, bad := file(t, published), file(t, "lanes:\n- tag: Gray\n  colour: x\n")
	next := file(t, strings.Replace(published, "value: 5", "value: 10", 1))
	stale := file(t, "revision: 11\nlanes:\n- tag: gray\n")
	dropping := file(t, "# mine\nlanes: []\n")
	tests := []struct {
		name      string
		published string
		stdin     string
		args      []string
		stdout    string // patterns, as a whole
		stderr    string
		err       error  // wrapped
		errText   string // pattern
		after     string // published afterwards; "" = unchanged
	}{
		{name: "check", args: []string{"check", good}, stdout: `.*/rules\.yaml is good: 1 lane \(gray\), 2 entries, 1 consumer, 0 marks\n`},
		{name: "check stdin", stdin: "revision: 1\n", args: []string{"check", "-"}, stdout: `stdin is good: 0 lanes, 0 entries, 0 consumers, 0 marks\n`},
		{name: "check, bad", args: []string{"check", bad}, err: ErrReported, stderr: `.*/rules\.yaml:2: lanes\[0\]\.tag: malformed tag "Gray": .*\n.*/rules\.yaml:3: lanes\[0\]\.colour: unknown field; want one of .*\n`},
		{name: "check, no file", args: []string{"check", "/does/not/exist"}, errText: `open /does/not/exist: no such file or directory`},
		{name: "check, no argument", args: []string{"check"}, err: errUsage},
		{name: "unknown command", args: []string{"publish"}, err: errUsage},
		{name: "get", published: published, args: []string{"get"}, stdout: regexp.QuoteMeta(published)},
		{name: "get, nothing", args: []string{"get"}, errText: "no rules document is published at nacos 127\\.0\\.0\\.1:8848: publish one with `graychain rules apply FILE`"},
		{name: "get, away", args: []string{"get", "--nacos", "away:1"}, errText: `nacos away:1 can't be reached`},
		{name: "apply, lanes unknown", args: []string{"apply", good}, errText: "nobody can tell which lanes the services have: nothing is published, and .*: it keeps no history; .* `graychain rules apply --may-lose-lanes`"},
		{name: "apply, the very first", stdin: "lanes: []\n", args: []string{"apply", "-"}, stdout: `published revision 1 at nacos 127\.0\.0\.1:8848: 0 lanes, .*\n`, after: "revision: 1\nlanes: []\n"},
		{name: "apply, lanes may be lost", args: []string{"apply", good, "--may-lose-lanes"}, stdout: `published revision 13 at nacos 127\.0\.0\.1:8848: 1 lane \(gray\), .*\n`, after: strings.Replace(published, "12", "13", 1)},
		{name: "apply", published: published, args: []string{"apply", next}, stdout: `published revision 13 \(before: 12\) at nacos .*\n`, after: strings.Replace(strings.Replace(published, "value: 5", "value: 10", 1), "revision: 12", "revision: 13", 1)},
		{name: "apply stdin", published: published, stdin: "lanes: [{tag: gray}]\n", args: []string{"apply", "-"}, stdout: `published revision 13 .*\n`, after: "revision: 13\nlanes: [{tag: gray, listed: 2026-01-01T00:00:00Z}]\n"},
		{name: "apply, the same", published: published, args: []string{"apply", good}, stdout: `unchanged: revision 12 at nacos .* says the same\n`},
		{name: "apply, bad", published: published, args: []string{"apply", bad, "--nacos", "away:1"}, err: ErrReported, stderr: `.*:2: .*\n.*:3: .*\n`},
		{name: "apply, stale", published: published, args: []string{"apply", stale}, err: ErrReported, stderr: `.*/rules\.yaml:1: revision: 11 is stale, revision 12 is published: .*\n`},
		{name: "apply, dropping a lane", published: published, args: []string{"apply", dropping}, err: ErrReported, stderr: `.*/rules\.yaml:2: lanes: lane gray is missing, which was listed at .*\n`},
		{name: "apply, broken before", published: "revision: 12\nlanes: x\n", args: []string{"apply", good}, stderr: `note: what was published could not be read by anyone, and has been replaced: .*\n`, stdout: `published revision 13 .*\n`, after: strings.Replace(published, "12", "13", 1)},
		{name: "explain", published: published, args: []string{"explain", "--service", "a", "--path", "/dubbo", "--query", "name=xiaoming"}, stdout: `lane gray, by entry xiaoming \(service a, revision 12\)

lane gray: colours the request: entry xiaoming matches
  \+ xiaoming: matches: every condition holds
      \+ query name == "xiaoming": it is "xiaoming"
  - some: not every condition holds
      - header X-User-Id percent 5: it is absent
`},
		{name: "explain, baseline", published: published, args: []string{"explain", "--service", "a", "--path", "/x", "--header", "x-user-id=1001", "--nacos", "n:1"}, stdout: `baseline: no entry colours the request \(service a, revision 12\)

lane gray: no entry matches
  - xiaoming: is for path /dubbo, not "/x"
  - some: not every condition holds
      - header X-User-Id percent 5: it is "1001", at 88\.91 of 100
`},
		{name: "explain a file", args: []string{"explain", good, "--service", "b"}, stdout: `baseline: (?s:.*) is for service a\n`},
		{name: "explain as JSON", args: []string{"explain", good, "--service", "a", "--output", "json", "--cookie", "a=b", "--metainfo", "K=v", "--ip", "10.0.0.1", "--body", "{}"}, stdout: `(?s:\{\n  "service": "a",\n  "revision": 12,\n  "coloured": false,.*)`},
		{name: "explain, bad document", args: []string{"explain", bad, "--service", "a"}, err: ErrReported, stderr: `(?s:.*:2: .*:3: .*)`},
		{name: "explain, no service", args: []string{"explain", good}, err: errUsage},
		{name: "explain, bad flag", args: []string{"explain", good, "--service", "a", "--header", "x"}, err: errUsage, errText: `usage\n--header is "x"; want NAME=VALUE`},
		{name: "explain, bad address", args: []string{"explain", good, "--service", "a", "--ip", "1.2.3.999"}, err: errUsage, errText: `usage\n--ip is "1\.2\.3\.999"; want an IPv4 or IPv6 address, without a port`},
		{name: "explain, bad path", args: []string{"explain", good, "--service", "a", "--path", "nope"}, err: errUsage, errText: `usage\n--path is "nope"; want one that begins with /, .*`},
		{name: "explain, bad method", args: []string{"explain", good, "--service", "a", "--method", "G T"}, err: errUsage, errText: `usage\n--method is "G T"; want an HTTP method, .*`},
		{name: "explain, an endpoint", args: []string{"explain", good, "--service", "a.rpc"}, err: errUsage, errText: `usage\n--service is "a\.rpc"; want "a": .*`},
		{name: "explain, bad header", args: []string{"explain", good, "--service", "a", "--header", "X Y=1"}, err: errUsage, errText: `usage\n--header is "X Y=1"; want NAME=VALUE with a name of .*`},
		{name: "explain, bad cookie", args: []string{"explain", good, "--service", "a", "--cookie", "a;b=1"}, err: errUsage, errText: `usage\n--cookie is "a;b=1"; want NAME=VALUE with a name of .*`},
		{name: "explain, any query", args: []string{"explain", good, "--service", "b", "--query", "X Y=1"}, stdout: `baseline: (?s:.*)`},
		{name: "explain, no JSON", args: []string{"explain", good, "--service", "b", "--body", "{bad"}, stdout: `baseline: (?s:.*)`, stderr: `note: --body is "{bad"; it is no JSON, so entries find no fields in it\n`},
		{name: "explain, a long body", args: []string{"explain", good, "--service", "b", "--body", "@" + file(t, strings.Repeat(" ", graylib.MaxBody+1))}, stdout: `baseline: (?s:.*)`, stderr: `note: --body has 1048577 bytes: one of more than 1048576 counts as absent\n`},
		{name: "explain, no body's file", args: []string{"explain", good, "--service", "b", "--body", "@/does/not/exist"}, errText: `--body is "@/does/not/exist": open /does/not/exist: no such file or directory`},
		{name: "a bad --nacos", args: []string{"get", "--nacos", "foo"}, err: errUsage, errText: `usage\n--nacos is "foo": .*: want host:port.*`},
		{name: "history, no revision", args: []string{"history", "--revision", "0"}, err: errUsage, errText: `usage\n--revision is 0; want a revision from 1`},
		{name: "rollback, no revision", args: []string{"rollback", "--to", "0"}, err: errUsage, errText: `usage\n--to is 0; want a revision from 1; .*`},
		{name: "explain, bad output", args: []string{"explain", good, "--service", "a", "--output", "xml"}, err: errUsage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			store := &memStore{content: tt.published}
			stdout, stderr, err := run(t, store, nil, tt.stdin, tt.args...)
			if (err == nil) != (tt.err == nil && tt.errText == "") || (tt.err != nil && !errors.Is(err, tt.err)) {
				t.Errorf("error %v, want %v %s", err, tt.err, tt.errText)
			}
			if err != nil && tt.errText != "" {
				match(t, "error", tt.errText, err.Error())
			}
			match(t, "stdout", tt.stdout, stdout)
			match(t, "stderr", tt.stderr, stderr)
			if tt.after == "" {
				tt.after = tt.published
			}
			if diff := cmp.Diff(tt.after, store.content); diff != "" {
				t.Errorf("published (-want +got):\n%s", diff)
			}
		})
	}
}

func match(t *testing.T, what, pattern, got string) {
	t.Helper()
	if !regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(got) {
		t.Errorf("%s:\n%s\nwant the pattern\n%s", what, got, pattern)
	}
}

func TestGetToFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out.yaml")
	if stdout, _, err := run(t, &memStore{content: published}, nil, "", "get", "--output", name); err != nil || stdout != "" {
		t.Fatalf("get: %v, %q", err, stdout)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != published {
		t.Errorf("%v: %s", err, got)
	}
}

func TestNacosAddress(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		args []string
		want string
	}{
		{nil, nil, DefaultNacos},
		{map[string]string{"suite": "suite:1"}, nil, "suite:1"},
		{map[string]string{"suite": "suite:1", "GRAY_NACOS_ADDR": "env:1"}, nil, "env:1"},
		{map[string]string{"suite": "suite:1", "GRAY_NACOS_ADDR": "env:1"}, []string{"--nacos", "flag:1"}, "flag:1"},
	} {
		store := &memStore{content: published}
		if _, _, err := run(t, store, tt.env, "", append([]string{"get"}, tt.args...)...); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{tt.want}, store.opened); diff != "" {
			t.Errorf("addresses (-want +got):\n%s", diff)
		}
	}
}

// racingStore lets something happen at each read.
type racingStore struct {
	*memStore
	onGet func()
}

func (s *racingStore) Get(ctx context.Context) ([]byte, string, error) {
	s.onGet()
	return s.memStore.Get(ctx)
}

// runWith runs one command line on any store.
func runWith(t *testing.T, store rules.Store, env map[string]string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := New(Deps{
		Open: func(context.Context, string) (rules.Store, func() error, error) {
			return store, func() error { return nil }, nil
		},
		Getenv: func(name string) string { return env[name] },
	})
	var out, errOut bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(append([]string{}, args...)) // never nil: that would be the test binary's own
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}
