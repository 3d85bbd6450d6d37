package idempotency

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of a [Guard].
const (
	// DefaultLease is how long a key stays with an owner that says nothing more: what a crash delays, at most, of the
	// messages that were being handled. It is renewed at a third of it.
	DefaultLease = 5 * time.Second
	// DefaultKeep is how long marks are kept: longer than a service is down after a crash whose repeats still wait. With
	// Redis they take some 200 bytes each, so 1,000 messages/s fill 17 GB in a day: keep them for less there.
	DefaultKeep = 24 * time.Hour
	// DefaultTimeout bounds each step of the store.
	DefaultTimeout = time.Second
	// waitLeases is how many leases [Guard.Begin] waits where nothing is said: less than handlers may take to finish when a
	// queue changes hands (25 s).
	waitLeases = 3
)

const (
	shortestLease = 100 * time.Millisecond
	pollFirst     = 10 * time.Millisecond // between looks at a key that is held; doubled up to pollMost
	pollMost      = 250 * time.Millisecond
	markTries     = 3
	markPause     = 20 * time.Millisecond
	// restAfter is how long a store that failed isn't asked where work goes on without it, so that a store which doesn't
	// answer delays one message per second by the timeout, not all.
	restAfter = time.Second
)

// Guard lets work with a key begin once. It is safe for concurrent use.
type Guard struct {
	store                      Store
	lease, keep, timeout, wait time.Duration
	closed                     bool
	log                        *slog.Logger

	name  string // of this guard among all, in owners
	n     atomic.Uint64
	stats struct{ claimed, duplicates, held, unguarded, unmarked, lapsed atomic.Int64 }

	mu      sync.Mutex
	failing bool      // the store's last answer was an error
	rest    time.Time // it isn't asked before, where work goes on without it
}

// Option sets one thing of a [Guard].
type Option func(*Guard)

// WithLease sets how long a key stays with an owner that says nothing more: 100 ms or more. It should be several times what
// a step of the store, or a pause of the process, takes.
func WithLease(d time.Duration) Option { return func(g *Guard) { g.lease = d } }

// WithKeep sets how long marks are kept: no less than the lease.
func WithKeep(d time.Duration) Option { return func(g *Guard) { g.keep = d } }

// WithTimeout bounds each step of the store.
func WithTimeout(d time.Duration) Option { return func(g *Guard) { g.timeout = d } }

// WithWait sets how long Begin waits for a key that somebody else has; the default is three leases. Less than a lease
// means that messages of a process that was killed are sent back, and delivered again later.
func WithWait(d time.Duration) Option { return func(g *Guard) { g.wait = d } }

// WithFailClosed makes Begin fail where the store does, rather than go on without it: work waits for the store.
func WithFailClosed() Option { return func(g *Guard) { g.closed = true } }

// WithLogger sets where the guard says that its store fails. The default is [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(g *Guard) { g.log = l } }

// New makes a guard.
func New(store Store, opts ...Option) (*Guard, error) {
	g := &Guard{store: store, lease: DefaultLease, keep: DefaultKeep, timeout: DefaultTimeout, wait: -1, log: slog.Default(), name: rand.Text()}
	for _, opt := range opts {
		opt(g)
	}
	if g.wait == -1 {
		g.wait = waitLeases * g.lease
	}
	switch {
	case store == nil:
		return nil, fmt.Errorf("%w: the store is nil", ErrInvalidOption)
	case g.log == nil:
		return nil, fmt.Errorf("%w: the logger is nil", ErrInvalidOption)
	case g.lease < shortestLease:
		return nil, fmt.Errorf("%w: lease %v: want %v or more", ErrInvalidOption, g.lease, shortestLease)
	case g.keep < g.lease:
		return nil, fmt.Errorf("%w: keep %v: want no less than the lease of %v", ErrInvalidOption, g.keep, g.lease)
	case g.timeout <= 0:
		return nil, fmt.Errorf("%w: timeout %v: want more than 0", ErrInvalidOption, g.timeout)
	case g.wait < 0:
		return nil, fmt.Errorf("%w: wait %v: want 0 or more", ErrInvalidOption, g.wait)
	}
	return g, nil
}

// Stats are counts since the guard was made.
type Stats struct {
	Claimed    int64 // begun under a claim
	Duplicates int64 // found done
	Held       int64 // given up because somebody else had the key
	Unguarded  int64 // begun without a claim, the store having failed
	Unmarked   int64 // done, and not marked: the store had failed
	Lapsed     int64 // the lease had run out while the work ran: it may have been under way twice
}

// Stats returns the counts.
func (g *Guard) Stats() Stats {
	s := &g.stats
	return Stats{
		Claimed: s.claimed.Load(), Duplicates: s.duplicates.Load(), Held: s.held.Load(), Unguarded: s.unguarded.Load(),
		Unmarked: s.unmarked.Load(), Lapsed: s.lapsed.Load(),
	}
}

