package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/draw"
	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

func TestMain(m *testing.M) {
	proc.GuardMain()
	os.Exit(m.Run())
}

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// TestBadCommandLines: one clear line on stderr that names the flag and what it may be, and nothing else happens.
func TestBadCommandLines(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"up", ExitUsage, "--infra=local"},
		{"up --infra=docker", ExitUsage, `--infra="docker": want local`},
		{"up --infra=local --gray a,x", ExitUsage, `"x" is none of the services of a lane: want some of a,b,c, or none`},
		{"up --infra=local --gray a,a", ExitUsage, `"a" is named twice`},
		{"up --infra=local --gray=", ExitUsage, "want some of a,b,c, or none"},
		{"up --infra=local --gray gateway", ExitUsage, "want some of a,b,c, or none"},
		{"up --infra=local --tag Gray!", ExitUsage, `--tag: malformed tag "Gray!"`},
		{"up --infra=local --tag baseline", ExitUsage, `malformed tag "baseline": reserved word`},
		{"up --infra=local --tag=", ExitUsage, "want a tag"},
		{"up --infra=local --once --detach", ExitUsage, "exclude each other"},
		{"up --infra=local --port 65534", ExitUsage, "want 1 to 65535"},
		{"up --infra=local --port 12080", ExitUsage, "given to both"},
		{"up --infra=local --bin " + t.TempDir(), ExitFailed, "service gateway"},
		{"up --infra=local more", ExitUsage, `unknown command "more" for "graychain up"; usage: graychain up --infra=local [flags]`},
		{"up --nonsense", ExitUsage, "unknown flag: --nonsense; graychain up --help names the flags"},
		{"nonsense", ExitUsage, `unknown command "nonsense" for "graychain"; graychain --help names the commands`},
		{"lanes retire gray --wait soon", ExitUsage, `--wait is "soon"; want a duration such as 30s`},
		{"rules rollback --to last", ExitUsage, `--to is "last"; want a whole number`},
		{"up --once=maybe", ExitUsage, `--once is "maybe"; want true or false`},
		{"sign", ExitUsage, `accepts 1 arg(s), received 0; usage: graychain sign TAG [flags]`},
		{"lanes retire", ExitUsage, `accepts 1 arg(s), received 0; usage: graychain lanes retire TAG [flags]`},
		{"send", ExitFailed, "no suite runs"},
		{"send --path dubbo", ExitUsage, `path "dubbo"`},
		{"send -q name", ExitUsage, `--query="name": want key=value`},
		{"send -H name", ExitUsage, "want 'name: value'"},
		{"send --count 0", ExitUsage, "--count=0: want 1 to 1000"},
		{"send --wait 2h", ExitUsage, "--wait=2h0m0s: want 0s to 1m"},
		{"send --qps 0", ExitUsage, "--qps=0"},
		{"send --qps 1e9", ExitUsage, "up to 2000"},
		{"send --qps NaN", ExitUsage, "--qps=NaN"},
		{"send --qps 5 --gray-share 101", ExitUsage, "want 0 to 100"},
		{"send --qps 5 --for 0s", ExitUsage, "--for=0s"},
		{"send --gray-share 5", ExitUsage, "--gray-share goes with --qps"},
		{"send --qps 5 --count 3", ExitUsage, "exclude each other"},
		{"status", ExitFailed, "no suite runs"},
		{"down", ExitFailed, "no suite runs"},
		{"down now", ExitUsage, "unknown command"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			code, out, errs := run(t, append(strings.Fields(tc.args), "--state", state)...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if !strings.Contains(errs, tc.want) || !strings.HasPrefix(errs, "graychain: ") || strings.Count(errs, "\n") != 1 {
				t.Errorf("stderr %q, want one line with %q", errs, tc.want)
			}
			if out != "" {
				t.Errorf("stdout %q, want none", out)
			}
			if _, err := os.Stat(filepath.Join(state, "suite.json")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a state file was left: %v", err)
			}
		})
	}
}

func TestUpWithoutJava(t *testing.T) {
	t.Setenv("JAVA_HOME", "")
	t.Setenv("PATH", t.TempDir())
	bin := t.TempDir()
	for _, s := range suite.Services {
		if err := os.WriteFile(filepath.Join(bin, s), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	state := t.TempDir()
	code, _, errs := run(t, "up", "--infra=local", "--bin", bin, "--state", state)
	if code != ExitFailed || !strings.Contains(errs, localinfra.ErrNoJava.Error()) {
		t.Errorf("exit code %d, stderr %q, want %d and %q", code, errs, ExitFailed, localinfra.ErrNoJava)
	}
	if _, err := suite.Find(state); !errors.Is(err, suite.ErrNotRunning) {
		t.Errorf("afterwards: %v, want %v", err, suite.ErrNotRunning)
	}
}

func TestUpWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	code, _, errs := run(t, "up", "--infra=local", "--state", t.TempDir())
	// Both are missing; whichever is found out first is said, in one line.
	if code != ExitFailed || !strings.Contains(errs, "PATH") || strings.Count(errs, "graychain:") != 1 {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"up", "--help"}, {"rules", "--help"}} {
		code, out, errs := run(t, args...)
		if code != ExitOK || errs != "" || !strings.Contains(out, "Usage:") {
			t.Errorf("%v: exit code %d, stderr %q, stdout %q", args, code, errs, out)
		}
	}
	if _, out, _ := run(t, "up", "--help"); strings.Contains(out, "--detached") {
		t.Error("help shows the hidden flag --detached")
	}
}

