package graylib

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a journal. At 500 bytes an event, a file holds 130,000 and a folder two million.
const (
	journalFileBytes   = 64 << 20 // then the next file begins
	journalFolderBytes = 1 << 30  // all journals of a folder together; the oldest are removed, those that an observer has first
	journalLogEvery    = time.Minute
	journalRetry       = time.Second // between tries to begin a file where the last one is broken
)

type journalLimits struct {
	file, folder int64
	leftOvers    time.Duration // between looks for files that other processes left over
	closeWait    time.Duration
	post         time.Duration                                       // of one try to ship, to its answer
	lock         func(*os.File) error                                // how a new file is locked
	rename       func(from, to string) error                         // how it gets its name
	write        func(*journalFile, []byte) (broken bool, err error) // how a line is written
	count        func(*journalFile) int64                            // how the events that no observer has are counted
}

func defaultJournalLimits() journalLimits {
	return journalLimits{
		file: journalFileBytes, folder: journalFolderBytes, leftOvers: leftOversEvery, closeWait: reporterClose, post: reporterTimeout,
		lock: journalLockNew, rename: os.Rename, write: (*journalFile).append, count: (*journalFile).unshipped,
	}
}

// Journal is a [Reporter] that has written each event to a file before Report returns, so that not even kill -9 loses one. With an
// observer it ships from there what the observer hasn't got yet: also what processes that have ended left in the same folder.
// Without one the files stay for the next process that has one, or for `graychain verdict`.
//
// The files hold the lines that an observer is posted (NDJSON). A folder holds at most 1 GiB of them; beyond that the
// oldest files are removed. Nothing is forced to the disk: a machine that crashes may lose the last seconds. Events that
// can't be written, on a full disk say, are counted and logged, and fail nothing. Its methods are safe for concurrent use.
type Journal struct {
	dir, life string
	log       *slog.Logger
	limits    journalLimits
	ship      *shipper // nil: there is no observer

	mu       sync.Mutex
	files    []*journalFile // those that aren't shipped, and the one that is written to, last
	number   int
	broken   time.Time // when the next file may be tried, where the last one can't be written to
	closed   bool
	untidy   bool  // a file was begun since the folder was looked at
	tidying  bool  // a goroutine is at it
	unlogged int64 // losses since the last record in the log
	loggedAt time.Time

	tidier sync.WaitGroup // that goroutine

	written atomic.Int64
	lost    atomic.Int64
	refused atomic.Int64
}

// JournalStatus is what a journal says of itself.
type JournalStatus struct {
	Folder  string `json:"folder"`
	Written int64  `json:"written"`           // events, since the start
	Lost    int64  `json:"lost"`              // events that could not be written, or were removed before an observer had them
	Refused int64  `json:"refused,omitempty"` // events that the observer refused
	Backlog int64  `json:"backlog"`           // bytes of this process's events that no observer has yet
}

// OpenJournal begins the journal of one life of a process, in a folder that is made where it is missing. base is the
// observer's URL; empty = none. An error wraps [ErrInvalidConfig] and names the variable.
func OpenJournal(dir string, id Identity, base string, log *slog.Logger) (*Journal, error) {
	return openJournal(dir, id, base, log, defaultJournalLimits())
}

func openJournal(dir string, id Identity, base string, log *slog.Logger, limits journalLimits) (*Journal, error) {
	if log == nil {
		log = slog.Default()
	}
	j := &Journal{dir: dir, life: lifeName(id, time.Now()), log: log, limits: limits}
	var p poster
	if base != "" {
		var err error
		if p, err = newPoster(base); err != nil {
			return nil, err
		}
		p.client.Timeout = limits.post
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w: the journal's folder can't be made: %w", invalid(EnvJournal, dir, "want a folder that can be written to"), err)
	}
	sweepJournals(dir)
	if err := j.next(); err != nil {
		return nil, fmt.Errorf("%w: %w", invalid(EnvJournal, dir, "want a folder that can be written to"), err)
	}
	j.tidy()
	if base != "" {
		j.ship = newShipper(j, p)
	}
	return j, nil
}

