package idempotency_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a store that fails or hangs when told to.
type faulty struct {
	idempotency.Store
	mu   sync.Mutex
	fail error
	hang bool
	left int // it fails so many times more; 0 = until told otherwise
	asks int
}

var errDown = errors.New("store is down")

func (f *faulty) set(fail error, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.hang = fail, hang
}

func (f *faulty) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asks
}

func (f *faulty) before(ctx context.Context) error {
	f.mu.Lock()
	fail, hang := f.fail, f.hang
	f.asks++
	if f.left > 0 {
		if f.left--; f.left == 0 {
			f.fail = nil
		}
	}
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return fail
}

func (f *faulty) Claim(ctx context.Context, key, owner string, lease time.Duration) (idempotency.State, error) {
	if err := f.before(ctx); err != nil {
		return 0, err
	}
	return f.Store.Claim(ctx, key, owner, lease)
}

func (f *faulty) Renew(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	if err := f.before(ctx); err != nil {
		return false, err
	}
	return f.Store.Renew(ctx, key, owner, lease)
}

func (f *faulty) Done(ctx context.Context, key string, keep time.Duration) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	return f.Store.Done(ctx, key, keep)
}

func (f *faulty) Release(ctx context.Context, key, owner string) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	return f.Store.Release(ctx, key, owner)
}

