package graynacos

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// holdback decides what of a service is in force when the registry's list shrinks. On the normal path the list is in
// force as it is. For a while after a reconnect it is not trusted to be whole: a server that was restarted knows only of
// the instances that have found it again. Until then an instance stays that is missing from the list, was not in any list
// since the reconnect, and still accepts connections.
//
// It holds state and decides; times and what refuses connections are told to it. Its user locks.
type holdback struct {
	window time.Duration
	until  time.Time           // lists before it may be partial
	seen   map[string]struct{} // addresses listed since the reconnect
	listed []graylib.Instance  // the newest list
	held   []graylib.Instance  // in force beside it
}

// reconnected begins a window.
func (h *holdback) reconnected(now time.Time) {
	if h.window <= 0 {
		return
	}
	h.until = now.Add(h.window)
	h.seen = make(map[string]struct{})
}

// list takes a new list and returns what is in force.
func (h *holdback) list(now time.Time, list []graylib.Instance) []graylib.Instance {
	before := h.inForce()
	h.listed, h.held = list, nil
	if !now.Before(h.until) {
		return h.inForce()
	}
	inList := make(map[string]struct{}, len(list))
	for _, in := range list {
		inList[in.Addr] = struct{}{}
		h.seen[in.Addr] = struct{}{}
	}
	for _, in := range before {
		_, listed := inList[in.Addr]
		_, left := h.seen[in.Addr]
		if !listed && !left {
			h.held = append(h.held, in)
		}
	}
	return h.inForce()
}

// check drops what refuses connections of what is held, and everything held when the window has ended. It tells whether
// that changed anything.
func (h *holdback) check(now time.Time, refused map[string]struct{}) bool {
	if len(h.held) == 0 {
		return false
	}
	var keep []graylib.Instance
	if now.Before(h.until) {
		for _, in := range h.held {
			if _, gone := refused[in.Addr]; !gone {
				keep = append(keep, in)
			}
		}
	}
	changed := len(keep) != len(h.held)
	h.held = keep
	return changed
}

func (h *holdback) inForce() []graylib.Instance {
	out := make([]graylib.Instance, 0, len(h.listed)+len(h.held))
	return append(append(out, h.listed...), h.held...)
}

// refusing returns the addresses of those that don't accept a TCP connection within the timeout.
func refusing(ctx context.Context, list []graylib.Instance, timeout time.Duration) map[string]struct{} {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		out = make(map[string]struct{})
	)
	for _, in := range list {
		wg.Go(func() {
			d := net.Dialer{Timeout: timeout}
			conn, err := d.DialContext(ctx, "tcp", in.Addr)
			if err == nil {
				_ = conn.Close()
				return
			}
			if ctx.Err() == nil {
				mu.Lock()
				out[in.Addr] = struct{}{}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return out
}