// next begins the next file; the lock is held, or nobody else knows the journal yet.
func (j *Journal) next() error {
	f, err := createJournalFile(j.dir, j.life, j.number+1, j.limits)
	if err != nil {
		return err
	}
	j.number++
	if n := len(j.files); n > 0 && j.ship == nil {
		j.files[n-1].close() // the next process that has an observer ships it
		j.files = j.files[:n-1]
	}
	j.files = append(j.files, f)
	return nil
}

// Report implements [Reporter]: when it returns, the event is in the file.
func (j *Journal) Report(e Event) {
	line, err := json.Marshal(&e)
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err != nil: // a time beyond the year 9999
		j.lose(err)
	case j.closed:
		j.lose(errJournalClosed)
	default:
		j.put(append(line, '\n'))
	}
}

var errJournalClosed = errors.New("the journal is closed")

// put writes a line; the lock is held.
func (j *Journal) put(line []byte) {
	current := j.files[len(j.files)-1]
	switch {
	case !j.broken.IsZero():
		if now := time.Now(); now.Before(j.broken) {
			j.lose(errJournalBroken)
			return
		} else if err := j.next(); err != nil {
			j.broken = now.Add(journalRetry)
			j.lose(err)
			return
		}
		j.broken = time.Time{}
		j.tidySoon()
		current = j.files[len(j.files)-1]
	case current.size > 0 && current.size+int64(len(line)) > j.limits.file:
		if err := j.next(); err == nil { // else the file grows on
			j.tidySoon()
			current = j.files[len(j.files)-1]
		}
	}
	broken, err := j.limits.write(current, line)
	if broken {
		j.broken = time.Now()
	}
	if err != nil {
		j.lose(err)
		return
	}
	j.written.Add(1)
	if j.ship != nil {
		j.ship.wake()
	}
}

var errJournalBroken = errors.New("the file can't be written to any more, and no other one be made")

// lose counts an event that is not in the journal; the lock is held.
func (j *Journal) lose(err error) {
	j.lost.Add(1)
	f := j.files[len(j.files)-1]
	f.state.Lost++
	j.save(f)
	j.unlogged++
	if now := time.Now(); now.Sub(j.loggedAt) >= journalLogEvery {
		j.log.Error("events could not be written to the journal; the history will have gaps", "folder", j.dir, "events", j.unlogged, "error", err)
		j.unlogged, j.loggedAt = 0, now
	}
}

func (j *Journal) save(f *journalFile) {
	if err := f.save(); err != nil {
		j.log.Debug("the record beside a journal could not be written", "file", f.path, "error", err)
	}
}

// Dropped returns the number of events that are lost, or were refused by the observer.
func (j *Journal) Dropped() int64 { return j.lost.Load() + j.refused.Load() }

// Status returns what the journal says of itself.
func (j *Journal) Status() JournalStatus {
	s := JournalStatus{Folder: j.dir, Written: j.written.Load(), Lost: j.lost.Load(), Refused: j.refused.Load()}
	if j.ship == nil {
		return s
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.files {
		s.Backlog += f.size - f.state.Shipped
	}
	return s
}

// Close implements [Reporter]: it ships what was taken, for three seconds at most; the next process that has an observer
// ships the rest. Its error is always nil: events are diagnosis and fail nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	if j.ship != nil {
		ctx, cancel := context.WithTimeout(context.Background(), j.limits.closeWait)
		defer cancel()
		j.ship.close(ctx)
	}
	j.tidier.Wait() // no file is begun any more
	j.mu.Lock()
	defer j.mu.Unlock()
	last := j.files[len(j.files)-1]
	last.state.Closed = true
	j.save(last)
	for _, f := range j.files {
		if f.size == 0 && f.state.Lost == 0 && f.state.Removed == 0 && j.number == 1 {
			f.remove() // nothing was reported in this life, and it says nothing of others
		}
		f.close()
	}
	return nil
}
