package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrLocked means that another process holds a lock file.
var ErrLocked = errors.New("locked by another process")

// FileLock is a lock that the kernel gives up when its holder ends, in whatever way.
type FileLock struct{ f *os.File }

// TryLock takes the lock file at path, creating it and its folder, and writes note into it, one line that tells others
// who holds it. Where it is held already the error wraps ErrLocked and quotes the holder's note. It is bound to the open
// file: children do not inherit it.
func TryLock(path, note string) (*FileLock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		holder, _ := os.ReadFile(path)
		return nil, fmt.Errorf("%s: %w: %q", path, ErrLocked, strings.TrimSpace(string(holder)))
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt([]byte(note+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &FileLock{f}, nil
}

// Lock is TryLock, repeated until ctx is over. waiting, where not nil, is called once with the first refusal.
func Lock(ctx context.Context, path, note string, waiting func(error)) (*FileLock, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := TryLock(path, note)
		if err == nil || !errors.Is(err, ErrLocked) {
			return l, err
		}
		if waiting != nil {
			waiting(err)
			waiting = nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
	}
}

// Unlock gives the lock up. The file stays, empty: removing it could take it from under another's feet.
func (l *FileLock) Unlock() error {
	_ = l.f.Truncate(0)
	return l.f.Close()
}
