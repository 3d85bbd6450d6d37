package localinfra

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrDiskFull means that the broker would refuse every message.
var ErrDiskFull = errors.New("the disk is too full")

// fullAt is the share of a disk in use at which a broker takes no messages; no setting moves it higher
// (DefaultMessageStore.CleanCommitLogService.getDiskSpaceWarningLevelRatio).
const fullAt = 0.9

// diskHasRoom looks at the disk of a folder.
func diskHasRoom(dir string) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return nil //nolint:nilerr // the broker will say so
	}
	return diskRoom(dir, s.Blocks, s.Bfree, s.Bavail)
}

// diskRoom computes as the broker does: what is in use, of that and what this user could still take.
func diskRoom(dir string, blocks, free, available uint64) error {
	used := blocks - free
	if used+available == 0 {
		return nil
	}
	if ratio := float64(used) / float64(used+available); ratio >= fullAt {
		return fmt.Errorf("%w: the one of %q is %.0f %% in use, and from %.0f %% on the broker takes no messages; use a state folder elsewhere",
			ErrDiskFull, dir, 100*ratio, 100*fullAt)
	}
	return nil
}
