package graylib

import "os"

// tidySoon has the folder tidied: by one goroutine at a time, for counting what is removed may take as long as reading it. The
// lock is held, and the journal isn't closed.
func (j *Journal) tidySoon() {
	j.untidy = true
	if j.tidying {
		return
	}
	j.tidying = true
	j.tidier.Go(func() {
		for j.stillUntidy() {
			j.tidy()
		}
	})
}

func (j *Journal) stillUntidy() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tidying, j.untidy = j.untidy, false
	return j.tidying
}

// tidy keeps the folder within its bound: of the files that are written to no more it removes the oldest, those that an
// observer has first. It takes the lock only for what the journal shares.
func (j *Journal) tidy() {
	paths, err := journalPaths(j.dir)
	if err != nil {
		return
	}
	var total int64
	sizes := make([]int64, len(paths))
	for i, path := range paths {
		if info, err := os.Stat(path); err == nil {
			sizes[i] = info.Size()
			total += sizes[i]
		}
	}
	for _, shipped := range []bool{true, false} {
		for i, path := range paths {
			if total <= j.limits.folder {
				return
			}
			if sizes[i] > 0 && j.discard(path, shipped) {
				total -= sizes[i]
				sizes[i] = 0
			}
		}
	}
}

// discard removes a file; with shipped only where an observer has all of it. It tells whether it did.
func (j *Journal) discard(path string, shipped bool) bool {
	f, own := j.takeOwn(path, shipped)
	if !own {
		var err error
		if f, err = openJournalFile(path); err != nil {
			return false
		}
	}
	if f == nil {
		return false
	}
	defer f.close()
	if shipped && f.state.Shipped < f.size {
		return false
	}
	j.gone(f)
	f.remove()
	return true
}

// takeOwn takes a file out of the journal's own; nil where it is still needed. own is false where it is none of them.
func (j *Journal) takeOwn(path string, shipped bool) (f *journalFile, own bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, f := range j.files {
		if f.path != path {
			continue
		}
		if i == len(j.files)-1 || shipped || j.ship.busy == f {
			return nil, true
		}
		j.files = append(j.files[:i:i], j.files[i+1:]...)
		return f, true
	}
	return nil, false
}

// gone counts a file that is removed, and what no observer had of it.
func (j *Journal) gone(f *journalFile) {
	n := j.limits.count(f)
	j.mu.Lock()
	current := j.files[len(j.files)-1]
	current.state.Removed++
	current.state.Lost += n
	j.save(current)
	j.mu.Unlock()
	if n > 0 {
		j.log.Warn("a journal was removed to make room, before an observer had all of it", "file", f.path, "events", n)
		j.lost.Add(n)
	}
}

// unshipped counts the events of a file that no observer has; what can't be read counts as none.
func (f *journalFile) unshipped() (n int64) {
	_ = f.lines(f.state.Shipped, f.size, func(_ []byte, lines int64) error {
		n += lines
		return nil
	})
	return n
}