// log is a logger's output.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func newGuard(t *testing.T, store idempotency.Store, opts ...idempotency.Option) (*idempotency.Guard, *log) {
	t.Helper()
	l := &log{}
	g, err := idempotency.New(store, append([]idempotency.Option{idempotency.WithLogger(slog.New(slog.NewTextHandler(l, nil)))}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return g, l
}

func begin(t *testing.T, g *idempotency.Guard, key string) *idempotency.Claim {
	t.Helper()
	c, err := g.Begin(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func stats(t *testing.T, g *idempotency.Guard, want idempotency.Stats) {
	t.Helper()
	if diff := cmp.Diff(want, g.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestDoneOnce(t *testing.T) {
	g, _ := newGuard(t, memory(t))
	c := begin(t, g, "k")
	if c.Duplicate() {
		t.Fatal("new, and a duplicate")
	}
	c.End(true)
	c.End(false) // nothing more
	for range 2 {
		d := begin(t, g, "k")
		if !d.Duplicate() {
			t.Error("done, and not a duplicate")
		}
		d.End(false) // nothing
	}
	stats(t, g, idempotency.Stats{Claimed: 1, Duplicates: 2})
}

func TestFailedIsLetInAgain(t *testing.T) {
	g, _ := newGuard(t, memory(t))
	for range 3 {
		c := begin(t, g, "k")
		if c.Duplicate() {
			t.Fatal("it failed, and is a duplicate")
		}
		c.End(false)
	}
	stats(t, g, idempotency.Stats{Claimed: 3})
}

// A key that is held is waited for: until it is done, or free.
func TestHeldIsWaitedFor(t *testing.T) { synctest.Test(t, testHeldIsWaitedFor) }

func testHeldIsWaitedFor(t *testing.T) {
	for _, done := range []bool{true, false} {
		g, _ := newGuard(t, memory(t), idempotency.WithWait(time.Minute))
		first := begin(t, g, "k")
		got := make(chan *idempotency.Claim)
		go func() {
			c, err := g.Begin(context.WithoutCancel(t.Context()), "k")
			if err != nil {
				t.Error(err)
			}
			got <- c
		}()
		select {
		case <-got:
			t.Fatal("two have it")
		case <-time.After(50 * time.Millisecond):
		}
		first.End(done)
		if c := <-got; c.Duplicate() != done {
			t.Errorf("the first one ended with %v, the second is a duplicate: %v", done, c.Duplicate())
		} else {
			c.End(false)
		}
	}
}

func TestHeldForTooLong(t *testing.T) { synctest.Test(t, testHeldForTooLong) }

func testHeldForTooLong(t *testing.T) {
	g, _ := newGuard(t, memory(t), idempotency.WithLease(3*time.Second), idempotency.WithWait(4*time.Second))
	first := begin(t, g, "k") // renewed, so it outlasts its lease
	began := time.Now()
	if _, err := g.Begin(t.Context(), "k"); !errors.Is(err, idempotency.ErrHeld) || !strings.Contains(err.Error(), `"k", for 4s`) {
		t.Errorf("held: %v", err)
	}
	if since := time.Since(began); since != 4*time.Second {
		t.Errorf("given up after %v", since)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := g.Begin(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context ended: %v", err)
	}
	first.End(true)
	if !begin(t, g, "k").Duplicate() {
		t.Error("done, and not a duplicate")
	}
	stats(t, g, idempotency.Stats{Claimed: 1, Held: 1, Duplicates: 1})
}

// TestRenewedWhileItsWorkRuns: work that outlasts its lease keeps its key. It does nothing meanwhile that would put its goroutine and
// the renewing one in order, so that the race detector sees what they share. The time is real:
// synctest's would order them too.
func TestRenewedWhileItsWorkRuns(t *testing.T) {
	t.Parallel()
	g, _ := newGuard(t, memory(t), idempotency.WithLease(9*time.Second), idempotency.WithWait(0))
	c := begin(t, g, "k")
	time.Sleep(10 * time.Second) // the work
	if _, err := g.Begin(t.Context(), "k"); !errors.Is(err, idempotency.ErrHeld) {
		t.Errorf("beyond its first lease: %v, want it to be held", err)
	}
	c.End(true)
	stats(t, g, idempotency.Stats{Claimed: 1, Held: 1})
}

// Who is gone without a word holds its key for a lease, no longer.
func TestCrashedOwner(t *testing.T) { synctest.Test(t, testCrashedOwner) }

func testCrashedOwner(t *testing.T) {
	store := memory(t)
	if _, err := store.Claim(t.Context(), "k", "crashed", 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	g, _ := newGuard(t, store, idempotency.WithLease(200*time.Millisecond))
	c := begin(t, g, "k")
	if c.Duplicate() {
		t.Error("not done, and a duplicate")
	}
	c.End(true)
}

func TestStoreFailsOpen(t *testing.T) { synctest.Test(t, testStoreFailsOpen) }

func testStoreFailsOpen(t *testing.T) {
	store := &faulty{Store: memory(t)}
	g, l := newGuard(t, store)
	store.set(errDown, false)
	for range 50 {
		c := begin(t, g, "k")
		if c.Duplicate() {
			t.Fatal("a duplicate")
		}
		c.End(true)
	}
	if n := store.asked(); n > 10 {
		t.Errorf("asked %d times within a second of its failing", n)
	}
	stats(t, g, idempotency.Stats{Unguarded: 50, Unmarked: 50})
	if n := l.count("work goes on without it"); n != 1 {
		t.Errorf("said %d times", n)
	}
	store.set(nil, false)
	eventually(t, "it is asked again", func() bool {
		c := begin(t, g, "k")
		c.End(true)
		return g.Stats().Claimed == 1
	})
	if !begin(t, g, "k").Duplicate() {
		t.Error("done, and not a duplicate")
	}
	if n := l.count("answers again"); n != 1 {
		t.Errorf("its return was said %d times", n)
	}
}

func TestStoreFailsClosed(t *testing.T) {
	store := &faulty{Store: memory(t)}
	g, _ := newGuard(t, store, idempotency.WithFailClosed())
	store.set(errDown, false)
	for range 3 {
		if _, err := g.Begin(t.Context(), "k"); !errors.Is(err, idempotency.ErrStore) || !errors.Is(err, errDown) {
			t.Errorf("the store is down: %v", err)
		}
	}
	store.set(nil, false)
	begin(t, g, "k").End(true) // at once
	stats(t, g, idempotency.Stats{Claimed: 1})
}

// A store that doesn't answer delays by the timeout.
func TestStoreHangs(t *testing.T) { synctest.Test(t, testStoreHangs) }

func testStoreHangs(t *testing.T) {
	store := &faulty{Store: memory(t)}
	g, _ := newGuard(t, store, idempotency.WithTimeout(time.Second))
	store.set(nil, true)
	began := time.Now()
	for range 20 {
		begin(t, g, "k").End(true)
	}
	if since := time.Since(began); since > 2*time.Second {
		t.Errorf("20 took %v", since)
	}
	stats(t, g, idempotency.Stats{Unguarded: 20, Unmarked: 20})
}

// The mark is tried again: a store that fails twice doesn't lose it.
func TestMarkIsTriedAgain(t *testing.T) { synctest.Test(t, testMarkIsTriedAgain) }

func testMarkIsTriedAgain(t *testing.T) {
	store := &faulty{Store: memory(t)}
	g, _ := newGuard(t, store)
	c := begin(t, g, "k")
	store.fail, store.left = errDown, 2
	c.End(true)
	if !begin(t, g, "k").Duplicate() {
		t.Error("marked, and not a duplicate")
	}
	stats(t, g, idempotency.Stats{Claimed: 1, Duplicates: 1})
}

// A claim that ran out is taken again where nobody came, and reported where somebody did.
func TestLeaseRunsOut(t *testing.T) { synctest.Test(t, testLeaseRunsOut) }

func testLeaseRunsOut(t *testing.T) {
	const lease = time.Second
	inner := memory(t)
	store := &faulty{Store: inner}
	g, l := newGuard(t, store, idempotency.WithLease(lease))
	c := begin(t, g, "k")
	lapse := func(witness string) { // the store fails until the lease is over: a witness claimed afterwards has run out
		store.set(errDown, false)
		if state, err := inner.Claim(t.Context(), witness, "w", lease); err != nil || state != idempotency.Claimed {
			t.Fatalf("%v, %v", state, err)
		}
		eventually(t, "the lease is over", func() bool {
			state, err := inner.Claim(t.Context(), witness, "another", time.Millisecond)
			return err == nil && state == idempotency.Claimed
		})
	}
	lapse("first")
	asked := store.asked()
	store.set(nil, false)
	eventually(t, "it is claimed again", func() bool { return store.asked() >= asked+3 }) // and renewed once
	if state, err := inner.Claim(t.Context(), "k", "other", time.Hour); err != nil || state != idempotency.Held {
		t.Errorf("%v, %v; want the owner to have it again", state, err)
	}
	stats(t, g, idempotency.Stats{Claimed: 1})
	lapse("second")
	if state, err := inner.Claim(t.Context(), "k", "other", time.Hour); err != nil || state != idempotency.Claimed {
		t.Errorf("%v, %v; want it to be free", state, err)
	}
	store.set(nil, false)
	eventually(t, "it is said", func() bool { return l.count("a claim lapsed") == 1 })
	stats(t, g, idempotency.Stats{Claimed: 1, Lapsed: 1})
	c.End(false)
	if state, err := inner.Claim(t.Context(), "k", "third", time.Hour); err != nil || state != idempotency.Held {
		t.Errorf("the former owner let go what isn't its own: %v, %v", state, err)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		opts []idempotency.Option
		want string
	}{
		{[]idempotency.Option{idempotency.WithLease(time.Millisecond)}, "lease 1ms: want 100ms or more"},
		{[]idempotency.Option{idempotency.WithKeep(time.Second)}, "keep 1s: want no less than the lease of 5s"},
		{[]idempotency.Option{idempotency.WithTimeout(0)}, "timeout 0s: want more than 0"},
		{[]idempotency.Option{idempotency.WithWait(-time.Second)}, "wait -1s: want 0 or more"},
		{[]idempotency.Option{idempotency.WithLogger(nil)}, "the logger is nil"},
	} {
		if _, err := idempotency.New(memory(t), c.opts...); !errors.Is(err, idempotency.ErrInvalidOption) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	if _, err := idempotency.New(nil); !errors.Is(err, idempotency.ErrInvalidOption) {
		t.Errorf("no store: %v", err)
	}
}
