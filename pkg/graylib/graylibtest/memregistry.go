package graylibtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// ErrRegistryDown is what a registry answers while it is made to be away, see [Registry.SetDown].
var ErrRegistryDown = errors.New("registry is down")

// Registry is a registry in memory, shared by any number of runtimes of one process: each gets a view of its own by
// [Registry.As]. It is safe for concurrent use. The zero value is not usable; see [NewRegistry].
type Registry struct {
	mu        sync.Mutex
	instances map[string]map[string]graylib.Instance // service -> address -> instance
	tables    map[string][]*graylib.Table
	delay     time.Duration
	down      bool
	timers    sync.WaitGroup
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{instances: make(map[string]map[string]graylib.Instance), tables: make(map[string][]*graylib.Table)}
}

// SetDelay sets how long a change takes until callers see it. The default is none: they see it at once.
func (r *Registry) SetDelay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// SetDown makes the registry be away: registering, deregistering and first looks fail with [ErrRegistryDown],
// and tables keep what they have.
func (r *Registry) SetDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

// Put adds or replaces an instance by hand, under its service and address.
func (r *Registry) Put(in graylib.Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(in)
}

func (r *Registry) put(in graylib.Instance) {
	if in.ID == "" {
		in.ID = in.Service + "@" + in.Addr
	}
	if in.Weight == 0 {
		in.Weight = 1
	}
	if r.instances[in.Service] == nil {
		r.instances[in.Service] = make(map[string]graylib.Instance)
	}
	r.instances[in.Service][in.Addr] = in
	r.push(in.Service)
}

// Remove takes an instance away by hand.
func (r *Registry) Remove(service, addr string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.instances[service], addr)
	r.push(service)
}

// Instances returns what is registered under a service's name, in the order of the addresses.
func (r *Registry) Instances(service string) []graylib.Instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list(service)
}

func (r *Registry) list(service string) []graylib.Instance {
	var list []graylib.Instance
	for _, in := range r.instances[service] {
		list = append(list, in)
	}
	slices.SortFunc(list, func(a, b graylib.Instance) int {
		if a.Addr < b.Addr {
			return -1
		}
		return 1
	})
	return list
}

// push brings the service's tables up to date, now or after the delay.
func (r *Registry) push(service string) {
	if len(r.tables[service]) == 0 {
		return
	}
	if r.delay == 0 {
		r.store(service)
		return
	}
	r.timers.Add(1)
	time.AfterFunc(r.delay, func() {
		defer r.timers.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.store(service)
	})
}

func (r *Registry) store(service string) {
	s := graylib.NewSnapshot(r.list(service))
	for _, t := range r.tables[service] {
		t.Store(s)
	}
}

// Wait returns when no change is on its way any more.
func (r *Registry) Wait() { r.timers.Wait() }

// As returns the registry as one process sees it: what it registers bears the identity's tag and instance name.
func (r *Registry) As(id graylib.Identity) graylib.Registry {
	return &view{r: r, id: id, tables: make(map[string]*graylib.Table), registered: make(map[[2]string]bool)}
}

type view struct {
	r  *Registry
	id graylib.Identity

	// Both are guarded by r.mu.
	tables     map[string]*graylib.Table
	registered map[[2]string]bool
}

func (v *view) Table(_ context.Context, service string) (*graylib.Table, error) {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	if t := v.tables[service]; t != nil {
		return t, nil
	}
	t := graylib.NewTable(service)
	v.tables[service] = t
	v.r.tables[service] = append(v.r.tables[service], t)
	if v.r.down {
		delete(v.tables, service) // so that the next look tries again; a change fills this table all the same
		return t, fmt.Errorf("%w: first look at %q", ErrRegistryDown, service)
	}
	t.Store(graylib.NewSnapshot(v.r.list(service)))
	return t, nil
}

func (v *view) Register(_ context.Context, reg graylib.Registration) error {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	if v.r.down {
		return fmt.Errorf("%w: registering %q", ErrRegistryDown, reg.Service)
	}
	v.registered[[2]string{reg.Service, reg.Addr}] = true
	v.r.put(graylib.Instance{
		ID: v.id.Instance + "@" + reg.Service, Service: reg.Service, Addr: reg.Addr, Tag: v.id.Tag, Weight: reg.Weight,
		Zone: reg.Metadata[graylib.MetadataZone],
	})
	return nil
}

func (v *view) Deregister(_ context.Context, reg graylib.Registration) error {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	if v.r.down {
		return fmt.Errorf("%w: deregistering %q", ErrRegistryDown, reg.Service)
	}
	delete(v.registered, [2]string{reg.Service, reg.Addr})
	delete(v.r.instances[reg.Service], reg.Addr)
	v.r.push(reg.Service)
	return nil
}

// Close takes back what is still registered and lets go of the tables, which keep what they have.
func (v *view) Close() error {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	for key := range v.registered {
		delete(v.r.instances[key[0]], key[1])
		v.r.push(key[0])
	}
	clear(v.registered)
	for service, t := range v.tables {
		v.r.tables[service] = slices.DeleteFunc(v.r.tables[service], func(o *graylib.Table) bool { return o == t })
	}
	clear(v.tables)
	return nil
}
