package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

// TestVerdict runs the command on journals, good and wrong ones.
func TestVerdict(t *testing.T) {
	dir := t.TempDir()
	report := func(id graylib.Identity, events ...graylib.Event) {
		t.Helper()
		j, err := graylib.OpenJournal(dir, id, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		rt, err := graylib.New(id, graylib.WithReporter(j))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			rt.Report(e)
		}
		if err := rt.Close(); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (code int, out, stderr string) {
		var o, e bytes.Buffer
		code = Run(t.Context(), append([]string{"verdict"}, args...), &o, &e)
		return code, o.String(), e.String()
	}
	if code, _, stderr := run(dir); code != ExitFailed || !strings.Contains(stderr, "no journal") {
		t.Errorf("an empty folder: exit code %d, %q", code, stderr)
	}
	sent := func(id string) graylib.Event {
		return graylib.Event{Kind: graylib.EventProduced, ID: id, Topic: "TEST_MQ", Queue: "b/0", MessageTag: "gray"}
	}
	took := func(id string, kind graylib.EventKind, result string) graylib.Event {
		return graylib.Event{Kind: kind, Result: result, ID: id, Topic: "TEST_MQ", Queue: "b/0", Offset: 7, Group: "test-a_gray", MessageTag: "gray", Deliveries: 1}
	}
	report(graylib.Identity{Service: "c", Instance: "c-1"}, sent("M1"))
	report(graylib.Identity{Service: "a", Tag: "gray", Instance: "a-1"}, took("M1", graylib.EventBegun, ""), took("M1", graylib.EventFinished, graylib.ResultSuccess))
	code, out, stderr := run(dir)
	for _, want := range []string{"2 files of 2 processes, 0 of them killed", "1 sent", "1 by test-a\n", "nothing lost, nothing twice, nothing in the wrong lane\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s%s", want, out, stderr)
		}
	}
	if code != ExitOK {
		t.Errorf("exit code %d, want %d", code, ExitOK)
	}
	report(graylib.Identity{Service: "c", Instance: "c-2"}, sent("M2"))
	code, out, _ = run(dir)
	if code != ExitFailed || !strings.Contains(out, "broke G5 nothing lost: message M2 marked gray") || !strings.Contains(out, "verdict     broken promises: 1\n") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	code, out, _ = run("--output", "json", dir)
	var a verdict.Account
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != ExitFailed || len(a.Broken) != 1 || a.Sent != 2 || a.Handled["test-a"] != 1 {
		t.Errorf("exit code %d, %v: %+v", code, err, a)
	}
	if code, out, _ = run("--settle", "1h", dir); code != ExitOK || !strings.Contains(out, "unjudged") {
		t.Errorf("with --settle: exit code %d:\n%s", code, out)
	}
	for _, wrong := range [][]string{{"--output", "xml", dir}, {"--settle", "-1s", dir}} {
		if code, _, stderr := run(wrong...); code != ExitUsage || !strings.Contains(stderr, wrong[0]) {
			t.Errorf("%v: exit code %d, %q", wrong, code, stderr)
		}
	}
}
