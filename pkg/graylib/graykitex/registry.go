package graykitex

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/cloudwego/kitex/pkg/registry"
	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/pkg/graylib"
)

// registrar is Kitex's registry over the runtime's announcements.
type registrar struct {
	o       *options
	server  *server.Options
	serving atomic.Int64 // calls and streams whose handlers run

	logTransport sync.Once

	mu        sync.Mutex
	announced *graylib.Announcement
	stopped   bool
}

// listening announces a server that listens on addr, and tells the runtime its address.
func (r *registrar) listening(addr net.Addr) error {
	reached, err := graylib.AdvertisedAddr(addr, r.o.advertise)
	if err != nil {
		if r.o.register || r.o.advertise != "" {
			return err
		}
		return nil // say, a unix socket
	}
	r.o.rt.SetAddr(reached)
	if !r.o.register {
		return nil
	}
	name := r.server.Svr.ServiceName
	if name == "" {
		name = r.o.rt.Identity().Service
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.stopped && r.announced == nil {
		r.announced = r.o.rt.Announce(graylib.Registration{Service: r.o.endpointOf(name), Addr: reached, Weight: r.o.weight})
	}
	return nil
}

// Register implements [registry.Registry]. The server is announced already when Kitex calls it; the background goes on
// trying where the registry is away, because an error here would end the server.
func (r *registrar) Register(info *registry.Info) error {
	if info == nil || info.Addr == nil {
		return nil
	}
	return r.listening(info.Addr)
}

// Deregister implements [registry.Registry]. Kitex calls it in Stop, before it closes the listener; it returns when callers
// have dropped the route.
func (r *registrar) Deregister(*registry.Info) error {
	r.mu.Lock()
	r.stopped = true
	a := r.announced
	r.mu.Unlock()
	if a == nil {
		return nil
	}
	return a.Withdraw(context.Background(), r.o.settle)
}
