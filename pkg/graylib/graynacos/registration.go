package graynacos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

// ErrRegistration is wrapped where an endpoint can't be registered as it is described.
var ErrRegistration = errors.New("invalid registration")

// maxWeight is the greatest weight that Nacos takes (com.alibaba.nacos.api.naming: 0 to 10000).
const maxWeight = 10000

// registration is one endpoint that is kept in the registry by a goroutine of its own.
type registration struct {
	param     vo.RegisterInstanceParam
	addr      string
	component string
	redo      chan struct{} // a reconnect happened
	cancel    context.CancelFunc
	done      chan struct{} // closed when the goroutine has ended

	mu         sync.Mutex
	registered bool          // acknowledged at least once
	attempt    chan struct{} // closed, and replaced, when an attempt ends
	err        error         // of the last attempt
}

// Register implements [graylib.Registry]: it returns nil once the registry has acknowledged. A weight of 0 counts as 1.
//
// Where Nacos doesn't take it yet the error wraps [ErrUnreachable], [ErrRefused] or ctx's; it goes on trying in the background all the
// same, until [Registry.Deregister], and tells the state to [Registry.OnState]. Calling it again with the same
// registration waits for the next attempt. A registration that is wrong, or whose service this process has registered at
// another address (Nacos's client keeps one instance of each service), gives an error that wraps
// [ErrRegistration].
func (r *Registry) Register(ctx context.Context, reg graylib.Registration) error {
	param, err := r.param(reg)
	if err != nil {
		return err
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return ErrClosed
	}
	g := r.regs[reg.Service]
	if g != nil && g.addr != reg.Addr {
		r.mu.Unlock()
		return fmt.Errorf("%w: service %q is registered at %s: deregister it before registering %s",
			ErrRegistration, reg.Service, g.addr, reg.Addr)
	}
	if g == nil || !reflect.DeepEqual(g.param, param) {
		g = r.startRegistration(g, param, reg)
	}
	g.mu.Lock()
	registered, attempt := g.registered, g.attempt
	g.mu.Unlock()
	r.mu.Unlock()
	if registered {
		return nil
	}
	select {
	case <-attempt:
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.registered {
			return nil
		}
		return g.err
	case <-g.done:
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("register %s at %s: no answer from nacos at %s yet: %w", reg.Service, reg.Addr, r.cluster, context.Cause(ctx))
	}
}

// startRegistration begins to keep an endpoint, in place of an older form of it. It is called with the lock held.
func (r *Registry) startRegistration(old *registration, param vo.RegisterInstanceParam, reg graylib.Registration) *registration {
	g := &registration{
		param: param, addr: reg.Addr, component: "registration " + reg.Service,
		redo: make(chan struct{}, 1), done: make(chan struct{}), attempt: make(chan struct{}),
	}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(r.ctx)
	r.regs[reg.Service] = g
	r.work.Go(func() {
		defer close(g.done)
		if old != nil {
			old.cancel()
			<-old.done
		}
		r.keep(ctx, g)
	})
	return g
}

// attempted notes how an attempt ended, and tells those who wait for it.
func (g *registration) attempted(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.registered = g.registered || err == nil
	g.err = err
	close(g.attempt)
	g.attempt = make(chan struct{})
}

func (g *registration) wasRegistered() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.registered
}

