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
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, syscall.EINTR):
			return false, err
		}
	}
}
