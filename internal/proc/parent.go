package proc

import (
	"context"
	"os"
	"time"
)

// parentPoll is how often WatchParent looks, and so how late it may notice.
const parentPoll = 200 * time.Millisecond

// WatchParent returns a channel that is closed within about 200 ms after the process that started this one has ended, in
// whatever way: a killed `go run`, for one, leaves its program running with another parent. Call it early: a parent that
// ended before cannot be told from process 1 as the starter, which is never reported. The watch ends with ctx.
func WatchParent(ctx context.Context) <-chan struct{} {
	return watchParent(ctx, os.Getppid, parentPoll)
}

func watchParent(ctx context.Context, getppid func() int, every time.Duration) <-chan struct{} {
	gone := make(chan struct{})
	first := getppid()
	if first == 1 {
		return gone
	}
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if getppid() != first {
					close(gone)
					return
				}
			}
		}
	}()
	return gone
}
