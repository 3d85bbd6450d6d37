package graylib

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Runtime is what adapters share in one process: the identity, the registry, the rules, and where events go. It is safe for
// concurrent use. Programs that adopt graylib with the defaults never see it, see [Default].
type Runtime struct {
	id       Identity
	addr     atomic.Pointer[string]
	config   Config
	registry Registry
	rules    RulesSource
	reporter Reporter
	log      *slog.Logger
	started  time.Time

	entries     [3]entry // of arrivals
	wantsHops   bool     // every arrival collects the hops below it
	tellsReason bool     // every call tells its callee the reason

	telemetry     Telemetry // nil: nobody is told
	telemetryList telemetries

	malformedTags atomic.Int64
	unlistedMarks atomic.Int64
	propagation   propagation
	logMalformed  sync.Once
	logUnlisted   sync.Once

	mu       sync.Mutex
	notReady map[string]string // component -> why

	announced announcements
	consumers consumers
	routes    routes
	ejection  Ejection
	zone      string
	unnamed   bool // the service's name is made up
}

// Option sets one thing of a [Runtime].
type Option func(*Runtime)

// WithRegistry sets where instances are announced and found. Without one nothing is registered or chosen; the tag is
// carried to what the application's own resolver, or an address of its own, finds.
func WithRegistry(r Registry) Option { return func(rt *Runtime) { rt.registry = r } }

// WithRules sets the source of the rules. The default, and nil, list no lane.
func WithRules(s RulesSource) Option { return func(rt *Runtime) { rt.rules = s } }

// WithReporter sets where events go. The default, and nil, drop them. Events name hops, so a runtime that reports collects them,
// see [WithHops].
func WithReporter(r Reporter) Option { return func(rt *Runtime) { rt.reporter = r } }

// WithHops makes every arrival at this process collect the hops of the calls made in it, for [Chain] and for the answers of
// programs that show them. The same as GRAY_HOPS=on.
//
// Hops cost each call some microseconds, so they come back only where somebody wants them: a call asks for them when the arrival
// that it is made in was asked itself, or when its runtime has this option or reports events ([WithReporter]). So
// what the gateway's observer wants, or a program at the head of a chain, is asked of all services below, and
// a chain that nobody looks at carries the tag alone.
func WithHops() Option { return func(rt *Runtime) { rt.wantsHops = true } }

// WithLogger sets the logger. The default is [slog.Default] at the time of each record.
func WithLogger(l *slog.Logger) Option { return func(rt *Runtime) { rt.log = l } }

// WithConfig sets what the environment would have said of the infrastructure. The default is the zero value.
func WithConfig(c Config) Option { return func(rt *Runtime) { rt.config = c } }

// New makes a runtime. A wrong identity gives an error that wraps [ErrInvalidConfig] and names the variable.
func New(id Identity, opts ...Option) (*Runtime, error) {
	id, err := id.complete()
	if err != nil {
		return nil, err
	}
	rt := &Runtime{
		id: id, rules: StaticRules(NoRules), reporter: discard{}, started: time.Now(),
		notReady: make(map[string]string),
	}
	rt.entries = newEntries(rt)
	for _, o := range opts {
		o(rt)
	}
	if rt.zone == "" {
		rt.zone = rt.config.Zone
	}
	if err := rt.propagation.prepare(rt.config); err != nil {
		return nil, err
	}
	if rt.rules == nil {
		rt.rules = StaticRules(NoRules)
	}
	if rt.reporter == nil {
		rt.reporter = discard{}
	}
	if rt.config.Disabled {
		rt.switchedOff()
	}
	_, silent := rt.reporter.(discard)
	rt.wantsHops = rt.wantsHops || rt.config.Hops || !silent
	rt.tellsReason = rt.wantsHops || rt.telemetry != nil
	rt.addr.Store(&id.Addr)
	if r, ok := rt.registry.(StateTeller); ok {
		r.OnState(rt.SetReady)
	}
	if err := rt.attach(); err != nil {
		return nil, err
	}
	return rt, nil
}

// Identity returns who this process is.
func (rt *Runtime) Identity() Identity {
	id := rt.id
	id.Addr = *rt.addr.Load()
	return id
}

// SetAddr sets the address that hops show, unless one is set.
func (rt *Runtime) SetAddr(addr string) {
	if old := rt.addr.Load(); *old == "" {
		rt.addr.CompareAndSwap(old, &addr)
	}
}

// Config returns what the environment said of the infrastructure.
func (rt *Runtime) Config() Config { return rt.config }

