package grayrocketmq

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// masters knows the addresses of the brokers' masters. One that gave no good answer is asked for at the name server again
// before it is used the next time: another machine may be the master now. It is safe for concurrent use.
type masters struct {
	route func(ctx context.Context, topic string) (remoting.Route, error)

	mu    sync.Mutex
	at    map[string]string // broker name -> address
	stale map[string]bool   // those to be asked for again
}

// set takes over what routes have just said.
func (b *masters) set(at map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at, b.stale = maps.Clone(at), nil
}

// addresses returns the masters' addresses as last known.
func (b *masters) addresses() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Values(b.at))
}

// ask has the master of a broker that has queues of a topic asked. An error of f makes its address one to be asked for again.
func (b *masters) ask(ctx context.Context, broker, topic string, f func(addr string) error) error {
	addr, err := b.of(ctx, broker, topic)
	if err != nil {
		return err
	}
	if err = f(addr); err != nil && ctx.Err() == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.at[broker] == addr {
			if b.stale == nil {
				b.stale = make(map[string]bool)
			}
			b.stale[broker] = true
		}
	}
	return err
}

// of returns an address: the known one; a new one where that is stale, or none is known; the stale one while the name server
// has no other.
func (b *masters) of(ctx context.Context, broker, topic string) (string, error) {
	b.mu.Lock()
	known, stale := b.at[broker], b.stale[broker]
	b.mu.Unlock()
	if known != "" && !stale {
		return known, nil
	}
	r, err := b.route(ctx, topic)
	addr := r.Brokers[broker]
	switch {
	case addr == "" && known != "":
		return known, nil
	case err != nil:
		return "", err
	case addr == "":
		return "", fmt.Errorf("%w: %q", errNoMaster, broker)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at == nil {
		b.at = make(map[string]string)
	}
	b.at[broker] = addr
	delete(b.stale, broker)
	return addr, nil
}
