package graylib

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Bounds of shipping. A post is tried until the observer answers for good; the pause between tries is reporterBackoff and
// doubles. One that took too long, or was too large, is halved; the next ones grow again where the answer came in good time.
const (
	shipBytes      = 1 << 20 // of one post; a line is at most 64 KiB, which is what an observer takes
	shipPauseMost  = 5 * time.Second
	shipSoon       = reporterTimeout / 4
	leftOversEvery = 5 * time.Second
)

// shipper posts what stands in files to an observer, one post at a time.
type shipper struct {
	j       *Journal
	poster  poster
	kick    chan struct{} // holds one: something was written
	closing chan struct{} // closed when what is there now is all
	stopped chan struct{}
	cancel  context.CancelFunc

	busy *journalFile // the one of the journal's own that is being read; under its lock

	// Of the goroutine alone:
	block  int              // bytes of the next post, if that is a line or more
	torn   map[string]int64 // path of a left-over file that ends within a line -> its size, where all before that line is shipped
	warned time.Time        // when a refusal that may pass was logged last
}

func newShipper(j *Journal, p poster) *shipper {
	ctx, cancel := context.WithCancel(context.Background())
	s := &shipper{j: j, poster: p, kick: make(chan struct{}, 1), closing: make(chan struct{}), stopped: make(chan struct{}), cancel: cancel, block: shipBytes}
	go s.run(ctx)
	return s
}

func (s *shipper) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// close ships what is there, as long as ctx allows.
func (s *shipper) close(ctx context.Context) {
	close(s.closing)
	select {
	case <-s.stopped:
	case <-ctx.Done():
	}
	s.cancel()
	<-s.stopped
	s.poster.client.CloseIdleConnections()
}

func (s *shipper) run(ctx context.Context) {
	defer close(s.stopped)
	tick := time.NewTicker(s.j.limits.leftOvers)
	defer tick.Stop()
	look := true
	for ctx.Err() == nil {
		last := false
		select {
		case <-s.closing:
			last = true // all that will ever be written is there
		default:
		}
		s.own(ctx)
		if last {
			return
		}
		if look {
			s.leftOvers(ctx)
			look = false
		}
		select {
		case <-ctx.Done():
		case <-s.closing:
		case <-s.kick:
		case <-tick.C:
			look = true
		}
	}
}

// own ships the journal's own files up to what is written now.
func (s *shipper) own(ctx context.Context) {
	j := s.j
	for ctx.Err() == nil {
		j.mu.Lock()
		f := j.files[0]
		s.busy = f
		size, full := f.size, len(j.files) > 1
		j.mu.Unlock()
		err := s.file(ctx, f, size)
		j.mu.Lock()
		s.busy = nil
		if err != nil || !full {
			j.mu.Unlock()
			return
		}
		j.files = j.files[1:]
		j.mu.Unlock()
		f.close()
	}
}

// leftOvers ships the files of processes that have ended.
func (s *shipper) leftOvers(ctx context.Context) {
	paths, err := journalPaths(s.j.dir)
	if err != nil {
		s.j.log.Warn("the journal's folder can't be read", "folder", s.j.dir, "error", err)
		return
	}
	torn := s.torn
	s.torn = make(map[string]int64) // of those that are still there
	for _, path := range paths {
		select {
		case <-ctx.Done():
			return
		case <-s.closing:
			return // the next process goes on
		default:
		}
		s.own(ctx) // what is new goes first
		info, err := os.Stat(path)
		if err != nil || info.Size() == readJournalState(path).Shipped {
			continue
		}
		if size, known := torn[path]; known && size == info.Size() {
			s.torn[path] = size
			continue
		}
		f, err := openJournalFile(path)
		if err != nil {
			s.j.log.Debug("a left-over journal can't be opened", "file", path, "error", err)
		}
		if f == nil {
			continue
		}
		if f.state.Shipped < f.size {
			s.j.log.Info("shipping a journal that was left over", "file", path, "bytes", f.size-f.state.Shipped)
			if err := s.file(ctx, f, f.size); err != nil && ctx.Err() == nil {
				s.j.log.Warn("a left-over journal can't be shipped", "file", path, "error", err)
			}
		}
		if f.state.Shipped == f.size && f.size < info.Size() {
			s.torn[path] = info.Size()
		}
		f.close()
	}
}

// file ships a file from where it stands up to size. An error says that it didn't get there.
func (s *shipper) file(ctx context.Context, f *journalFile, size int64) error {
	return f.lines(f.state.Shipped, size, func(body []byte, _ int64) error {
		for len(body) > 0 {
			n, refused, err := s.post(ctx, body)
			if err != nil {
				return err
			}
			body = body[n:]
			s.j.refused.Add(refused)
			s.j.mu.Lock()
			f.state.Shipped += int64(n)
			s.j.save(f)
			s.j.mu.Unlock()
		}
		return nil
	})
}

// post tries with the first lines of body until the observer answers for good, or ctx ends. It returns how many bytes that were,
// and how many of their lines are refused.
func (s *shipper) post(ctx context.Context, body []byte) (n int, refused int64, err error) {
	for pause := reporterBackoff; ; {
		n = firstLines(body, s.block)
		lines := int64(bytes.Count(body[:n], []byte{'\n'}))
		began := time.Now()
		a := s.poster.post(ctx, body[:n], lines)
		halve := a.smaller && lines > 1
		switch {
		case halve:
			s.block = n / 2
		case a.err == nil && time.Since(began) < shipSoon:
			s.block = min(2*s.block, shipBytes)
		}
		switch {
		case a.err == nil && !halve:
			return n, a.refused, nil
		case a.err == nil:
			continue // too large
		}
		s.warn(a.err)
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return 0, 0, ctx.Err()
		case <-wait.C:
		}
		pause = min(2*pause, shipPauseMost)
	}
}

// firstLines is the length of the first lines of body, at least one, that are at most most bytes long together.
func firstLines(body []byte, most int) int {
	if len(body) <= most {
		return len(body)
	}
	if n := bytes.LastIndexByte(body[:most], '\n') + 1; n > 0 {
		return n
	}
	return bytes.IndexByte(body, '\n') + 1
}

// warn says now and then why events wait. An observer that is away is no news: the backlog shows it.
func (s *shipper) warn(err error) {
	if now := time.Now(); errors.Is(err, errObserverAnswer) && now.Sub(s.warned) >= journalLogEvery {
		s.j.log.Warn("the observer doesn't take the journal's events for now; they wait", "error", err)
		s.warned = now
	}
}

// errJournalRead says that a file is shorter than what was written to it.
var errJournalRead = errors.New("journal is shorter than it was")

// lines calls each with the complete lines between two offsets, in blocks of at most [shipBytes], and their number. A line
// beyond that length isn't one of ours: it is a block of its own.
func (f *journalFile) lines(from, to int64, each func(block []byte, lines int64) error) error {
	buf := make([]byte, min(shipBytes, max(to-from, 0)))
	for from < to {
		want := min(int64(len(buf)), to-from)
		n, err := f.file.ReadAt(buf[:want], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		block := buf[:bytes.LastIndexByte(buf[:n], '\n')+1]
		if len(block) == 0 {
			if int64(n) < want || want == to-from {
				return fmt.Errorf("%w: %s at %d, want %d bytes", errJournalRead, f.path, from, to-from)
			}
			buf = make([]byte, 2*len(buf)) // a long line
			continue
		}
		if err := each(block, int64(bytes.Count(block, []byte{'\n'}))); err != nil {
			return err
		}
		from += int64(len(block))
	}
	return nil
}
