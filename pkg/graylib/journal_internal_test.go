package graylib

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

var journalID = Identity{Service: "a", Tag: "gray", Instance: "a-1"}

// wide are bounds that no test reaches, on a busy machine neither: a post whose answer comes too late is made again.
func wide() journalLimits {
	limits := defaultJournalLimits()
	limits.file, limits.folder, limits.leftOvers = 1<<30, 1<<30, 10*time.Millisecond
	limits.closeWait, limits.post = time.Minute, time.Minute
	return limits
}

// fataler is what tests and properties share.
type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

func mustJournal(t fataler, dir, base string, limits journalLimits) *Journal {
	t.Helper()
	j, err := openJournal(dir, journalID, base, slog.New(slog.DiscardHandler), limits)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return j
}

func journalled(id string) Event {
	return Event{V: EventVersion, Kind: EventBegun, EventID: id, Time: time.Now(), Service: "a", Instance: "a-1", ID: "M" + id, Topic: "T", Group: "g"}
}

// inFolder returns the ids of the events in a folder's journals, in order, and the files.
func inFolder(t fataler, dir string) ([]string, []JournalFile) {
	t.Helper()
	var ids []string
	files, err := ReadJournals(dir, func(_ JournalFile, e Event) error {
		ids = append(ids, e.EventID)
		return nil
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return ids, files
}

// once fails the test where the observer lacks one of the events, or was posted one twice.
func (o *fakeObserver) once(t *testing.T, ids []string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		if o.ids[id] != 1 {
			t.Errorf("event %s was posted %d times, want once", id, o.ids[id])
		}
	}
	if len(o.bad) > 0 || len(o.ids) != len(ids) {
		t.Errorf("the observer has %d events, want %d; bad posts: %q", len(o.ids), len(ids), o.bad)
	}
}

func numbered(from, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("e%05d", from+i)
	}
	return ids
}

func reportAll(j *Journal, ids []string) {
	for _, id := range ids {
		j.Report(journalled(id))
	}
}

