package graylib

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [Ejection].
//
// One failure, or two, happen to any instance: a lost packet, a pause for garbage, a node that hiccups. Five in a row
// with no answer in between don't happen by chance: where one request of a hundred fails, once in ten billion. Fewer would
// eject the healthy, more would only cost users' requests. (Envoy's outlier detection has the same default,
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto.)
const (
	DefaultEjectAfter   = 5
	DefaultProbeTimeout = 500 * time.Millisecond
	DefaultProbePause   = time.Second
	DefaultProbeMax     = 30 * time.Second
)

// ejectAnyway is how many times [Ejection.After] failures in a row eject an instance that answers probes: it lives, and
// nevertheless serves nobody. Below it the cause is taken to be further down: a caller whose callee is frozen
// times out as well, and must not be ejected for it.
const ejectAnyway = 4

// Ejection says when an instance that fails is left out, and how it is asked whether it is back. A failure is a request
// that wasn't answered in time, or for which no connection could be made; an answer, whatever it says, ends the row.
//
// After that many failures in a row of one instance, counted over all callers of this process, a probe asks it (see
// [Probe]), which is no user's request. Where it doesn't answer, it is ejected: no request is sent to it any more. Probes
// go on at pauses that double, and when one is answered the instance is back. An instance that answers probes is
// ejected after four times as many failures.
//
// Nobody is ejected for ever, nor to the last: a lane of which all are ejected falls back to the baseline, and
// where all of the baseline are too, all are used as if none was.
type Ejection struct {
	After        int           // failures in a row; 0 = [DefaultEjectAfter], negative = nothing is ever ejected
	ProbeTimeout time.Duration // until a probe counts as unanswered; 0 = [DefaultProbeTimeout]
	ProbePause   time.Duration // before the first probe of an ejected instance; 0 = [DefaultProbePause]
	ProbeMax     time.Duration // to which the pause doubles; 0 = [DefaultProbeMax]
}

func (e Ejection) complete() Ejection {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if e.After == 0 {
		e.After = DefaultEjectAfter
	}
	def(&e.ProbeTimeout, DefaultProbeTimeout)
	def(&e.ProbePause, DefaultProbePause)
	def(&e.ProbeMax, max(DefaultProbeMax, e.ProbePause))
	return e
}

// WithEjection sets when instances that fail are left out. The default is the zero value of [Ejection].
func WithEjection(e Ejection) Option { return func(rt *Runtime) { rt.ejection = e } }

// Ejected is an instance that is left out now.
type Ejected struct {
	Addr  string    `json:"addr"`
	Tag   Tag       `json:"tag"`
	Since time.Time `json:"since"`
	Why   string    `json:"why"`
}

// healths is what a table knows of its instances beside the registry: which of them failed, and which are ejected.
type healths struct {
	mu       sync.Mutex
	settings Ejection // complete
	zone     string   // the caller's own
	attached bool
	closed   bool
	log      func() *slog.Logger
	probe    atomic.Pointer[Probe]
	ejected  atomic.Int64 // how often, since the start

	// suspects holds those that failed since they last answered, by address. It is nil where there is none, so that the
	// path of a request reads one pointer; it is replaced, never changed.
	suspects atomic.Pointer[map[string]*health]
}

// health is one suspect. Its fields are guarded by the table's healths.mu.
type health struct {
	in      Instance
	fails   int           // in a row
	watched bool          // a goroutine asks after it
	out     bool          // ejected
	pause   time.Duration // before the first probe of the next ejection; 0 = as set
	since   time.Time
	why     string

	ctx    context.Context // ends when it is no suspect any more
	cancel context.CancelFunc
}

// attach binds the table to the runtime that asked for it first: its zone, and how it ejects.
func (t *Table) attach(rt *Runtime) {
	t.health.mu.Lock()
	defer t.health.mu.Unlock()
	if t.health.attached {
		return
	}
	t.health.attached = true
	t.health.settings, t.health.zone, t.health.log = rt.ejection.complete(), rt.zone, rt.Logger
	t.rebuild(t.Load())
}

// suspect returns what is known of an instance that failed since it last answered, or nil.
func (h *healths) suspect(addr string) *health {
	if m := h.suspects.Load(); m != nil {
		return (*m)[addr]
	}
	return nil
}

// put adds or, with nil, removes a suspect. It is called with the lock held.
func (h *healths) put(addr string, s *health) {
	var m map[string]*health
	if old := h.suspects.Load(); old != nil {
		m = maps.Clone(*old)
	}
	if s != nil {
		if m == nil {
			m = make(map[string]*health, 1)
		}
		m[addr] = s
	} else {
		delete(m, addr)
	}
	if len(m) == 0 {
		h.suspects.Store(nil)
		return
	}
	h.suspects.Store(&m)
}

// drop forgets a suspect. It is called with the lock held, and tells whether it was ejected.
func (h *healths) drop(s *health) bool {
	s.cancel()
	h.put(s.in.Addr, nil)
	return s.out
}

