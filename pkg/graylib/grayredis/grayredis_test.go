package grayredis_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayredis"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
	"github.com/graychain/graychain/pkg/graylib/idempotency/idempotencytest"
)

func TestMain(m *testing.M) {
	proc.GuardMain() // the Redis of a test ends with it
	redis.SetLogger(quiet{})
	os.Exit(m.Run())
}

func open(t *testing.T, addr string, opts ...grayredis.Option) *grayredis.Store {
	t.Helper()
	s, err := grayredis.Open(&redis.UniversalOptions{Addrs: []string{addr}}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestRedis runs the stores' suite on a real server.
func TestRedis(t *testing.T) {
	server := testenv.Redis(t)
	idempotencytest.Run(t, func(t *testing.T) idempotency.Store { return open(t, server.Addr()) })
}

// TestKeys checks what stands in Redis: the documented key, which runs out by itself.
func TestKeys(t *testing.T) {
	server := testenv.Redis(t)
	ctx := t.Context()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer func() { _ = client.Close() }()
	ours, err := grayredis.New(client)
	if err != nil {
		t.Fatal(err)
	}
	theirs := open(t, server.Addr(), grayredis.WithPrefix("theirs:"))
	if _, err := ours.Claim(ctx, "claimed", "me", time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*grayredis.Store{ours, theirs} {
		if err := s.Done(ctx, "done", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for key, longest := range map[string]time.Duration{
		graylib.RedisHandledPrefix + "claimed": time.Minute, graylib.RedisHandledPrefix + "done": time.Hour, "theirs:done": time.Hour,
	} {
		if ttl, err := client.PTTL(ctx, key).Result(); err != nil || ttl <= longest/2 || ttl > longest {
			t.Errorf("%s runs out in %v, %v; want %v", key, ttl, err, longest)
		}
	}
	if n, err := client.DBSize(ctx).Result(); err != nil || n != 3 {
		t.Errorf("%d keys, %v", n, err)
	}
	if state, err := theirs.Claim(ctx, "claimed", "you", time.Minute); err != nil || state != idempotency.Claimed {
		t.Errorf("another prefix: %v, %v", state, err)
	}
	if err := ours.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(ctx).Err(); err != nil {
		t.Errorf("Close closed the program's client: %v", err)
	}
}

// TestServerComesAndGoes: a Redis that stands still or is gone delays by the timeout and is gone round; when it is back, so
// is the protection.
func TestServerComesAndGoes(t *testing.T) {
	server := testenv.Redis(t)
	guard, err := idempotency.New(open(t, server.Addr()), idempotency.WithTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	work := func() (duplicate bool) {
		t.Helper()
		claim, err := guard.Begin(t.Context(), fmt.Sprint("k", n))
		if err != nil {
			t.Fatal(err)
		}
		claim.End(true)
		return claim.Duplicate()
	}
	protected := func(when string) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for ; ; n++ {
			if first := work(); first {
				t.Fatalf("%s: new, and a duplicate", when)
			}
			if work() {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: not protected", when)
			}
		}
	}
	protected("at first")
	for _, fault := range []struct {
		name        string
		begin, mend func()
	}{{"standing still", server.Pause, server.Resume}, {"gone", server.Stop, server.Start}} {
		fault.begin()
		n++
		began := time.Now()
		for range 20 {
			if work() {
				t.Errorf("%s: a duplicate", fault.name)
			}
		}
		if since := time.Since(began); since > 15*time.Second {
			t.Errorf("%s: 20 took %v", fault.name, since)
		}
		fault.mend()
		n++
		protected("after " + fault.name)
	}
	if s := guard.Stats(); s.Unguarded == 0 || s.Unmarked == 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestOptions(t *testing.T) {
	plain := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	for _, c := range []redis.UniversalClient{plain, cluster, ring} {
		if _, err := grayredis.New(c); !errors.Is(err, grayredis.ErrInvalidOption) || !strings.Contains(err.Error(), "ContextTimeoutEnabled") {
			t.Errorf("%T: %v", c, err)
		}
		_ = c.Close()
	}
	if _, err := grayredis.New(nil); !errors.Is(err, grayredis.ErrInvalidOption) {
		t.Errorf("no client: %v", err)
	}
	for _, o := range []*redis.UniversalOptions{nil, {}} {
		if _, err := grayredis.Open(o); !errors.Is(err, grayredis.ErrInvalidOption) || !strings.Contains(err.Error(), "Addrs") {
			t.Errorf("no address: %v", err)
		}
	}
}
