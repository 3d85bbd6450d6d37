package graylib

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// Backend connects a process-wide default to its registry and rules. Either may be nil.
type Backend func(id Identity, c Config, log *slog.Logger) (Registry, RulesSource, error)

// defaults is the process-wide default: what it is built with, and the building that is under way or done.
var defaults struct {
	mu      sync.Mutex
	backend Backend
	current *building
}

// building makes one runtime, once. It isn't done under the lock: a backend may take seconds.
type building struct {
	once sync.Once
	rt   *Runtime
	err  error
}

func (b *building) do(backend Backend) (*Runtime, error) {
	b.once.Do(func() {
		defer func() {
			if p := recover(); p != nil {
				b.rt, b.err = nil, fmt.Errorf("%w: the backend panicked: %v", ErrInvalidConfig, p)
			}
		}()
		b.rt, b.err = fromEnvironment(backend)
	})
	return b.rt, b.err
}

// RegisterBackend sets how [Default] finds registry and rules. Package graynacos calls it in its init, so a program picks
// its backend by importing it, as with database/sql. The last one wins.
func RegisterBackend(b Backend) {
	defaults.mu.Lock()
	defer defaults.mu.Unlock()
	defaults.backend = b
}

// Default returns the process-wide runtime. It is built from the environment at the first call, never earlier, and the
// same answer, error included, is given from then on; [SetDefault] replaces it. It never panics. A backend must not call it.
func Default() (*Runtime, error) {
	defaults.mu.Lock()
	if defaults.current == nil {
		defaults.current = &building{}
	}
	current, backend := defaults.current, defaults.backend
	defaults.mu.Unlock()
	return current.do(backend)
}

// SetDefault replaces the process-wide runtime; nil makes the next [Default] build one anew. The old one is not closed, and
// a call of Default that is under way still returns it.
func SetDefault(rt *Runtime) {
	var b *building
	if rt != nil {
		b = &building{rt: rt}
		b.once.Do(func() {}) // it is built already
	}
	defaults.mu.Lock()
	defer defaults.mu.Unlock()
	defaults.current = b
}

func fromEnvironment(backend Backend) (*Runtime, error) {
	c, err := ConfigFrom(nil)
	if err != nil {
		return nil, err
	}
	id, err := IdentityFrom(nil)
	if err != nil {
		return nil, err
	}
	return open(id, c, backend)
}

// Open makes a runtime for an identity and a configuration: with the registry and rules of the backend (nil = that of
// [RegisterBackend]) where a Nacos address is configured, the journal where a folder for it is, and the observer's reporter
// where an observer alone is. Further options come last.
//
// With the kill switch thrown (GRAY_ENABLED=off, see [Runtime.Enabled]) nothing is reported, and what is wrong with the registry's
// configuration is logged, and there is no registry then. The identity alone is checked as ever, because it says whether the instance may take the
// baseline's traffic; without a service's name nothing is registered.
func Open(id Identity, c Config, backend Backend, opts ...Option) (*Runtime, error) {
	if backend == nil {
		defaults.mu.Lock()
		backend = defaults.backend
		defaults.mu.Unlock()
	}
	return open(id, c, backend, opts...)
}

func open(id Identity, c Config, backend Backend, opts ...Option) (rt *Runtime, err error) {
	all := []Option{WithConfig(c)}
	if c.Disabled && id.Service == "" {
		id.Service = unnamed
		all = append(all, func(rt *Runtime) { rt.unnamed = true })
	}
	if id, err = id.complete(); err != nil {
		return nil, err
	}
	var opened []io.Closer
	defer func() {
		if err != nil {
			for _, o := range opened {
				_ = o.Close() // the error that is returned is the cause
			}
		}
	}()
	var given Runtime // what the further options say; what is opened here logs to the same logger
	for _, o := range opts {
		o(&given)
	}
	switch {
	case c.Disabled:
	case c.Journal != "":
		journal, err := OpenJournal(c.Journal, id, c.Observer, given.Logger())
		if err != nil {
			return nil, err
		}
		opened = append(opened, journal)
		all = append(all, WithReporter(journal))
	case c.Observer != "":
		reporter, err := NewHTTPReporter(c.Observer)
		if err != nil {
			return nil, err
		}
		opened = append(opened, reporter)
		all = append(all, WithReporter(reporter))
	}
	if c.NacosAddr != "" {
		registry, source, err := connect(backend, id, c, given.Logger())
		switch {
		case err != nil && !c.Disabled:
			return nil, err
		case err != nil:
			given.Logger().Warn("no registry, and grayscale is switched off: services are not found by their names", "error", err)
			all = append(all, WithRules(unknownRules{})) // no rules that list nothing: whose a tagged message is isn't known
		}
		if registry != nil {
			opened = append(opened, registry)
			all = append(all, WithRegistry(registry))
		}
		if source != nil {
			opened = append(opened, source)
			all = append(all, WithRules(source))
		}
	}
	return New(id, append(all, opts...)...)
}

// unknownRules is a source that has never read a document, and never will.
type unknownRules struct{ staticRules }

// Rules implements [RulesSource].
func (unknownRules) Rules() Rules { return NoRules }

// Status implements [RulesSource].
func (unknownRules) Status() RulesStatus { return RulesStatus{Origin: "none"} }

// connect makes registry and rules, either of which may be nil.
func connect(backend Backend, id Identity, c Config, log *slog.Logger) (Registry, RulesSource, error) {
	if backend == nil {
		return nil, nil, fmt.Errorf("%w: %s=%q, but no backend is linked in: import github.com/graychain/graychain/pkg/graylib/graynacos",
			ErrInvalidConfig, EnvNacosAddr, c.NacosAddr)
	}
	return backend(id, c, log)
}

// unnamed is the service of a process whose kill switch is thrown and that was given no name: it registers nothing.
const unnamed = "disabled"