// answered notes that an instance answered. Where nothing was wrong it reads one pointer.
func (t *Table) answered(in *Instance) {
	if s := t.health.suspect(in.Addr); s == nil {
		return
	}
	t.health.mu.Lock()
	defer t.health.mu.Unlock()
	s := t.health.suspect(in.Addr)
	if s == nil || s.in.ID != in.ID {
		return
	}
	if t.health.drop(s) {
		t.rebuild(t.Load())
		t.logBack(s, "it answered a request")
	}
}

// failed notes that an instance didn't answer in time, or couldn't be connected to.
func (t *Table) failed(in *Instance) { t.count(in, true) }

// count adds to an instance's row of failures. One that isn't sure never makes the row that ejects without a probe.
func (t *Table) count(in *Instance, sure bool) {
	h := &t.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settings.After < 0 || h.closed {
		return
	}
	s := h.suspect(in.Addr)
	if s == nil {
		if !t.Load().knows(in) {
			return // the registry has dropped it meanwhile
		}
		s = &health{in: *in}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		h.put(in.Addr, s)
	} else if s.in.ID != in.ID {
		return
	}
	if !sure && s.fails+1 >= ejectAnyway*h.settings.After {
		s.fails -= h.settings.After
	}
	s.fails++
	if s.out || s.watched || s.fails%h.settings.After != 0 {
		return
	}
	s.watched = true
	go t.lookAfter(s, s.fails >= ejectAnyway*h.settings.After)
}

// lookAfter ejects a suspect, unless it answers a probe or anyway is set, and asks it until it is back.
func (t *Table) lookAfter(s *health, anyway bool) {
	h := &t.health
	why := "it answers probes, but no request"
	if !anyway {
		err := t.ask(s)
		h.mu.Lock()
		if err == nil || s.ctx.Err() != nil {
			s.watched = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		why = err.Error()
	}
	h.mu.Lock()
	if s.ctx.Err() != nil {
		h.mu.Unlock()
		return
	}
	s.out, s.since, s.why = true, time.Now(), why
	h.ejected.Add(1)
	t.rebuild(t.Load())
	pause, most, fails, log := max(s.pause, h.settings.ProbePause), h.settings.ProbeMax, s.fails, t.logger()
	h.mu.Unlock()
	log.Warn("an instance is ejected", "service", t.service, "addr", s.in.Addr, "instance", s.in.ID,
		"instanceTag", s.in.Tag, "failed", fails, "why", why)

	for {
		timer := time.NewTimer(pause)
		select {
		case <-s.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		pause = min(2*pause, most)
		if t.ask(s) == nil {
			break
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.ctx.Err() != nil {
		return
	}
	if anyway { // it always answered probes: the next row of failures ejects it again, for longer, unless it answers a request
		s.out, s.watched, s.pause = false, false, pause
		s.fails = (ejectAnyway - 1) * h.settings.After
	} else {
		h.drop(s)
	}
	t.rebuild(t.Load())
	t.logBack(s, "it answered a probe")
}

// ask probes a suspect once.
func (t *Table) ask(s *health) error {
	t.health.mu.Lock()
	timeout := t.health.settings.ProbeTimeout
	t.health.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	return t.prober()(ctx, s.in.Addr)
}

// logBack is called with the lock held.
func (t *Table) logBack(s *health, why string) {
	t.logger().Info("an ejected instance is back", "service", t.service, "addr", s.in.Addr, "instance", s.in.ID,
		"instanceTag", s.in.Tag, "after", time.Since(s.since).Round(time.Millisecond), "why", why)
}

// logger is called with the lock held.
func (t *Table) logger() *slog.Logger {
	if t.health.log == nil {
		return slog.Default()
	}
	return t.health.log()
}

// forget drops the suspects that a new snapshot doesn't have: one that was started anew at an address is another
// instance. It is called with the lock held.
func (t *Table) forget(now *Snapshot) {
	m := t.health.suspects.Load()
	if m == nil {
		return
	}
	for _, s := range *m {
		if !now.knows(&s.in) {
			t.health.drop(s)
		}
	}
}

// knows tells whether the snapshot has the instance, under the same address and id.
func (s *Snapshot) knows(in *Instance) bool {
	for i := range s.all {
		if s.all[i].Addr == in.Addr && s.all[i].ID == in.ID {
			return true
		}
	}
	return false
}

// Ejected returns the instances that are left out now, in no order.
func (t *Table) Ejected() []Ejected {
	t.health.mu.Lock()
	defer t.health.mu.Unlock()
	m := t.health.suspects.Load()
	if m == nil {
		return nil
	}
	var list []Ejected
	for _, s := range *m {
		if s.out {
			list = append(list, Ejected{Addr: s.in.Addr, Tag: s.in.Tag, Since: s.since, Why: s.why})
		}
	}
	return list
}

// Ejections returns how often an instance was ejected since the table was made.
func (t *Table) Ejections() int64 { return t.health.ejected.Load() }

// endProbes ends all asking; nothing is ejected any more.
func (t *Table) endProbes() {
	t.health.mu.Lock()
	defer t.health.mu.Unlock()
	t.health.closed = true
	if m := t.health.suspects.Load(); m != nil {
		for _, s := range *m {
			t.health.drop(s)
		}
		t.rebuild(t.Load())
	}
}
