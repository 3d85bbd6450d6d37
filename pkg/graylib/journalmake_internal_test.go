package graylib

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// makingEnv is the step at which the process that TestJournalKilledWhileMaking kills stops.
const makingEnv = "GRAYLIB_TEST_JOURNAL_STEP"

// TestJournalMakingChild is that process: it says when it has come to the step, and goes no further.
func TestJournalMakingChild(t *testing.T) {
	dir, step := os.Getenv(journalEnv), os.Getenv(makingEnv)
	if step == "" {
		t.Skip("started by TestJournalKilledWhileMaking alone")
	}
	stop := func() {
		fmt.Println("stopped")
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		os.Exit(1)
	}
	limits := wide()
	switch step {
	case "made":
		limits.lock = func(*os.File) error { stop(); return nil }
	case "locked":
		limits.lock = func(f *os.File) error {
			err := journalLockNew(f)
			stop()
			return err
		}
	case "recorded":
		limits.rename = func(string, string) error { stop(); return nil }
	}
	_ = mustJournal(t, dir, "", limits)
}

// names returns the names in a folder, in order, without the part that tells lives apart.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		_, kind, _ := strings.Cut(e.Name(), journalSuffix)
		list = append(list, journalSuffix+kind)
	}
	slices.Sort(list)
	return list
}

// TestJournalKilledWhileMaking: whenever a process is killed that makes a file, the next start leaves nothing of it; while it
// lives, and holds its lock, nothing is taken from it.
func TestJournalKilledWhileMaking(t *testing.T) {
	const unmade, record, made = journalSuffix + journalNewSuffix, journalSuffix + journalStateSuffix, journalSuffix
	for step, left := range map[string][]string{"made": {unmade}, "locked": {unmade}, "recorded": {unmade, record}} {
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0], "-test.run=^TestJournalMakingChild$")
			cmd.Env = append(os.Environ(), journalEnv+"="+dir, makingEnv+"="+step)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = in.Close() }()
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "stopped"; {
			}
			if diff := cmp.Diff(left, names(t, dir)); diff != "" {
				t.Errorf("while it is being made (-want +got):\n%s", diff)
			}
			if step != "made" {
				j := mustJournal(t, dir, "", wide())
				if diff := cmp.Diff(append([]string{made, record}, left...), names(t, dir), inAnyOrder); diff != "" {
					t.Errorf("another process started meanwhile (-want +got):\n%s", diff)
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if diff := cmp.Diff(left, names(t, dir)); diff != "" {
				t.Errorf("when it was killed (-want +got):\n%s", diff)
			}
			j := mustJournal(t, dir, "", wide())
			if diff := cmp.Diff([]string{made, record}, names(t, dir)); diff != "" {
				t.Errorf("at the next start (-want +got):\n%s", diff)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

var inAnyOrder = cmp.Transformer("sorted", func(list []string) []string { return slices.Sorted(slices.Values(list)) })

// TestJournalSweptBeforeItsLock: a file that another process takes for left over before its maker has locked it is made again.
func TestJournalSweptBeforeItsLock(t *testing.T) {
	dir := t.TempDir()
	limits := wide()
	tries := 0
	limits.lock = func(f *os.File) error {
		if tries++; tries <= 2 {
			sweepJournals(dir)
		}
		return journalLockNew(f)
	}
	j := mustJournal(t, dir, "", limits)
	reportAll(j, numbered(0, 3))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if ids, _ := inFolder(t, dir); len(ids) != 3 || tries != 3 {
		t.Errorf("%d events in the folder after %d tries, want 3 after 3", len(ids), tries)
	}
}

// TestJournalSweepsRecords: a record goes whose file is gone for a while; those of others, and what isn't a journal's, stay.
func TestJournalSweepsRecords(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-2 * journalStateAlone)
	file := func(name string, at time.Time) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gone := file("a-1-x.0001.journal.state", old)
	var stay []string
	for name, at := range map[string]time.Time{
		"a-2-x.0001.journal.state": time.Now(), "a-3-x.0001.journal": old, "a-3-x.0001.journal.state": old,
		"notes.new": old, "notes.state": old,
	} {
		stay = append(stay, file(name, at))
	}
	sweepJournals(dir)
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there (%v)", gone, err)
	}
	for _, path := range stay {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%v, want it kept", err)
		}
	}
}
