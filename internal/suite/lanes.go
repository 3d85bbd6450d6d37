package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/pkg/graylib"
)

// Lane names instances to start: one of each service, that bear the tag. The zero tag is the baseline.
type Lane struct {
	Tag      graylib.Tag
	Services []string
}

// Baseline is all services without a tag.
var Baseline = Lane{Services: Services}

// check tells whether the lane can be started.
func (l Lane) check() error {
	if _, err := graylib.ParseTag(string(l.Tag)); err != nil {
		return err
	}
	allowed := Services
	if l.Tag != graylib.Untagged {
		allowed = Laned
	}
	for k, service := range l.Services {
		if !slices.Contains(allowed, service) {
			return fmt.Errorf("%w in a lane: %q: want some of %s", ErrService, service, strings.Join(allowed, ","))
		}
		if slices.Contains(l.Services[:k], service) {
			return fmt.Errorf("%w: %q is named twice", ErrService, service)
		}
	}
	return nil
}

// Add starts the lanes' instances, all at once, and returns when they are ready and those who call them know them. A lane
// that has instances gets further ones. On an error none of those started is left.
func (s *Suite) Add(ctx context.Context, lanes ...Lane) error {
	s.change.Lock()
	defer s.change.Unlock()
	var fresh []*Instance
	for _, l := range lanes {
		if err := l.check(); err != nil {
			return err
		}
		group, err := s.place(l, fresh)
		if err != nil {
			return err
		}
		fresh = append(fresh, group...)
	}
	if len(fresh) == 0 {
		return nil
	}
	s.mu.Lock()
	s.instances = append(s.instances, fresh...)
	s.mu.Unlock()

	began := time.Now()
	failed := s.startAll(ctx, fresh)
	if failed == nil {
		s.took("services ready", time.Since(began))
		routing := time.Now()
		if failed = s.WaitRouted(ctx); failed == nil {
			s.took("routes known", time.Since(routing))
		}
	}
	if failed != nil {
		undo, cancel := undoing(ctx)
		defer cancel()
		failed = errors.Join(failed, s.remove(undo, fresh))
	}
	s.save()
	return failed
}

// AddLane is Add of one lane.
func (s *Suite) AddLane(ctx context.Context, tag graylib.Tag, services ...string) error {
	return s.Add(ctx, Lane{tag, services})
}

// place gives ports and names to a lane's instances.
func (s *Suite) place(l Lane, fresh []*Instance) ([]*Instance, error) {
	others := append(s.Instances(), fresh...)
	var used []int
	reserved := map[int]bool{}
	for _, i := range others {
		used = append(used, i.slot)
		for _, a := range []string{i.HTTP, i.RPC} {
			reserved[portOf(a)] = true
		}
	}
	slot := freeSlot(used)
	if l.Tag != graylib.Untagged && slot == 0 {
		slot = freeSlot(append(used, 0)) // the first one is the baseline's
	}
	ports, err := place(s.options.Ports, slot, l.Services, s.options.FixedPorts, func(p int) bool { return reserved[p] || portTaken(p) })
	if err != nil {
		return nil, err
	}
	var out []*Instance
	for _, service := range l.Services {
		n := 1
		for _, i := range others {
			if i.Service == service && i.Tag == l.Tag {
				n++
			}
		}
		name := instanceName(service, l.Tag, n)
		for s.Instance(name) != nil {
			n++
			name = instanceName(service, l.Tag, n)
		}
		http, rpc := ports.Of(service)
		i := &Instance{
			Service: service, Tag: l.Tag, Name: name, HTTP: addr(http),
			Log: filepath.Join(s.Logs(), name+".log"), suite: s, slot: slot,
		}
		if rpc != 0 {
			i.RPC = addr(rpc)
		}
		out = append(out, i)
	}
	return out, nil
}

// startAll starts instances at the same time. The first failure ends the waiting for the others.
func (s *Suite) startAll(ctx context.Context, instances []*Instance) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	var mu sync.Mutex
	var first error
	for _, i := range instances {
		all.Go(func() {
			began := time.Now()
			s.options.Progress(Progress{Part: i.Name, Text: "starting"})
			err := i.start(ctx, s.options)
			if err == nil {
				s.options.Progress(Progress{Part: i.Name, Text: "ready on " + i.HTTP, Done: true, Took: time.Since(began)})
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
				cancel(errOther)
			}
		})
	}
	all.Wait()
	return first
}

var errOther = errors.New("another service failed")

// RemoveLane stops all instances that bear the tag, in their own order, and returns when their callers have dropped them.
func (s *Suite) RemoveLane(ctx context.Context, tag graylib.Tag) error {
	s.change.Lock()
	defer s.change.Unlock()
	var gone []*Instance
	for _, i := range s.Instances() {
		if i.Tag == tag {
			gone = append(gone, i)
		}
	}
	if len(gone) == 0 {
		return fmt.Errorf("%w: %s has no instances", ErrNoLane, laneName(tag))
	}
	err := s.remove(ctx, gone)
	s.save()
	if tag == graylib.Untagged {
		return err
	}
	return errors.Join(err, s.WaitRouted(ctx))
}

// remove stops instances and forgets them.
func (s *Suite) remove(ctx context.Context, gone []*Instance) error {
	var processes []*proc.Process
	for _, i := range gone {
		i.setLive(false)
		if p := i.proc(); p != nil {
			processes = append(processes, p)
		}
	}
	err := proc.StopAll(ctx, processes...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instances = slices.DeleteFunc(s.instances, func(i *Instance) bool { return slices.Contains(gone, i) })
	return err
}
