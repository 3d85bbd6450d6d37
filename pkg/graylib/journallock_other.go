//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package graylib

import (
	"errors"
	"os"
)

// journalLock can't tell here whether another process writes a file or has ended.
func journalLock(*os.File) (bool, error) { return false, errors.ErrUnsupported }

func journalLockNew(*os.File) error { return errors.ErrUnsupported }
