// Package grayredis keeps in Redis which messages were handled, for all processes of a service together: an
// [idempotency.Store] over go-redis/v9.
//
//	store, err := grayredis.Open(&redis.UniversalOptions{Addrs: []string{"redis:6379"}})
//	c, err := grayrocketmq.OpenConsumer(options, grayrocketmq.WithIdempotency(store))
//
// Each key is one string of Redis that runs out by itself; each step is one script on one key, so a cluster works as well
// as one server (2.6 and later).
//
// A mark is as lasting as Redis makes it. Marks that Redis evicts (maxmemory-policy should be noeviction), loses in a crash
// (appendfsync everysec loses a second) or in a failover to a replica that lags are gone, and with them the protection of
// those messages; nothing else is affected.
package grayredis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

// ErrInvalidOption is wrapped where a setting can't be. The error names it and says what it may be.
var ErrInvalidOption = errors.New("invalid option")

// Store is an [idempotency.Store] in Redis. It is safe for concurrent use.
type Store struct {
	client redis.UniversalClient
	own    bool // Close closes the client
	prefix string
}

var _ idempotency.Store = (*Store)(nil)

// Option sets one thing of a [Store].
type Option func(*Store)

// WithPrefix sets what all keys begin with; the default is [graylib.RedisHandledPrefix]. Services that share a Redis need
// no prefixes of their own as long as the names of their consumer groups differ.
func WithPrefix(prefix string) Option { return func(s *Store) { s.prefix = prefix } }

// Open makes a store with a client of its own, which [Store.Close] closes. It connects to nothing yet. ContextTimeoutEnabled
// is switched on: without it a Redis that doesn't answer would hold each message for the client's own timeouts.
func Open(options *redis.UniversalOptions, opts ...Option) (*Store, error) {
	if options == nil || len(options.Addrs) == 0 {
		return nil, fmt.Errorf("%w: Addrs are empty: want host:port of one Redis server at least", ErrInvalidOption)
	}
	o := *options
	o.ContextTimeoutEnabled = true
	s, err := New(redis.NewUniversalClient(&o), opts...)
	if err != nil {
		return nil, err
	}
	s.own = true
	return s, nil
}

// New makes a store over a client of the program's, made with ContextTimeoutEnabled.
func New(client redis.UniversalClient, opts ...Option) (*Store, error) {
	enabled := true
	switch c := client.(type) {
	case nil:
		return nil, fmt.Errorf("%w: the client is nil", ErrInvalidOption)
	case *redis.Client:
		enabled = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		enabled = c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		enabled = c.Options().ContextTimeoutEnabled
	}
	if !enabled {
		return nil, fmt.Errorf("%w: ContextTimeoutEnabled of the Redis client is false: want true, or else a Redis that doesn't answer holds each message for the client's timeouts", ErrInvalidOption)
	}
	s := &Store{client: client, prefix: graylib.RedisHandledPrefix}
	for _, opt := range opts {
		opt(s)
	}
	return s, nil
}

// Close closes the client that Open made; that of New is the program's.
func (s *Store) Close() error {
	if !s.own {
		return nil
	}
	return s.client.Close()
}

// What stands in Redis: done, or whose claim it is.
const (
	valueDone  = "done"
	valueClaim = "claim:" // and the owner
)

// The scripts. KEYS[1] is the key, ARGV[1] the owner's value, ARGV[2] milliseconds.
var (
	claimScript = redis.NewScript(`
local v = redis.call('GET', KEYS[1])
if v and v ~= ARGV[1] then return v end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`)
	renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])`)
	releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`)
)

// Claim implements [idempotency.Store].
func (s *Store) Claim(ctx context.Context, key, owner string, lease time.Duration) (idempotency.State, error) {
	value, err := claimScript.Run(ctx, s.client, []string{s.prefix + key}, valueClaim+owner, lease.Milliseconds()).Text()
	switch {
	case err != nil:
		return 0, fmt.Errorf("redis: %w", err)
	case value == valueClaim+owner:
		return idempotency.Claimed, nil
	case value == valueDone:
		return idempotency.Done, nil
	}
	return idempotency.Held, nil
}

// Renew implements [idempotency.Store].
func (s *Store) Renew(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	held, err := renewScript.Run(ctx, s.client, []string{s.prefix + key}, valueClaim+owner, lease.Milliseconds()).Bool()
	if err != nil {
		return false, fmt.Errorf("redis: %w", err)
	}
	return held, nil
}

// Done implements [idempotency.Store].
func (s *Store) Done(ctx context.Context, key string, keep time.Duration) error {
	if err := s.client.Set(ctx, s.prefix+key, valueDone, keep).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// Release implements [idempotency.Store].
func (s *Store) Release(ctx context.Context, key, owner string) error {
	if err := releaseScript.Run(ctx, s.client, []string{s.prefix + key}, valueClaim+owner).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}
