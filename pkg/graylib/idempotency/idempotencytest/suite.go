// Package idempotencytest is the suite that every [idempotency.Store] passes.
package idempotencytest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

const (
	long  = time.Minute            // nothing runs out within a test
	short = 300 * time.Millisecond // what runs out
	// within bounds the wait for what is short.
	within = 20 * time.Second
)

// Run runs the suite. open returns a store that knows none of the keys, or one that shares its keys with those opened
// before in the same test: the suite uses keys of its own each time.
func Run(t *testing.T, open func(t *testing.T) idempotency.Store) {
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"a key is one owner's", (*suite).one},
		{"released, it is free", (*suite).released},
		{"done, it stays done", (*suite).done},
		{"done by anybody", (*suite).doneUnclaimed},
		{"a lease runs out", (*suite).lapses},
		{"a renewed lease doesn't", (*suite).renews},
		{"a mark runs out", (*suite).forgets},
		{"a former owner changes nothing but by being done", (*suite).former},
		{"of many at once one gets it", (*suite).race},
		{"keys of any form", (*suite).forms},
		{"a context that ended", (*suite).ended},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.run(&suite{T: t, store: open(t), prefix: fmt.Sprintf("%s/%d/", t.Name(), time.Now().UnixNano())})
		})
	}
}

type suite struct {
	*testing.T
	store  idempotency.Store
	prefix string
}

func (s *suite) key(name string) string { return s.prefix + name }

func (s *suite) claim(key, owner string, lease time.Duration) idempotency.State {
	s.Helper()
	state, err := s.store.Claim(s.Context(), s.key(key), owner, lease)
	if err != nil {
		s.Fatal(err)
	}
	return state
}

func (s *suite) want(key, owner string, want idempotency.State) {
	s.Helper()
	if got := s.claim(key, owner, long); got != want {
		s.Errorf("claim of %q by %q: %v, want %v", key, owner, got, want)
	}
}

func (s *suite) renewed(key, owner string, lease time.Duration, want bool) {
	s.Helper()
	if got, err := s.store.Renew(s.Context(), s.key(key), owner, lease); err != nil || got != want {
		s.Errorf("renewal of %q by %q: %v, %v; want %v", key, owner, got, err, want)
	}
}

func (s *suite) release(key, owner string) {
	s.Helper()
	if err := s.store.Release(s.Context(), s.key(key), owner); err != nil {
		s.Fatal(err)
	}
}

func (s *suite) mark(key string, keep time.Duration) {
	s.Helper()
	if err := s.store.Done(s.Context(), s.key(key), keep); err != nil {
		s.Fatal(err)
	}
}

// until claims until the state comes, and returns how long that took.
func (s *suite) until(key, owner string, want idempotency.State) time.Duration {
	s.Helper()
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		state := s.claim(key, owner, long)
		switch since := time.Since(began); {
		case state == want:
			return since
		case since > within:
			s.Fatalf("claim of %q by %q: %v for %v, want %v", key, owner, state, within, want)
		}
		<-tick.C
	}
}

func (s *suite) one() {
	s.want("k", "a", idempotency.Claimed)
	s.want("k", "b", idempotency.Held)
	s.want("k", "a", idempotency.Claimed) // again
	s.want("k", "b", idempotency.Held)
	s.want("other", "b", idempotency.Claimed)
	s.renewed("k", "b", long, false)
	s.renewed("k", "a", long, true)
	s.renewed("free", "a", long, false)
	s.want("free", "b", idempotency.Claimed) // the renewal claimed nothing
}

func (s *suite) released() {
	s.want("k", "a", idempotency.Claimed)
	s.release("k", "b")
	s.want("k", "b", idempotency.Held)
	s.release("k", "a")
	s.renewed("k", "a", long, false)
	s.want("k", "b", idempotency.Claimed)
	s.release("free", "a")
}

func (s *suite) done() {
	s.want("k", "a", idempotency.Claimed)
	s.mark("k", long)
	s.want("k", "a", idempotency.Done)
	s.want("k", "b", idempotency.Done)
	s.renewed("k", "a", short, false)
	s.release("k", "a")
	s.want("k", "b", idempotency.Done)
	s.mark("k", long)
	s.want("k", "b", idempotency.Done)
	s.want("k2", "b", idempotency.Claimed)
}

