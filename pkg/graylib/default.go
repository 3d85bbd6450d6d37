package graylib

import (
	"fmt"
	"log/slog"
	"sync"
)

// Backend connects a process-wide default to its registry and rules. Either may be nil.
type Backend func(id Identity, c Config, log *slog.Logger) (Registry, RulesSource, error)

var defaults struct {
	mu      sync.Mutex
	backend Backend
	rt      *Runtime
	err     error
}

// RegisterBackend sets how [Default] finds registry and rules. Package graynacos calls it in its init, so a program picks
// its backend by importing it, as with database/sql. The last one wins.
func RegisterBackend(b Backend) {
	defaults.mu.Lock()
	defer defaults.mu.Unlock()
	defaults.backend = b
}

// Default returns the process-wide runtime. It is built from the environment at the first call, never earlier, and the
// same answer, error included, is given from then on; [SetDefault] replaces it. It never panics.
func Default() (*Runtime, error) {
	defaults.mu.Lock()
	defer defaults.mu.Unlock()
	if defaults.rt == nil && defaults.err == nil {
		defaults.rt, defaults.err = fromEnvironment(defaults.backend)
	}
	return defaults.rt, defaults.err
}

// SetDefault replaces the process-wide runtime; nil makes the next [Default] build one anew. The old one is not closed.
func SetDefault(rt *Runtime) {
	defaults.mu.Lock()
	defer defaults.mu.Unlock()
	defaults.rt, defaults.err = rt, nil
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
// [RegisterBackend]) where a Nacos address is configured, and the observer's reporter where an observer is. Further
// options come last.
func Open(id Identity, c Config, backend Backend, opts ...Option) (*Runtime, error) {
	if backend == nil {
		defaults.mu.Lock()
		backend = defaults.backend
		defaults.mu.Unlock()
	}
	return open(id, c, backend, opts...)
}

func open(id Identity, c Config, backend Backend, opts ...Option) (*Runtime, error) {
	all := []Option{WithConfig(c)}
	if !c.Enabled {
		if id.Service == "" {
			id.Service = "disabled"
		}
		return New(id, all...)
	}
	id, err := id.complete()
	if err != nil {
		return nil, err
	}
	if c.NacosAddr != "" {
		if backend == nil {
			return nil, fmt.Errorf("%w: %s=%q, but no backend is linked in: import github.com/graychain/graychain/pkg/graylib/graynacos",
				ErrInvalidConfig, EnvNacosAddr, c.NacosAddr)
		}
		registry, source, err := backend(id, c, slog.Default())
		if err != nil {
			return nil, err
		}
		if registry != nil {
			all = append(all, WithRegistry(registry))
		}
		if source != nil {
			all = append(all, WithRules(source))
		}
	}
	if c.Observer != "" {
		reporter, err := NewHTTPReporter(c.Observer)
		if err != nil {
			return nil, err
		}
		all = append(all, WithReporter(reporter))
	}
	return New(id, append(all, opts...)...)
}
