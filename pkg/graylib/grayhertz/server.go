package grayhertz

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/app/server/registry"
	"github.com/cloudwego/hertz/pkg/common/config"

	"github.com/graychain/graychain/pkg/graylib"
)

// WrapServer makes a server gray-aware and returns it: it gets [ServerMiddleware], is registered once it listens,
// and in Shutdown and Spin is taken back first, goes on serving until callers have dropped the route, drains, and closes then.
// It must be called before routes are added. ExitWaitTimeout grows by the settle time, so that the time to drain stays
// what was set; it is used up only while requests are being served, and not, as Hertz does, by connections that clients keep
// open. Where the process-wide default can't be built, Run returns the reason.
func WrapServer(h *server.Hertz, opts ...Option) *server.Hertz {
	o, err := apply(opts)
	if err != nil {
		h.OnRun = append(h.OnRun, func(context.Context) error { return err })
		return h
	}
	ho := h.GetOptions()
	if _, twice := ho.Registry.(*registrar); twice {
		return h
	}
	if !o.register {
		h.Use(o.serve)
		return h
	}
	o.drainer = &drainer{}
	h.Use(o.serve)
	r := &registrar{o: o, server: ho, closeServer: h.Close}
	ho.Registry = r
	if ho.RegistryInfo == nil {
		ho.RegistryInfo = &registry.Info{}
	}
	ho.ExitWaitTimeout += o.settle
	h.OnRun = append(h.OnRun, func(context.Context) error {
		addr, err := r.resolve(ho.RegistryInfo)
		if err != nil {
			return err
		}
		o.rt.SetAddr(addr)
		go r.announceWhenListening(addr)
		return nil
	})
	return h
}

// Register returns Hertz's registry over the runtime's, for server.WithRegistry: it registers a second after the start, as
// Hertz does, and when the server stops returns from deregistering only when callers have dropped the route. The server's
// ExitWaitTime should allow for the settle time, which counts. [WrapServer] does all this by itself, without the delay.
func Register(opts ...Option) (registry.Registry, error) {
	o, err := apply(opts)
	if err != nil {
		return nil, err
	}
	return &registrar{o: o}, nil
}

// registrar is Hertz's registry over the runtime's announcements.
type registrar struct {
	o           *options
	server      *config.Options // nil: what Hertz says of the address is taken
	closeServer func() error    // closes the listener and idle connections

	mu        sync.Mutex
	announced *graylib.Announcement
	stopped   bool
}

// Register implements [registry.Registry]. It returns at once: the endpoint is registered in the background.
func (r *registrar) Register(info *registry.Info) error {
	addr, err := r.resolve(info)
	if err != nil {
		return err
	}
	r.o.rt.SetAddr(addr)
	if r.server == nil {
		r.announce(addr)
	}
	return nil
}

// Deregister implements [registry.Registry]. Hertz calls it before it closes the listener, and gives up stopping where
// it fails: so it doesn't. What is wrong is logged.
func (r *registrar) Deregister(*registry.Info) error {
	r.mu.Lock()
	r.stopped = true
	a := r.announced
	r.mu.Unlock()
	begun := time.Now()
	if a != nil {
		_ = a.Withdraw(context.Background(), r.o.settle) // has logged it
	}
	if r.server == nil || !r.o.drainer.wait(begun.Add(r.server.ExitWaitTimeout-drainWrite)) {
		return nil // Hertz goes on waiting, or gives up
	}
	time.Sleep(drainWrite)
	_ = r.closeServer() // says that idle connections are left
	return nil
}

func (r *registrar) announce(addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped {
		r.announced = r.o.rt.Announce(graylib.Registration{Service: r.o.service, Addr: addr, Weight: r.o.weight})
	}
}

// resolve returns the address to register.
func (r *registrar) resolve(info *registry.Info) (string, error) {
	listen, err := r.listenAddr(info)
	if err != nil {
		return "", err
	}
	return graylib.AdvertisedAddr(listen, r.o.advertise)
}

func (r *registrar) listenAddr(info *registry.Info) (net.Addr, error) {
	if r.server == nil {
		if info == nil || info.Addr == nil {
			return nil, fmt.Errorf("%w: registry.Info of server.WithRegistry: want Addr to be set", graylib.ErrInvalidConfig)
		}
		return info.Addr, nil
	}
	if r.server.Listener != nil {
		return r.server.Listener.Addr(), nil
	}
	addr, err := net.ResolveTCPAddr("tcp", r.server.Addr)
	if err != nil {
		return nil, fmt.Errorf("%w: listen address %q: %w", graylib.ErrInvalidConfig, r.server.Addr, err)
	}
	if addr.Port == 0 {
		return nil, fmt.Errorf("%w: listen address %q: a server that registers needs a port, or a listener (server.WithListener)",
			graylib.ErrInvalidConfig, r.server.Addr)
	}
	return addr, nil
}

// listenPoll is how often it is tried whether the server listens. Hertz's hooks run before it does.
const listenPoll = 5 * time.Millisecond

// announceWhenListening announces the server as soon as it takes connections. It ends then, or when the server stops.
func (r *registrar) announceWhenListening(addr string) {
	if r.server.Listener == nil {
		listen, err := r.listenAddr(nil)
		if err != nil {
			return
		}
		for {
			r.mu.Lock()
			stopped := r.stopped
			r.mu.Unlock()
			if stopped {
				return
			}
			conn, err := net.DialTimeout("tcp", reachable(listen), time.Second)
			if err == nil {
				_ = conn.Close()
				break
			}
			time.Sleep(listenPoll)
		}
	}
	r.announce(addr)
}

// reachable turns "all addresses" into this machine's own.
func reachable(listen net.Addr) string {
	host, port, err := net.SplitHostPort(listen.String())
	if err != nil {
		return listen.String()
	}
	switch ip := net.ParseIP(host); {
	case host == "", ip != nil && ip.IsUnspecified():
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