func (s *suite) doneUnclaimed() {
	s.mark("k", long)
	s.want("k", "a", idempotency.Done)
	s.want("held", "a", idempotency.Claimed)
	s.mark("held", long) // whoever says so
	s.want("held", "b", idempotency.Done)
}

func (s *suite) lapses() {
	began := time.Now()
	if got := s.claim("k", "a", short); got != idempotency.Claimed {
		s.Fatalf("claim: %v", got)
	}
	s.until("k", "b", idempotency.Claimed)
	if since := time.Since(began); since < short/2 {
		s.Errorf("the lease of %v lasted %v", short, since)
	}
	s.renewed("k", "a", long, false)
	s.renewed("k", "b", long, true)
}

func (s *suite) renews() {
	var k, witness string
	s.inTime(func(try string) error {
		k, witness = "k"+try, "witness"+try
		for _, key := range []string{k, witness} {
			if got := s.claim(key, "a", short); got != idempotency.Claimed {
				s.Fatalf("claim: %v", got)
			}
		}
		held, err := s.store.Renew(s.Context(), s.key(k), "a", long)
		if err == nil && !held {
			err = errors.New("renewal by the owner: not held")
		}
		return err
	})
	s.until(witness, "b", idempotency.Claimed) // the first lease would be over
	s.want(k, "b", idempotency.Held)
}

// inTime takes steps that what is short must outlast. Where the machine stood still meanwhile they are taken again, with another try.
func (s *suite) inTime(steps func(try string) error) {
	s.Helper()
	for try := range 20 {
		began := time.Now()
		err := steps(fmt.Sprint("-", try))
		if err == nil {
			return
		}
		if since := time.Since(began); since < short/2 || try == 19 {
			s.Fatalf("%v after %v of %v", err, since, short)
		}
	}
}

func (s *suite) forgets() {
	var k string
	s.inTime(func(try string) error {
		k = "k" + try
		s.mark(k, short)
		if got := s.claim(k, "a", long); got != idempotency.Done {
			return fmt.Errorf("claim of what is marked: %v", got)
		}
		return nil
	})
	s.mark("longer", short)
	s.mark("longer", long)
	s.until(k, "a", idempotency.Claimed)
	s.want("longer", "a", idempotency.Done)
}

func (s *suite) former() {
	if got := s.claim("k", "a", short); got != idempotency.Claimed {
		s.Fatalf("claim: %v", got)
	}
	s.until("k", "b", idempotency.Claimed)
	s.release("k", "a")
	s.want("k", "c", idempotency.Held)
	s.mark("k", long) // a ended after all
	s.release("k", "b")
	s.want("k", "b", idempotency.Done)
}

func (s *suite) race() {
	for round := range 20 {
		key := fmt.Sprint("k", round)
		var got atomic.Int32
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				switch state, err := s.store.Claim(s.Context(), s.key(key), fmt.Sprint("owner", i), long); {
				case err != nil:
					s.Error(err)
				case state == idempotency.Claimed:
					got.Add(1)
				}
			})
		}
		wg.Wait()
		if n := got.Load(); n != 1 {
			s.Errorf("%d owners got a key", n)
		}
	}
}

func (s *suite) forms() {
	keys := []string{"with space", "quote'\"", "new\nline", "{brace}", "schlüssel", "\x00zero", "d", "c", strings.Repeat("long", 500)}
	for _, k := range keys {
		s.want(k, "done", idempotency.Claimed) // owners of any form, too
		s.want(k, k, idempotency.Held)
		s.release(k, "done")
		s.want(k, "d", idempotency.Claimed)
		s.want(k, "c", idempotency.Held)
		s.mark(k, long)
	}
	for _, k := range keys {
		s.want(k, "d", idempotency.Done)
	}
}

func (s *suite) ended() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	if state, err := s.store.Claim(ctx, s.key("k"), "a", long); !errors.Is(err, context.Canceled) {
		s.Errorf("claim: %v, %v; want the context's error", state, err)
	}
	if held, err := s.store.Renew(ctx, s.key("k"), "a", long); !errors.Is(err, context.Canceled) {
		s.Errorf("renewal: %v, %v; want the context's error", held, err)
	}
	if err := s.store.Done(ctx, s.key("k"), long); !errors.Is(err, context.Canceled) {
		s.Errorf("done: %v; want the context's error", err)
	}
	if err := s.store.Release(ctx, s.key("k"), "a"); !errors.Is(err, context.Canceled) {
		s.Errorf("release: %v; want the context's error", err)
	}
}