// param checks a registration and makes the client's form of it.
func (r *Registry) param(reg graylib.Registration) (vo.RegisterInstanceParam, error) {
	var none vo.RegisterInstanceParam
	if reg.Service == "" || strings.ContainsAny(reg.Service, "@ \t\r\n") {
		return none, fmt.Errorf("%w: service %q: want a name without space and @", ErrRegistration, reg.Service)
	}
	host, port, err := splitAddr(reg.Addr)
	if err != nil {
		return none, fmt.Errorf("%w: address of %s: %w: want host:port as callers reach it", ErrRegistration, reg.Service, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return none, fmt.Errorf("%w: address of %s: %q can't be called: want host:port as callers reach it",
			ErrRegistration, reg.Service, reg.Addr)
	}
	weight := reg.Weight
	if weight == 0 {
		weight = 1
	}
	if !goodWeight(weight) || weight > maxWeight {
		return none, fmt.Errorf("%w: weight of %s: %v: want more than 0 and at most %d", ErrRegistration, reg.Service, reg.Weight, maxWeight)
	}
	metadata := make(map[string]string, len(reg.Metadata)+3)
	maps.Copy(metadata, reg.Metadata)
	delete(metadata, graylib.MetadataTag)
	if r.id.Tag != graylib.Untagged {
		metadata[graylib.MetadataTag] = string(r.id.Tag)
	}
	if r.id.Instance != "" {
		metadata[graylib.MetadataInstance] = r.id.Instance
	}
	if r.id.Service != "" {
		metadata[graylib.MetadataService] = r.id.Service
	}
	return vo.RegisterInstanceParam{
		ServiceName: reg.Service, GroupName: r.opts.group, Ip: host, Port: uint64(port), Weight: weight,
		Enable: true, Healthy: true, Ephemeral: true, Metadata: metadata,
	}, nil
}

// keep registers g and does so again after each reconnect, until ctx ends.
func (r *Registry) keep(ctx context.Context, g *registration) {
	r.setState(g.component, "not registered with nacos at "+r.cluster.String()+" yet")
	registered, warned := false, false
	for {
		var b backoff
		for {
			err := r.register(ctx, g)
			switch {
			case ctx.Err() != nil: // Deregister takes back what this did
				g.attempted(err)
				return
			case err == nil && !registered:
				registered = true
				r.log.Info("registered", "service", g.param.ServiceName, "addr", g.addr, "nacos", r.cluster.String())
				r.setState(g.component, "")
			case err != nil && !registered:
				if !warned {
					warned = true
					r.log.Warn("can't register yet, going on trying", "service", g.param.ServiceName, "addr", g.addr, "error", err)
				}
				r.setState(g.component, err.Error())
			}
			g.attempted(err) // after the state, so that who waited finds it
			if err == nil {
				break
			}
			if b.wait(ctx) != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-g.redo:
			if sleep(ctx, r.opts.redoAfter) != nil {
				return
			}
		}
	}
}

func (r *Registry) register(ctx context.Context, g *registration) error {
	naming, err := r.naming(ctx)
	if err != nil {
		return r.cluster.unreachable(err)
	}
	param := g.param
	param.Metadata = maps.Clone(param.Metadata)
	ok, err := naming.RegisterInstance(param)
	if err == nil && !ok {
		err = errNotAllowed
	}
	if err != nil {
		return r.cluster.failed(err)
	}
	return nil
}

// Deregister implements [graylib.Registry]. Where ctx has no deadline it tries for as long as one request may take.
// Taking back what isn't registered is no error.
func (r *Registry) Deregister(ctx context.Context, reg graylib.Registration) error {
	r.mu.Lock()
	g := r.regs[reg.Service]
	if g == nil || g.addr != reg.Addr {
		r.mu.Unlock()
		return nil
	}
	delete(r.regs, reg.Service)
	r.mu.Unlock()
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.opts.timeout)
		defer cancel()
	}
	return r.takeBack(ctx, g)
}

// takeBack ends what keeps g registered, and returns once the server has acknowledged that it is gone, or with ctx.
func (r *Registry) takeBack(ctx context.Context, g *registration) error {
	g.cancel()
	result := make(chan error, 1)
	go func() { result <- r.deregister(ctx, g) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return fmt.Errorf("deregister %s at %s: no acknowledgement from nacos at %s: %w",
			g.param.ServiceName, g.addr, r.cluster, context.Cause(ctx))
	}
}

func (r *Registry) deregister(ctx context.Context, g *registration) error {
	<-g.done // a request may be under way: what it registers must be taken back after it
	r.setState(g.component, "taken back")
	naming, err := r.naming(ctx)
	if err != nil {
		return r.cluster.unreachable(err)
	}
	began := time.Now()
	var b backoff
	for {
		ok, err := naming.DeregisterInstance(vo.DeregisterInstanceParam{
			ServiceName: g.param.ServiceName, GroupName: g.param.GroupName, Ip: g.param.Ip, Port: g.param.Port, Ephemeral: true,
		})
		if err == nil && !ok {
			err = errNotAllowed
		}
		if err == nil {
			r.log.Info("deregistered", "service", g.param.ServiceName, "addr", g.addr, "took", time.Since(began).Round(time.Millisecond))
			return nil
		}
		if !g.wasRegistered() {
			return nil // no attempt was answered, and Nacos is still away: there is nothing to acknowledge
		}
		if b.wait(ctx) != nil {
			return fmt.Errorf("deregister %s at %s: %w", g.param.ServiceName, g.addr, r.cluster.failed(err))
		}
	}
}