func TestVersion(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"},
	}}
	if got, want := version(info, true), "graychain (devel), commit 0123456789ab with changes, go1.26.0"; got != want {
		t.Errorf("version %q, want %q", got, want)
	}
	if code, out, _ := run(t, "version"); code != ExitOK || !strings.HasPrefix(out, "graychain") {
		t.Errorf("exit code %d, %q", code, out)
	}
}

func TestPlan(t *testing.T) {
	f := upFlags{infra: "local", gray: "c, a", tag: "blue", port: 34000, brokerPort: 34750}
	p, err := f.plan("/state")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.lane.Services, ","); got != "a,c" || p.lane.Tag != "blue" {
		t.Errorf("lane %s of %s", p.lane.Tag, got)
	}
	if o := p.options; o.Ports.C != 34003 || o.Ports.BRPC != 12080 || !o.FixedPorts {
		t.Errorf("ports %+v, fixed %v", o.Ports, o.FixedPorts)
	}
	infra := p.options.Infra.(suite.LocalInfra).Options
	if !infra.Broker.Fixed || infra.Broker.Number != 34750 || infra.Nacos.Fixed {
		t.Errorf("servers' ports %+v", infra)
	}
	f = upFlags{infra: "local", gray: "none", tag: "gray"}
	if p, err = f.plan("/state"); err != nil || len(p.lane.Services) != 0 || p.options.FixedPorts {
		t.Errorf("none: %+v, %v", p, err)
	}
	if got := p.describe(); !strings.Contains(got, "no instance in lane gray") {
		t.Errorf("describe %q", got)
	}
}

func TestStatusTable(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	err := writeStatus(&out, suite.Info{
		PID: 7, Started: at, Ready: true, Gateway: "http://127.0.0.1:20000", Observer: "http://127.0.0.1:20099", State: "/s",
		Servers: []suite.Endpoint{
			{Name: "nacos", Addr: "127.0.0.1:8848", What: "HTTP", PID: 8, Log: "/s/logs/nacos.log"},
			{Name: "nacos", Addr: "127.0.0.1:7848", What: "Raft", Exposed: true},
		},
		Instances: []suite.InstanceInfo{
			{Name: "b", Service: "b", HTTP: "127.0.0.1:20002", RPC: "127.0.0.1:12080", PID: 9, Live: true, Log: "/s/logs/b.log"},
			{Name: "c-gray", Service: "c", Tag: "gray", HTTP: "127.0.0.1:20103", Log: "/s/logs/c-gray.log"},
		},
	}, at.Add(90*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"(1m30s), pid 7", "nacos    -         127.0.0.1:8848   -                8    up", "b        baseline  127.0.0.1:20002  127.0.0.1:12080  9    up",
		"c-gray   gray      127.0.0.1:20103  -                -    down", "further ports: nacos 7848*; * on every interface",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestProgressOffATerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "title")
	p.step(suite.Progress{Part: "nacos", Text: "starting"})
	p.step(suite.Progress{Part: "nacos", Text: "starting"}) // says nothing new
	p.step(suite.Progress{Part: "nacos", Text: "ready", Done: true, Took: 1500 * time.Millisecond})
	p.close()
	p.close()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || lines[0] != "title" || !strings.Contains(lines[2], "✔ nacos") || !strings.Contains(lines[2], "1.5 s") {
		t.Errorf("lines %q", lines)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("escape sequences off a terminal")
	}
}

func TestOneLine(t *testing.T) {
	var out bytes.Buffer
	judged := suite.Judged{Tag: "gray", Verdict: verdict.Verdict{Closed: true}, Loop: observer.Loop{Messages: []observer.Message{{
		Finished: []graylib.Event{{Service: "a", Tag: "gray", Topic: "TEST_MQ", Result: graylib.ResultSuccess}},
	}}}}
	if err := oneLine(&out, &draw.Painter{}, 3, suite.Answer{Text: "Agray[x]"}, judged); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "   3  closed  gray  Agray[x]; consumed: TEST_MQ by Agray\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestInterrupted: an end that was asked for is said as such; a failure that comes with it is not hidden.
func TestInterrupted(t *testing.T) {
	var u up
	ctx, cancel := context.WithCancelCause(t.Context())
	own := errors.New("own failure")
	if got := u.interrupted(ctx, context.Canceled); !errors.Is(got, context.Canceled) {
		t.Errorf("not asked to end: %v", got)
	}
	cancel(errParentGone)
	if got := u.interrupted(ctx, context.Canceled); !errors.Is(got, errParentGone) {
		t.Errorf("starter gone: %v", got)
	}
	if got := u.interrupted(ctx, own); !errors.Is(got, own) {
		t.Errorf("own failure: %v", got)
	}
}
