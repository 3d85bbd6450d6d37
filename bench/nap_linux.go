package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap has the thread sleep, for d and what the kernel adds (50 µs).
func nap(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&t, nil) // a signal only makes it shorter
}