// Begin asks to work on a key. The claim says whether it was done before; otherwise the work may begin, and End must follow.
// It waits while somebody else has the key. An error means that the work may not begin now: it wraps [ErrHeld], [ErrStore]
// or the context's.
func (g *Guard) Begin(ctx context.Context, key string) (*Claim, error) {
	c := &Claim{guard: g, ctx: context.WithoutCancel(ctx), key: key, owner: g.name + "-" + strconv.FormatUint(g.n.Add(1), 36)}
	if g.resting() {
		c.unguarded = true
		g.stats.unguarded.Add(1)
		return c, nil
	}
	began := time.Now()
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		var state State
		err := g.step(ctx, func(ctx context.Context) (err error) {
			state, err = g.store.Claim(ctx, key, c.owner, g.lease)
			return err
		})
		switch {
		case ctx.Err() != nil:
			c.letGo()
			return nil, fmt.Errorf("claim of %q: %w", key, ctx.Err())
		case err != nil && g.closed:
			return nil, fmt.Errorf("%w: claim of %q: %w", ErrStore, key, err)
		case err != nil:
			c.unguarded = true
			g.stats.unguarded.Add(1)
			return c, nil //nolint:nilerr // that is what failing open means; step has logged it
		case state == Done:
			c.duplicate = true
			g.stats.duplicates.Add(1)
			return c, nil
		case state == Claimed:
			g.stats.claimed.Add(1)
			c.mu.Lock() // renew reads it
			c.renewal = time.AfterFunc(g.lease/3, c.renew)
			c.mu.Unlock()
			return c, nil
		case time.Since(began) >= g.wait:
			g.stats.held.Add(1)
			return nil, fmt.Errorf("%w: %q, for %v", ErrHeld, key, g.wait)
		}
		sleep(ctx, min(pause, g.wait-time.Since(began))) // where ctx ends, the next look says so
	}
}

// sleep waits, and tells whether ctx lasted.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// resting tells whether the store isn't to be asked now.
func (g *Guard) resting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failing && !g.closed && time.Now().Before(g.rest)
}

// step takes one step of the store within the timeout, and notes whether the store works.
func (g *Guard) step(ctx context.Context, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	err := f(limited)
	if err != nil && ctx.Err() != nil {
		return err // the caller gave up: the store is not to blame
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.failing
	if g.failing = err != nil; g.failing {
		g.rest = time.Now().Add(restAfter)
	}
	switch {
	case g.failing && !was && g.closed:
		g.log.ErrorContext(ctx, "the idempotency store fails: what needs it waits", "error", err)
	case g.failing && !was:
		g.log.ErrorContext(ctx, "the idempotency store fails: work goes on without it, and may be repeated", "error", err)
	case was && !g.failing:
		g.log.InfoContext(ctx, "the idempotency store answers again")
	}
	return err
}

// Claim is the right to work on a key, or the news that it was done. It is the one work's; only its lease is renewed by
// another goroutine.
type Claim struct {
	guard      *Guard
	ctx        context.Context // the work's, without its end
	key, owner string
	duplicate  bool
	unguarded  bool // there is no claim: the store had failed

	mu      sync.Mutex
	renewal *time.Timer
	ended   bool
}

// Duplicate tells that the work was done before: it is not to begin.
func (c *Claim) Duplicate() bool { return c.duplicate }

// renew gives the claim a new lease, again and again until the work has ended.
func (c *Claim) renew() {
	c.mu.Lock()
	defer c.mu.Unlock() // End waits: nothing is renewed that was let go
	if c.ended {
		return
	}
	g := c.guard
	var held bool
	err := g.step(c.ctx, func(ctx context.Context) (err error) {
		if held, err = g.store.Renew(ctx, c.key, c.owner, g.lease); err != nil || held {
			return err
		}
		state, err := g.store.Claim(ctx, c.key, c.owner, g.lease) // it ran out, and maybe nobody came
		held = state == Claimed
		return err
	})
	if err == nil && !held {
		g.stats.lapsed.Add(1)
		g.log.WarnContext(c.ctx, "a claim lapsed while its work ran: the same may be under way elsewhere", "key", c.key)
		return
	}
	c.renewal.Reset(g.lease / 3)
}

// End says how the work ended: done, and not to be done again; or failed, and free for the next try. It does nothing for a
// duplicate, nor the second time. It returns when the store has it, or has failed.
func (c *Claim) End(done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.duplicate || c.ended {
		return
	}
	c.ended = true
	if c.renewal != nil {
		c.renewal.Stop()
	}
	if !done {
		c.letGo()
		return
	}
	g := c.guard
	var err error
	for try := 0; try < markTries && (try == 0 || !errors.Is(err, context.DeadlineExceeded)); try++ {
		if c.unguarded && g.resting() {
			break // nothing was claimed either
		}
		if try > 0 {
			sleep(c.ctx, markPause)
		}
		if err = g.step(c.ctx, func(ctx context.Context) error { return g.store.Done(ctx, c.key, g.keep) }); err == nil {
			return
		}
	}
	g.stats.unmarked.Add(1)
}

// letGo frees the key. Where that fails the lease frees it.
func (c *Claim) letGo() {
	g := c.guard
	if c.unguarded && g.resting() {
		return
	}
	_ = g.step(c.ctx, func(ctx context.Context) error { return g.store.Release(ctx, c.key, c.owner) })
}
