package graynacos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Registry is a [graylib.Registry] on Nacos. It is safe for concurrent use.
//
// All requests are made in the background and repeated until they hold. After each reconnect they are made
// again: the client repeats them once, and what the server refuses then (it may still be starting) would be lost until the
// next reconnect.
type Registry struct {
	cluster *cluster
	opts    options
	id      graylib.Identity
	log     *slog.Logger
	client  *lazy[namingClient]

	ctx    context.Context
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	subs   map[string]*subscription
	regs   map[string]*registration

	// known are the tables of services that nacos has answered for; it is replaced, never changed. A request asks for one, and
	// reads one pointer. Empty once the registry is closed.
	known atomic.Pointer[map[string]*graylib.Table]

	stateMu sync.Mutex
	onState func(component, why string)
	states  map[string]string
}

var _ graylib.Registry = (*Registry)(nil)

func newRegistry(c *cluster, id graylib.Identity, log *slog.Logger, o options, client func() (namingClient, error)) *Registry {
	r := &Registry{
		cluster: c, opts: o, id: id, log: log, client: start(client),
		subs: make(map[string]*subscription), regs: make(map[string]*registration),
		onState: o.onState, states: make(map[string]string),
	}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	sdk.watch(r)
	return r
}

// naming returns the client once it is made.
func (r *Registry) naming(ctx context.Context) (namingClient, error) { return r.client.get(ctx) }

// Table implements [graylib.Registry]. The first call waits for the first attempt to subscribe, as long as ctx allows; an
// error wraps [ErrUnreachable], [ErrRefused] or ctx's. Later calls return at once.
func (r *Registry) Table(ctx context.Context, service string) (*graylib.Table, error) {
	if t := r.knownTable(service); t != nil {
		return t, nil
	}
	if service == "" {
		return graylib.NewTable(service), errors.New("graynacos: a table needs the service's name")
	}
	r.mu.Lock()
	s := r.subs[service]
	if r.closed {
		r.mu.Unlock()
		if s != nil {
			return s.table, ErrClosed
		}
		return graylib.NewTable(service), ErrClosed
	}
	if s == nil {
		s = newSubscription(r, service)
		r.subs[service] = s
		r.work.Go(func() { s.run(r.ctx) })
	}
	r.mu.Unlock()
	select {
	case <-s.tried:
	default:
		select {
		case <-s.tried:
		case <-ctx.Done():
			return s.table, fmt.Errorf("instances of %q: no answer from nacos at %s yet: %w", service, r.cluster, context.Cause(ctx))
		}
	}
	answered, err := s.state()
	if answered {
		r.know(s.table)
		return s.table, nil
	}
	if err == nil {
		err = ErrClosed
	}
	return s.table, fmt.Errorf("instances of %q: %w", service, err)
}

// knownTable returns the table of a service that nacos has answered for, or nil.
func (r *Registry) knownTable(service string) *graylib.Table {
	if m := r.known.Load(); m != nil {
		return (*m)[service]
	}
	return nil
}

// know remembers that nacos has answered for a table's service.
func (r *Registry) know(t *graylib.Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	m := map[string]*graylib.Table{t.Service(): t}
	if old := r.known.Load(); old != nil {
		maps.Copy(m, *old)
	}
	r.known.Store(&m)
}

// OnState sets who is told about the state of registrations: why one isn't in the registry, or "" when it is. fn is told
// what is known at once, and must not block. A runtime's SetReady fits.
func (r *Registry) OnState(fn func(component, why string)) {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	r.onState = fn
	for _, component := range slices.Sorted(maps.Keys(r.states)) {
		fn(component, r.states[component])
	}
}

func (r *Registry) setState(component, why string) {
	r.stateMu.Lock()
	defer r.stateMu.Unlock()
	r.states[component] = why
	if r.onState != nil {
		r.onState(component, why)
	}
}

// reconnected is told by the client's log of each new connection of any client of this process, before it is used.
func (r *Registry) reconnected() {
	now := time.Now()
	r.mu.Lock()
	subs := slices.Collect(maps.Values(r.subs))
	regs := slices.Collect(maps.Values(r.regs))
	r.mu.Unlock()
	for _, s := range subs {
		s.reconnected(now)
	}
	for _, g := range regs {
		notify(g.redo)
	}
}

// Close implements [graylib.Registry]. It waits for the registry to acknowledge what is taken back, as long as one
// request may take; what it doesn't, the server removes when it sees the connection closed.
func (r *Registry) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.known.Store(nil)
	regs := slices.Collect(maps.Values(r.regs))
	clear(r.regs)
	r.mu.Unlock()
	sdk.unwatch(r)

	ctx, cancel := context.WithTimeout(context.Background(), r.opts.timeout)
	defer cancel()
	errs := make([]error, len(regs))
	var wg sync.WaitGroup
	for i, g := range regs {
		wg.Go(func() { errs[i] = r.takeBack(ctx, g) })
	}
	wg.Wait()
	r.cancel(ErrClosed)

	end := func() {
		r.work.Wait()
		if naming, err := r.client.get(context.Background()); err == nil {
			closeNaming(naming)
		}
	}
	ended := make(chan struct{})
	go func() { defer close(ended); end() }()
	select {
	case <-ended:
	case <-ctx.Done(): // a request hangs; the rest is done when it returns
	}
	return errors.Join(errs...)
}