// TestJournalShips: what is reported is in the file at once, and with the observer soon; the next life goes on where this one
// stopped.
func TestJournalShips(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	o := newFakeObserver(t)
	defer o.Close()
	dir := filepath.Join(t.TempDir(), "made", "here")
	j := mustJournal(t, dir, o.URL, wide())
	ids := numbered(0, 1000)
	for i, id := range ids {
		j.Report(journalled(id))
		if i%100 == 0 {
			if got, _ := inFolder(t, dir); len(got) != i+1 {
				t.Fatalf("%d events in the file after %d reports", len(got), i+1)
			}
		}
	}
	within(t, "the observer has all events", func() bool { return o.known() == len(ids) })
	within(t, "nothing is left to ship", func() bool { return j.Status().Backlog == 0 })
	if s := j.Status(); s.Written != 1000 || s.Lost != 0 || s.Refused != 0 {
		t.Errorf("status %+v, want 1000 events written and none lost", s)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j.Report(journalled("late"))
	if j.Dropped() != 1 {
		t.Errorf("%d events dropped, want the one after Close", j.Dropped())
	}

	j = mustJournal(t, dir, o.URL, wide())
	more := numbered(1000, 10)
	reportAll(j, more)
	if err := j.Close(); err != nil { // it ships what is left
		t.Fatal(err)
	}
	o.once(t, append(ids, more...))
	_, files := inFolder(t, dir)
	for _, f := range files {
		if !f.Closed || f.Torn || f.Bad != 0 {
			t.Errorf("%+v, want a file that was closed in order", f)
		}
	}
}

// TestJournalWaitsForItsObserver: with the observer away, or failing, nothing is lost and nothing blocks; several processes
// in one folder ship what another one left once.
func TestJournalWaitsForItsObserver(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	limits := wide()
	limits.closeWait = time.Millisecond
	j := mustJournal(t, dir, "http://127.0.0.1:1", limits)
	ids := numbered(0, 500)
	reportAll(j, ids[:300])
	if j.Status().Backlog == 0 {
		t.Error("no backlog, though the observer is away")
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	none := mustJournal(t, dir, "", wide()) // one without an observer
	reportAll(none, ids[300:])
	if err := none.Close(); err != nil {
		t.Fatal(err)
	}

	o := newFakeObserver(t)
	defer o.Close()
	o.answer = func(post int) (int, string) {
		if post <= 2 {
			return 503, ""
		}
		return 200, ""
	}
	var heirs []*Journal
	for range 3 {
		heirs = append(heirs, mustJournal(t, dir, o.URL, wide()))
	}
	within(t, "the observer has all events", func() bool { return o.known() == len(ids) })
	for _, h := range heirs {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	o.once(t, ids)
	if _, files := inFolder(t, dir); len(files) != 2 {
		t.Errorf("%d files, want the two with events: a life without any leaves none", len(files))
	}
}

// TestJournalRefused: what an observer refuses is counted, and doesn't hold up what follows.
func TestJournalRefused(t *testing.T) {
	o := newFakeObserver(t)
	o.answer = func(post int) (int, string) {
		if post == 1 {
			return 400, `{"accepted":0,"refusedTotal":1}`
		}
		return 200, ""
	}
	j := mustJournal(t, t.TempDir(), o.URL, wide())
	j.Report(journalled("bad"))
	within(t, "the first is refused", func() bool { return j.Status().Refused == 1 })
	j.Report(journalled("good"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o.once(t, []string{"good"})
}

// errFull is what the system says of a full disk.
var errFull = &os.PathError{Op: "write", Path: "journal", Err: syscall.ENOSPC}

// TestJournalFullDisk: events that can't be written are counted, fail nothing, leave no half line, and are gaps for who
// reads the journal.
func TestJournalFullDisk(t *testing.T) {
	dir := t.TempDir()
	limits := wide()
	var full, broken bool
	limits.write = func(f *journalFile, line []byte) (bool, error) {
		if !full {
			return f.append(line)
		}
		if n, err := f.file.Write(line[:len(line)/2]); err != nil || n == 0 {
			t.Error(n, err)
		}
		if broken {
			return true, errFull
		}
		return f.file.Truncate(f.size) != nil, errFull
	}
	j := mustJournal(t, dir, "", limits)
	ids := numbered(0, 6)
	reportAll(j, ids[:2])
	full = true
	reportAll(j, []string{"lost1", "lost2"})
	full = false
	reportAll(j, ids[2:4])
	full, broken = true, true
	reportAll(j, []string{"lost3"})
	full, broken = false, false
	reportAll(j, ids[4:])
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	got, files := inFolder(t, dir)
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(files) != 2 || !files[0].Torn || files[0].Lost != 3 || files[0].Bad != 0 || files[1].Torn || j.Dropped() != 3 {
		t.Errorf("%d dropped, files %+v: want 3, in the first of two, the first torn", j.Dropped(), files)
	}
}

// TestJournalBounds: whatever is reported, a folder stays within its bound but for the file that is written to, the newest
// events are kept, and what was removed before an observer had it is counted.
func TestJournalBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		limits := wide()
		limits.file = int64(rapid.IntRange(1, 2000).Draw(rt, "file"))
		limits.folder = int64(rapid.IntRange(1, 8000).Draw(rt, "folder"))
		var all []string
		var lost int64
		longest := 0
		for range rapid.IntRange(1, 3).Draw(rt, "lives") {
			j := mustJournal(rt, dir, "", limits)
			ids := numbered(len(all), rapid.IntRange(0, 40).Draw(rt, "events"))
			for _, id := range ids {
				e := journalled(id)
				e.Reason = strings.Repeat("x", rapid.IntRange(0, 300).Draw(rt, "length"))
				longest = max(longest, 600+len(e.Reason))
				j.Report(e)
			}
			all = append(all, ids...)
			if err := j.Close(); err != nil {
				rt.Fatal(err)
			}
			lost += j.Dropped()
		}
		paths, err := journalPaths(dir)
		if err != nil {
			rt.Fatal(err)
		}
		if len(all) == 0 {
			return
		}
		var total int64
		for _, p := range paths {
			info, err := os.Stat(p)
			if err != nil {
				rt.Fatal(err)
			}
			total += info.Size()
		}
		if most := limits.folder + limits.file + int64(longest); total > most {
			rt.Fatalf("%d bytes in the folder, want at most %d", total, most)
		}
		var got []string
		if len(paths) > 0 {
			got, _ = inFolder(rt, dir)
		}
		if want := all[len(all)-len(got):]; !slices.Equal(want, got) {
			rt.Fatalf("kept %v, want the newest, %v", got, want)
		}
		if int(lost) != len(all)-len(got) {
			rt.Fatalf("%d counted as lost, %d are gone", lost, len(all)-len(got))
		}
	})
}

// TestJournalManyAtOnce: with goroutines, files and a shipper at once every event is there, and posted once.
func TestJournalManyAtOnce(t *testing.T) {
	o := newFakeObserver(t)
	dir := t.TempDir()
	limits := wide()
	limits.file = 4000
	j := mustJournal(t, dir, o.URL, limits)
	const workers, each = 8, 200
	ids := numbered(0, workers*each)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { reportAll(j, ids[w*each:(w+1)*each]) })
	}
	wg.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	o.once(t, ids)
	got, files := inFolder(t, dir)
	slices.Sort(got)
	if diff := cmp.Diff(ids, got); diff != "" {
		t.Errorf("events in the files (-want +got):\n%s", diff)
	}
	for i, f := range files {
		if f.Life != files[0].Life || f.Closed != (i == len(files)-1) {
			t.Errorf("file %d: %+v, want one life, closed with its last file", i, f)
		}
	}
}

