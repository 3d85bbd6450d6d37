package idempotency

import (
	"context"
	"errors"
	"time"
)

// State is what a store knows of a key.
type State int

// The states.
const (
	Claimed State = iota + 1 // it was free, and is now the caller's
	Held                     // somebody else's
	Done                     // it was done
)

// String returns the state as a word.
func (s State) String() string {
	switch s {
	case Claimed:
		return "claimed"
	case Held:
		return "held"
	case Done:
		return "done"
	default:
		return "unknown"
	}
}

// Store remembers keys. Implementations are safe for concurrent use and pass the suite of package idempotencytest. Each
// method is one step: nobody sees half of it. An error means that the step may have been taken or not. Keys and owners
// are not empty; durations are at least a millisecond.
type Store interface {
	// Claim makes a free key the owner's for the length of lease. A key is free if it was never claimed or marked, was
	// released, or if the lease or the mark has run out. Who owns the key already claims it again, with a new lease.
	Claim(ctx context.Context, key, owner string, lease time.Duration) (State, error)
	// Renew gives the owner a new lease from now. It tells whether the key still is the owner's, and changes nothing if not.
	Renew(ctx context.Context, key, owner string, lease time.Duration) (held bool, err error)
	// Done marks a key done for the length of keep, whoever owns it: the work is done.
	Done(ctx context.Context, key string, keep time.Duration) error
	// Release frees a key if it is the owner's. A mark stays.
	Release(ctx context.Context, key, owner string) error
}

// Errors of this package.
var (
	// ErrInvalidOption is wrapped where a setting can't be. The error names it and says what it may be.
	ErrInvalidOption = errors.New("invalid option")
	// ErrStore is wrapped by [Guard.Begin] where the store failed and [WithFailClosed] is set.
	ErrStore = errors.New("idempotency store failed")
	// ErrHeld is wrapped by [Guard.Begin] where somebody else had the key all the time.
	ErrHeld = errors.New("somebody else is still working on it")
)
