package graylib

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

// DefaultSettle is how long a withdrawn endpoint goes on serving before its server may stop: the time in which callers
// drop the route. A push reaches callers in milliseconds, a lost one costs a poll; measured with 50 ms too little, 611 of
// 6,797 requests failed, with the route gone first none of 41,000.
const DefaultSettle = time.Second

// Bounds of announcing: a try is given up after announceTry, and the next one follows after a pause that doubles from
// announcePause to announcePauseMax, so that an endpoint is there within a few seconds of the registry's return.
const (
	announceTry      = 5 * time.Second
	announcePause    = 100 * time.Millisecond
	announcePauseMax = 2 * time.Second
)

// WithdrawTimeout is how long the registry is tried when an endpoint is taken back: a process that stops doesn't wait
// for a registry that is away, and which drops what it no longer hears of.
const WithdrawTimeout = 3 * time.Second

// announcements are the endpoints that a runtime offers.
type announcements struct {
	mu   sync.Mutex
	list []*Announcement
}

// Announcement is one endpoint that this process offers. Its methods are safe for concurrent use.
type Announcement struct {
	rt  *Runtime
	reg Registration

	cancel  context.CancelFunc // ends the tries
	stopped chan struct{}      // closed when no try is under way any more
	tried   bool               // the registry may have heard of it; read once stopped is closed
	known   bool               // callers may have heard of it; read once stopped is closed

	withdrawing sync.Once
	withdrawn   chan struct{} // closed when it is over
	err         error         // of Withdraw; read once withdrawn is closed
}

// Announce offers an endpoint: it is registered in the background, again and again until the registry takes it, so that a
// server starts with the registry away. Until then [Status] says "registration <service>: <why>". The same service at the
// same address is announced once: a repeated call returns the same announcement, until it is withdrawn. Without a
// registry, and on an instance that is [Runtime.Idle], nothing is announced, and the announcement is good
// for nothing but being withdrawn.
func (rt *Runtime) Announce(r Registration) *Announcement {
	rt.announced.mu.Lock()
	defer rt.announced.mu.Unlock()
	for _, a := range rt.announced.list {
		if a.reg.Service == r.Service && a.reg.Addr == r.Addr {
			return a
		}
	}
	if rt.zone != "" {
		metadata := maps.Clone(r.Metadata)
		if metadata == nil {
			metadata = make(map[string]string, 1)
		}
		metadata[MetadataZone] = rt.zone
		r.Metadata = metadata
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &Announcement{rt: rt, reg: r, cancel: cancel, stopped: make(chan struct{}), withdrawn: make(chan struct{})}
	if rt.registry == nil || rt.Idle() || rt.unnamed {
		close(a.stopped)
	} else {
		rt.SetReady(a.component(), "not registered yet")
		go a.run(ctx)
	}
	rt.announced.list = append(rt.announced.list, a)
	return a
}

func (a *Announcement) component() string { return "registration " + a.reg.Service }

func (a *Announcement) run(ctx context.Context) {
	defer close(a.stopped)
	logged := false
	for pause := announcePause; ; pause = min(2*pause, announcePauseMax) {
		try, cancel := context.WithTimeout(ctx, announceTry)
		a.tried = true
		err := a.rt.registry.Register(try, a.reg)
		cancel()
		a.known = a.known || err == nil || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)
		if err == nil {
			if _, tells := a.rt.registry.(StateTeller); tells {
				return
			}
			if ctx.Err() == nil {
				a.rt.SetReady(a.component(), "")
			}
			a.rt.Logger().Info("registered", "endpoint", a.reg.Service, "addr", a.reg.Addr)
			return
		}
		if ctx.Err() != nil {
			return
		}
		a.rt.SetReady(a.component(), err.Error())
		if !logged {
			a.rt.Logger().Warn("not registered yet; trying on", "endpoint", a.reg.Service, "addr", a.reg.Addr, "error", err)
			logged = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// Withdraw takes the endpoint back, and then waits for the settle time, in which callers drop the route: after it the
// server may stop without losing a request. It must be called while the server still serves. The process is not ready from
// here on. Further calls wait for the first one and return its error; where the endpoint was never
// registered there is nothing to settle. When ctx ends, a call stops waiting; that of the first one ends the withdrawing itself. The
// error says why the registry didn't take it back, or that ctx ended; the server may stop all the same.
func (a *Announcement) Withdraw(ctx context.Context, settle time.Duration) error {
	first := false
	a.withdrawing.Do(func() { first = true })
	if first {
		a.err = a.withdraw(ctx, settle)
		close(a.withdrawn)
		return a.err
	}
	select {
	case <-a.withdrawn:
		return a.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Announcement) withdraw(ctx context.Context, settle time.Duration) error {
	defer a.rt.announced.remove(a)
	a.rt.SetReady(a.component(), "withdrawn")
	a.cancel()
	<-a.stopped
	a.rt.SetReady(a.component(), "withdrawn") // again: a try that had just succeeded may have had a word
	if !a.tried {
		return nil
	}
	try, cancel := context.WithTimeout(ctx, WithdrawTimeout)
	err := a.rt.registry.Deregister(try, a.reg)
	cancel()
	a.rt.SetReady(a.component(), "withdrawn") // again: a StateTeller may have had a word
	if err != nil {
		a.rt.Logger().Warn("not deregistered; callers that still see it fail over once it refuses connections",
			"endpoint", a.reg.Service, "addr", a.reg.Addr, "error", err)
	} else {
		a.rt.Logger().Info("deregistered", "endpoint", a.reg.Service, "addr", a.reg.Addr, "settle", settle)
	}
	if !a.known {
		return err
	}
	select {
	case <-ctx.Done():
		return errors.Join(err, ctx.Err())
	case <-time.After(settle):
		return err
	}
}

func (l *announcements) remove(a *Announcement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.list {
		if l.list[i] == a {
			l.list = append(l.list[:i:i], l.list[i+1:]...)
			return
		}
	}
}

// Withdraw withdraws everything that this process announced, all at once, see [Announcement.Withdraw]. A program with
// several servers calls it before it stops any of them; their own withdrawing then has nothing left to wait for.
func (rt *Runtime) Withdraw(ctx context.Context, settle time.Duration) error {
	rt.announced.mu.Lock()
	list := append([]*Announcement(nil), rt.announced.list...)
	rt.announced.mu.Unlock()
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, a := range list {
		wg.Go(func() { errs[i] = a.Withdraw(ctx, settle) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
