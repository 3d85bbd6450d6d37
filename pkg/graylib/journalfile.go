package graylib

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A journal is a row of files <life>.<number>.journal, numbered from 1, of which the last one is written to. <life> is
// <service>-<instance>-<time>, one for each life of a process. Beside each stands a record of fixed size, <file>.state.
const (
	journalSuffix      = ".journal"
	journalStateSuffix = ".state"
	journalNewSuffix   = ".new"      // being made, and not locked yet
	journalStateSize   = 256         // written over in place: that needs no room on a disk that is full
	journalStateAlone  = time.Minute // how old a record without a file is before it is removed
	journalTime        = "20060102T150405.000000000Z"
)

// journalState is the record beside a file.
type journalState struct {
	Shipped int64 `json:"shipped"` // bytes that an observer has
	Lost    int64 `json:"lost"`    // events that could not be written, or were removed before an observer had them
	Removed int64 `json:"removed"` // files of the folder that were removed to make room
	Closed  bool  `json:"closed"`  // the process closed its journal; false in the last file = it lives, or crashed
}

// journalFile is an open file of a journal, whose lock is held. It isn't safe for concurrent use.
type journalFile struct {
	path  string
	file  *os.File
	side  *os.File
	size  int64 // of complete lines
	state journalState
}

// lifeName is the name of one life of a process. What doesn't belong into the name of a file is replaced.
func lifeName(id Identity, at time.Time) string {
	name := id.Service + "-" + id.Instance + "-" + at.UTC().Format(journalTime)
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			return c
		}
		return '_'
	}, name)
}

// openJournalFile opens a file that a process left over; nil where one still has it, or has just removed it.
func openJournalFile(path string) (*journalFile, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return heldJournalFile(path, file)
}

// heldJournalFile takes the lock of an open file; it closes the file where that gives nil.
func heldJournalFile(path string, file *os.File) (*journalFile, error) {
	f := &journalFile{path: path, file: file}
	locked, err := journalLock(file)
	if err != nil || !locked || !standsAt(path, file) {
		f.close()
		return nil, err
	}
	if f.size, err = completeSize(file); err == nil {
		f.state = readJournalState(path)
		f.side, err = os.OpenFile(path+journalStateSuffix, os.O_RDWR|os.O_CREATE, 0o644)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	f.state.Shipped = min(max(f.state.Shipped, 0), f.size)
	return f, nil
}

// standsAt tells whether an open file is still the one with that name: another process may have removed it before its lock
// was ours.
func standsAt(path string, file *os.File) bool {
	named, err := os.Stat(path)
	if err != nil {
		return false
	}
	held, err := file.Stat()
	return err == nil && os.SameFile(named, held)
}

// completeSize returns the length of a file up to its last complete line: a process may have ended within one.
func completeSize(file *os.File) (int64, error) {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	var block [4096]byte
	for end > 0 {
		from := max(end-int64(len(block)), 0)
		n, err := file.ReadAt(block[:end-from], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(block[:n], '\n'); i >= 0 {
			return from + int64(i) + 1, nil
		}
		end = from
	}
	return 0, nil
}

// readJournalState returns the record beside a file; the zero one where there is none, or it can't be read: then all is
// shipped once more, which observers notice.
func readJournalState(path string) (s journalState) {
	raw, err := os.ReadFile(path + journalStateSuffix)
	if err != nil || json.Unmarshal(bytes.TrimSpace(raw), &s) != nil {
		return journalState{}
	}
	return s
}

// save writes the record.
func (f *journalFile) save() error {
	raw, err := json.Marshal(f.state)
	if err != nil {
		return err
	}
	record := bytes.Repeat([]byte{' '}, journalStateSize)
	copy(record, raw)
	record[journalStateSize-1] = '\n'
	_, err = f.side.WriteAt(record, 0)
	return err
}

// append writes a line by one write(2). Where only a part of it could be written that is taken off again; where that can't be
// done either broken is true, and the file must not be written to any more.
func (f *journalFile) append(line []byte) (broken bool, err error) {
	n, err := f.file.Write(line)
	if err == nil {
		f.size += int64(n)
		return false, nil
	}
	return n > 0 && f.file.Truncate(f.size) != nil, err
}

// close gives the lock up.
func (f *journalFile) close() {
	_ = f.file.Close()
	if f.side != nil {
		_ = f.side.Close()
	}
}

// remove removes a file and what stands beside it.
func (f *journalFile) remove() {
	_ = os.Remove(f.path)
	_ = os.Remove(f.path + journalStateSuffix)
}

// journalPaths returns the journals' files in a folder, oldest first.
func journalPaths(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type found struct {
		name string
		at   time.Time
	}
	var list []found
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), journalSuffix) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, found{e.Name(), info.ModTime()})
	}
	slices.SortFunc(list, func(a, b found) int {
		if n := a.at.Compare(b.at); n != 0 {
			return n
		}
		return strings.Compare(a.name, b.name)
	})
	paths := make([]string, len(list))
	for i, f := range list {
		paths[i] = filepath.Join(dir, f.name)
	}
	return paths, nil
}

// JournalFile is what is known of one file of a journal.
type JournalFile struct {
	Path    string
	Life    string // names one life of one process
	Number  int    // of the file in its life, from 1
	Closed  bool   // the process closed its journal
	Lost    int64  // events that could not be written, or were removed before an observer had them
	Removed int64  // older files of the folder that were removed to make room
	Bad     int    // lines that are no events
	Torn    bool   // the last line is incomplete: the process ended while it wrote it
}

// ErrNoJournal is wrapped where a folder has no journal.
var ErrNoJournal = errors.New("no journal")

// ReadJournals reads the journals in a folder, those that are being written included, and calls each with every event, file
// after file; events of one file come in the order in which they were written. It locks nothing and changes nothing. A
// line that is no event is counted and passed over. The error wraps [ErrNoJournal] where there is none, or is the
// system's, or what each returned.
func ReadJournals(dir string, each func(JournalFile, Event) error) ([]JournalFile, error) {
	paths, err := journalPaths(dir)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%w: folder %q has no file *%s", ErrNoJournal, dir, journalSuffix)
	}
	files := make([]JournalFile, 0, len(paths))
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return files, err
		}
		state := readJournalState(path)
		f := JournalFile{Path: path, Closed: state.Closed, Lost: state.Lost, Removed: state.Removed}
		f.Life, f.Number = lifeOf(path)
		err = f.events(raw, func(e Event) error { return each(f, e) })
		files = append(files, f)
		if err != nil {
			return files, err
		}
	}
	return files, nil
}

// events calls each with the events of a file's content.
func (f *JournalFile) events(raw []byte, each func(Event) error) error {
	for len(raw) > 0 {
		line, rest, complete := bytes.Cut(raw, []byte{'\n'})
		raw = rest
		if !complete {
			f.Torn = true
			return nil
		}
		var e Event
		if json.Unmarshal(line, &e) != nil || e.V != EventVersion || e.EventID == "" {
			f.Bad++
			continue
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// lifeOf reads the name of a file.
func lifeOf(path string) (life string, number int) {
	name := strings.TrimSuffix(filepath.Base(path), journalSuffix)
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name, 0
	}
	number, err := strconv.Atoi(name[i+1:])
	if err != nil {
		return name, 0
	}
	return name[:i], number
}