// journalEnv is the folder of the process that TestJournalKilled kills.
const journalEnv = "GRAYLIB_TEST_JOURNAL"

// TestJournalChild is that process: it prints the id of each event whose Report has returned.
func TestJournalChild(t *testing.T) {
	dir := os.Getenv(journalEnv)
	if dir == "" {
		t.Skip("started by TestJournalKilled alone")
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the parent
		os.Exit(1)
	}()
	j := mustJournal(t, dir, "", wide())
	var out sync.Mutex
	for w := range 4 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("w%d-%d", w, i)
				j.Report(journalled(id))
				out.Lock()
				fmt.Println("reported", id)
				out.Unlock()
			}
		}()
	}
	select {} // it is killed
}

// TestJournalKilled: no event whose Report had returned is lost with kill -9; the next life ships them.
func TestJournalKilled(t *testing.T) {
	for round := range 3 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestJournalChild$")
		cmd.Env = append(os.Environ(), journalEnv+"="+dir)
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
		var returned []string
		for lines := bufio.NewScanner(out); lines.Scan(); { // to its end: what it had printed counts
			if id, ok := strings.CutPrefix(lines.Text(), "reported "); ok {
				returned = append(returned, id)
			}
			if len(returned) == 500*(round+1) {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		o := newFakeObserver(t)
		j := mustJournal(t, dir, o.URL, wide())
		ids, files := inFolder(t, dir)
		for _, id := range returned {
			if !slices.Contains(ids, id) {
				t.Errorf("broke the journal's promise: event %s is not in the file, though Report had returned", id)
			}
		}
		within(t, "the next life has shipped them", func() bool { return o.known() == len(ids) })
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		o.once(t, ids)
		t.Logf("killed after %d reports had returned: %d events in the file, torn %v", len(returned), len(ids), files[0].Torn)
		if files[0].Closed {
			t.Error("the file of a killed process says that it was closed")
		}
	}
}

// FuzzReadJournal: whatever stands in a file and beside it, reading goes on to the end, and what is shipped is what is read.
func FuzzReadJournal(f *testing.F) {
	line := `{"v":1,"kind":"begun","eventId":"e1","time":"2026-11-22T10:00:00Z","service":"a","instance":"a-1","tag":"","id":"M"}` + "\n"
	state := `{"shipped":10,"lost":0,"closed":false}`
	f.Add([]byte(line+line), []byte(state))
	f.Add([]byte(line+line[:40]), []byte(`{"shipped":-1}`))
	f.Add([]byte("\n\n{}\nnull\n[]\n"), []byte(`{"shipped":99999999}`))
	f.Add([]byte(line+"\x00\xff\n"+line), []byte("{"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, content, side []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "a-a-1-x.0001"+journalSuffix)
		for name, b := range map[string][]byte{path: content, path + journalStateSuffix: side} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		ids, files := inFolder(t, dir)
		complete := content[:bytes.LastIndexByte(content, '\n')+1]
		if n := bytes.Count(complete, []byte{'\n'}); len(ids)+files[0].Bad != n {
			t.Errorf("%d events and %d bad lines of %d", len(ids), files[0].Bad, n)
		}
		if torn := len(complete) < len(content); files[0].Torn != torn {
			t.Errorf("torn %v, want %v", files[0].Torn, torn)
		}
		j, err := openJournalFile(path)
		if err != nil || j == nil {
			t.Fatal(err)
		}
		defer j.close()
		if j.state.Shipped < 0 || j.state.Shipped > int64(len(complete)) || j.size != int64(len(complete)) {
			t.Fatalf("size %d shipped %d of %d complete", j.size, j.state.Shipped, len(complete))
		}
		var got []byte
		if err := j.lines(0, j.size, func(block []byte, _ int64) error {
			got = append(got, block...)
			return nil
		}); err != nil || !bytes.Equal(got, complete) {
			t.Errorf("%v: ships %q, want %q", err, got, complete)
		}
	})
}

func TestReadJournalsOfNone(t *testing.T) {
	if _, err := ReadJournals(t.TempDir(), nil); !errors.Is(err, ErrNoJournal) {
		t.Errorf("%v, want ErrNoJournal", err)
	}
}

// BenchmarkJournal is what an event costs its reporter.
func BenchmarkJournal(b *testing.B) {
	j, err := openJournal(b.TempDir(), journalID, "", nil, wide())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	e := journalled("e")
	b.ReportAllocs()
	for b.Loop() {
		j.Report(e)
	}
}
