package main

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// clock wakes handlers that wait. Go's own timers are not precise enough for that: where nothing else wakes a process it sleeps
// whole milliseconds (runtime.netpoll, epoll_wait), so that a handler of time.Sleep(time.Millisecond) takes 1.2 ms in a
// program that is busy and 1.6 ms in one that is idle between messages, and the idler contestant would lose for it.
type clock struct {
	mu      sync.Mutex
	waiting []sleeper // in the order of their ends: all wait equally long
	some    chan struct{}
}

type sleeper struct {
	till time.Time
	end  chan struct{}
}

// clockStep is how late a sleeper may be woken.
const clockStep = 50 * time.Microsecond

// startClock starts one, until ctx ends. All its sleepers must be awake then.
func startClock(ctx context.Context) *clock {
	c := &clock{some: make(chan struct{}, 1)}
	go c.run(ctx)
	return c
}

func (c *clock) sleep(d time.Duration) {
	end := make(chan struct{})
	c.mu.Lock()
	c.waiting = append(c.waiting, sleeper{time.Now().Add(d), end})
	c.mu.Unlock()
	select {
	case c.some <- struct{}{}:
	default:
	}
	<-end
}

func (c *clock) run(ctx context.Context) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	for {
		c.mu.Lock()
		now := time.Now()
		for len(c.waiting) > 0 && !now.Before(c.waiting[0].till) {
			close(c.waiting[0].end)
			c.waiting = c.waiting[1:]
		}
		none := len(c.waiting) == 0
		c.mu.Unlock()
		if !none {
			nap(clockStep)
			continue
		}
		select {
		case <-c.some:
		case <-ctx.Done():
			return
		}
	}
}
