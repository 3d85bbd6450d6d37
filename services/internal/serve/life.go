package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of single steps at the stop: an unreachable broker must not hold the process.
const (
	closeTimeout = 5 * time.Second
	// graceBeyondDrain is what a server gets beyond the drain limit to say itself that it ran out.
	graceBeyondDrain = 2 * time.Second
)

// run opens the doors, works until ctx ends or a part fails, and stops in the order in which nothing is lost
// (design: leave the registry, wait until callers have dropped the route, then close).
func (a *App) run(ctx context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	for _, s := range a.servers {
		go func() {
			err := s.Run()
			if work.Err() == nil {
				a.failed <- fmt.Errorf("server %s ended: %w", s.Name, orEnded(err))
			}
		}()
	}
	var jobs sync.WaitGroup
	working, stopJobs := context.WithCancel(work)
	defer stopJobs()
	for _, c := range a.consumers {
		if err := c.Start(); err != nil {
			a.failed <- fmt.Errorf("consumer %s: %w", c.Name, err)
		}
	}
	for _, job := range a.jobs {
		jobs.Go(func() { job(working) })
	}
	a.Log.Info("service started", "addr", a.Runtime.Identity().Addr, "instance", a.Runtime.Identity().Instance)

	var failure error
	select {
	case <-ctx.Done():
	case failure = <-a.failed:
		a.Log.Error("a part of the service failed; stopping", "error", failure)
	}

	begun := time.Now()
	// All endpoints at once; requests are served as before while callers drop the route.
	if err := a.Runtime.Withdraw(context.WithoutCancel(ctx), a.Config.Settle); err != nil {
		a.Log.Warn("not taken out of the registry; callers notice by themselves", "error", err)
	}
	stopJobs()
	a.stopConsumers()
	jobs.Wait()
	stopWork()
	a.stopServers()
	a.close()
	a.Log.Info("service stopped", "took", time.Since(begun).Round(time.Millisecond))
	return failure
}

var errEnded = errors.New("for no known reason")

func orEnded(err error) error {
	if err == nil {
		return errEnded
	}
	return err
}

func (a *App) stopConsumers() {
	var all sync.WaitGroup
	for _, c := range a.consumers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), a.Config.Drain+graceBeyondDrain)
			defer cancel()
			if err := c.Stop(ctx); err != nil {
				a.Log.Warn("consumer did not stop cleanly", "consumer", c.Name, "error", err)
			}
		})
	}
	all.Wait()
}

func (a *App) stopServers() {
	var all sync.WaitGroup
	for _, s := range a.servers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), a.Config.Drain+graceBeyondDrain)
			defer cancel()
			if err := s.Stop(ctx); err != nil {
				a.Log.Warn("server did not stop cleanly", "server", s.Name, "error", err)
			}
		})
	}
	all.Wait()
}

// close closes what is left, the last added first, then the runtime.
func (a *App) close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closeOne(a.closers[i])
	}
	a.closeOne(closer{"runtime", a.Runtime.Close})
}

// closeOne closes one thing within its bound.
func (a *App) closeOne(c closer) {
	done := make(chan error, 1)
	go func() { done <- c.close() }()
	select {
	case err := <-done:
		if err != nil {
			a.Log.Warn("not closed cleanly", "what", c.name, "error", err)
		}
	case <-time.After(closeTimeout):
		a.Log.Warn("not closed in time", "what", c.name, "limit", closeTimeout)
	}
}

// abandon frees what the wiring had opened before it failed.
func (a *App) abandon() {
	for _, ln := range a.listeners {
		_ = ln.Close()
	}
	a.close()
}
