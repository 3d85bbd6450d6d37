//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package graylib

import (
	"errors"
	"os"
	"syscall"
)

// journalLock takes a file's lock; false says that another holds it. The kernel gives it up with the open file, in whatever way
// the process ends.
func journalLock(f *os.File) (bool, error) {
	err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// journalLockNew is [journalLock] for a file that is being made: who else has its lock takes it for left over, and holds it for
// as long as removing it takes.
func journalLockNew(f *os.File) error { return flock(f, syscall.LOCK_EX) }

func flock(f *os.File, how int) error {
	for {
		if err := syscall.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