// Enabled tells whether grayscale is on: false once the kill switch is thrown (GRAY_ENABLED=off).
//
// Without grayscale no tag is read, coloured, carried or marked, and where one stands in what is sent to our own services it is
// taken off; calls go to the baseline. The service goes on working: it is registered and found, calls fail over, the edge
// strips what comes from outside, request ids and traces are carried, and [StatusPath] and [ReadyPath] are answered. A baseline instance
// consumes messages as ever, those left of lanes as a stand-in, without their tags. An instance with a tag of its own is [Runtime.Idle].
func (rt *Runtime) Enabled() bool { return !rt.config.Disabled }

// Idle tells whether the kill switch is thrown on an instance that has a tag. It is in no lane then, and as new code it must not
// take the baseline's traffic either: it isn't registered, and consumes no messages. It is ready, so that a rollout of the switch goes on.
func (rt *Runtime) Idle() bool { return rt.config.Disabled && rt.id.Tag != Untagged }

// switchedOff says in the log what follows from the kill switch.
func (rt *Runtime) switchedOff() {
	for _, what := range rt.config.Ignored {
		rt.Logger().Warn("a malformed setting counts as unset, because grayscale is switched off", "error", what)
	}
	if rt.Idle() {
		rt.Logger().Warn("grayscale is switched off ("+EnvEnabled+"=off): this instance has a tag, so it is not registered and consumes no messages",
			"service", rt.id.Service, "tag", rt.id.Tag.String())
		return
	}
	rt.Logger().Warn("grayscale is switched off ("+EnvEnabled+"=off): no tag is read, carried or marked, and calls go to the baseline",
		"service", rt.id.Service)
}

// Registry returns the registry, or nil where there is none.
func (rt *Runtime) Registry() Registry { return rt.registry }

// Rules returns the rules in force, never nil.
func (rt *Runtime) Rules() Rules { return rt.rules.Rules() }

// RulesSource returns the source of the rules, never nil.
func (rt *Runtime) RulesSource() RulesSource { return rt.rules }

// Logger returns the logger, never nil.
func (rt *Runtime) Logger() *slog.Logger {
	if rt.log == nil {
		return slog.Default()
	}
	return rt.log
}

// Report hands an event to the observer, filling in who reports it, when, and an event id. It never blocks.
func (rt *Runtime) Report(e Event) {
	if !rt.Reports() {
		return
	}
	id := rt.Identity()
	e.V, e.Service, e.Instance, e.Tag = EventVersion, id.Service, id.Instance, id.Tag
	if e.EventID == "" {
		e.EventID = randomHex(16)
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	rt.reporter.Report(e)
}

// Reports tells whether anybody takes events: where nobody does, making one can be spared.
func (rt *Runtime) Reports() bool {
	_, nobody := rt.reporter.(discard)
	return !nobody
}

// Close ends what the runtime was given: registry, rules, reporter, in this order. A failure of one doesn't keep the next
// from being closed; the error joins them all.
func (rt *Runtime) Close() error {
	var errs []error
	for _, t := range rt.routes.load() {
		t.endProbes()
	}
	if rt.registry != nil {
		errs = append(errs, rt.registry.Close())
	}
	return errors.Join(append(errs, rt.rules.Close(), rt.reporter.Close())...)
}

func (rt *Runtime) malformedTag(err error) {
	rt.malformedTags.Add(1)
	rt.logMalformed.Do(func() {
		rt.Logger().Warn("a request or message bears a malformed tag and counts as untagged; "+
			"further ones are counted in "+StatusPath+" and not logged", "error", err)
	})
}

func (rt *Runtime) unlistedMark(tag Tag) {
	rt.unlistedMarks.Add(1)
	rt.logUnlisted.Do(func() {
		rt.Logger().Warn("a producer's own mark function names a lane that the rules don't list (or no rules were read yet), or that is retired: the message isn't marked with it; "+
			"further ones are counted in "+StatusPath+" and not logged", "tag", tag)
	})
}

// Table returns the table of an endpoint's instances, see [Registry].
func (rt *Runtime) Table(ctx context.Context, endpoint string) (*Table, error) {
	if rt.registry == nil {
		return NewTable(endpoint), invalid(EnvNacosAddr, rt.config.NacosAddr, "no registry is configured")
	}
	t, err := rt.registry.Table(ctx, endpoint)
	if t != nil && rt.routes.note(t) {
		t.attach(rt)
	}
	return t, err
}
