package graylib

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// leftOver makes a file of a life that ended without closing it, with lines for the ids and tail behind them.
func leftOver(t *testing.T, dir, name, tail string, ids []string) string {
	t.Helper()
	from := t.TempDir()
	j := mustJournal(t, from, "", wide())
	reportAll(j, ids)
	content, err := os.ReadFile(j.files[0].path)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name+".0001"+journalSuffix)
	if err := os.WriteFile(path, append(content, tail...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestJournalTidiesBesides: while the events of a file that is removed are counted Report goes on, over several files too.
func TestJournalTidiesBesides(t *testing.T) {
	dir := t.TempDir()
	leftOver(t, dir, "old", "", numbered(0, 50))
	limits := wide()
	j := mustJournal(t, dir, "", limits)
	counting, count := make(chan struct{}), make(chan struct{})
	j.limits.folder, j.limits.file = 12_000, 4000
	j.limits.count = func(f *journalFile) int64 {
		select {
		case counting <- struct{}{}:
		case <-time.After(time.Minute):
			t.Error("nobody waits for the count")
		}
		<-count
		return f.unshipped()
	}
	reported := 0
	for waiting := true; waiting; reported++ {
		j.Report(journalled(numbered(1000+reported, 1)[0]))
		select {
		case <-counting:
			waiting = false
		default:
		}
		if reported > 1000 {
			t.Fatal("nothing was removed")
		}
	}
	more := make(chan struct{})
	go func() {
		defer close(more)
		reportAll(j, numbered(1000+reported, 100)) // ten files
	}()
	select {
	case <-more:
	case <-time.After(time.Minute):
		t.Error("Report waits while a file is counted")
	}
	go func() {
		for range counting {
		}
	}()
	close(count)
	<-more
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	close(counting)
	ids, _ := inFolder(t, dir)
	if lost := 50 + reported + 100 - len(ids); j.Dropped() != int64(lost) || lost < 50 {
		t.Errorf("%d counted as lost, %d are gone", j.Dropped(), lost)
	}
	paths, err := journalPaths(dir)
	if err != nil || len(paths) > 5 {
		t.Errorf("%d files (%v) after Close, want at most what fits and the one that was written to", len(paths), err)
	}
}

// TestJournalKeepsItsNote: a life that reported nothing, and removed files of others, leaves word of that.
func TestJournalKeepsItsNote(t *testing.T) {
	dir := t.TempDir()
	leftOver(t, dir, "old", "", numbered(0, 7))
	limits := wide()
	limits.folder = 1
	j := mustJournal(t, dir, "", limits)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	ids, files := inFolder(t, dir)
	if len(ids) != 0 || len(files) != 1 || files[0].Removed != 1 || files[0].Lost != 7 || !files[0].Closed {
		t.Errorf("%d events, files %+v: want one without events that says what it removed", len(ids), files)
	}
}

// TestJournalRemovedMeanwhile: a file that another process removes between opening it and the lock is left alone, and
// nothing is made beside it.
func TestJournalRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	path := leftOver(t, dir, "old", "", numbered(0, 7))
	for _, tc := range []struct {
		name  string
		since func() error
	}{
		{"removed", func() error { return os.Remove(path) }},
		{"made again", func() error { return os.WriteFile(path, nil, 0o600) }},
	} {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Rename(path, path+".away"), os.WriteFile(path, nil, 0o600), tc.since()); err != nil {
			t.Fatal(err)
		}
		if f, err := heldJournalFile(path, file); f != nil || err != nil {
			t.Errorf("%s: opened %v, %v; want neither a file nor an error", tc.name, f, err)
		}
		if _, err := os.Stat(path + journalStateSuffix); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there is a record beside the file: %v", tc.name, err)
		}
	}
}

// TestJournalTornIsLeftAlone: a left-over file that ends within a line is shipped up to there, and then not opened again.
func TestJournalTornIsLeftAlone(t *testing.T) {
	o := newFakeObserver(t)
	dir := t.TempDir()
	path := leftOver(t, dir, "old", `{"v":1,`, numbered(0, 7))
	limits := wide()
	limits.leftOvers = time.Hour // looked for when the test says so
	j := mustJournal(t, dir, "", limits)
	defer func() { _ = j.Close() }()
	p, err := newPoster(o.URL)
	if err != nil {
		t.Fatal(err)
	}
	j.ship = &shipper{j: j, poster: p, closing: make(chan struct{}), block: shipBytes}
	defer func() { j.ship = nil }()
	j.ship.leftOvers(t.Context())
	o.once(t, numbered(0, 7))
	if err := os.Remove(path + journalStateSuffix); err != nil { // it would be made again
		t.Fatal(err)
	}
	for range 3 {
		j.ship.leftOvers(t.Context())
	}
	if _, err := os.Stat(path + journalStateSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file was opened again: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if j.ship.leftOvers(t.Context()); len(j.ship.torn) != 0 {
		t.Errorf("%v is remembered, though no file is left", j.ship.torn)
	}
}
