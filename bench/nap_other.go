//go:build !linux

package main

import "time"

// nap sleeps as precisely as Go does.
func nap(d time.Duration) { time.Sleep(d) }
