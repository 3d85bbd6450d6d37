package graylib

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// createJournalFile makes a life's file with the number. Nobody sees it under its name before it is locked.
func createJournalFile(dir, life string, number int, limits journalLimits) (*journalFile, error) {
	path := filepath.Join(dir, fmt.Sprintf("%s.%04d%s", life, number, journalSuffix))
	for {
		f := &journalFile{path: path}
		var err error
		if f.file, err = os.OpenFile(path+journalNewSuffix, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o644); err != nil {
			return nil, err
		}
		err = limits.lock(f.file)
		if err == nil && !standsAt(path+journalNewSuffix, f.file) {
			f.close() // another process took it for one that was left over, before it was locked
			continue
		}
		if err != nil {
			err = fmt.Errorf("lock %s: %w", f.file.Name(), err)
		} else {
			err = f.begin(limits.rename)
		}
		if err != nil {
			_ = os.Remove(path + journalStateSuffix)
			_ = os.Remove(path + journalNewSuffix)
			f.close()
			return nil, err
		}
		return f, nil
	}
}

// begin writes the record beside a file that is locked, and gives it its name.
func (f *journalFile) begin(rename func(from, to string) error) (err error) {
	if f.side, err = os.OpenFile(f.path+journalStateSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644); err != nil {
		return err
	}
	if err := f.save(); err != nil {
		return err
	}
	return rename(f.path+journalNewSuffix, f.path)
}

// sweepJournals removes what processes left that ended while they made a file, or removed one: none of it holds an event.
func sweepJournals(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if path, ok := strings.CutSuffix(name, journalNewSuffix); ok && strings.HasSuffix(path, journalSuffix) {
			sweepUnmade(path)
		} else if path, ok := strings.CutSuffix(name, journalStateSuffix); ok && strings.HasSuffix(path, journalSuffix) {
			sweepState(path)
		}
	}
}

// sweepUnmade removes the beginnings of a file, unless its process holds its lock.
func sweepUnmade(path string) {
	file, err := os.OpenFile(path+journalNewSuffix, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	if locked, err := journalLock(file); err != nil || !locked || !standsAt(path+journalNewSuffix, file) {
		return
	}
	_ = os.Remove(path + journalStateSuffix)
	_ = os.Remove(path + journalNewSuffix)
}

// sweepState removes a record whose file is gone; it leaves a process that makes that file this very moment its time.
func sweepState(path string) {
	if info, err := os.Stat(path + journalStateSuffix); err != nil || time.Since(info.ModTime()) < journalStateAlone {
		return
	}
	for _, beside := range []string{path + journalNewSuffix, path} { // in the order in which a file gets its names
		if _, err := os.Stat(beside); !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	_ = os.Remove(path + journalStateSuffix)
}
