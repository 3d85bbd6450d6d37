package grayhttp

import (
	"net/http"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Option sets one thing of a handler or transport. Options that don't concern what they are given to are ignored.
type Option func(*options)

type options struct {
	rt         *graylib.Runtime
	edge       bool
	hosts      map[string]bool
	idempotent func(*http.Request) bool // nil: none is
	tryTimeout time.Duration            // 0 = none

	// of a server
	service   string // empty: the runtime's
	advertise string
	weight    float64
	settle    time.Duration
}

// WithRuntime sets the runtime. The default is the process-wide one, [graylib.Default].
func WithRuntime(rt *graylib.Runtime) Option { return func(o *options) { o.rt = rt } }

// WithEdge makes a handler the gateway's, where requests come in from outside: what only our own services may say is
// stripped from them, each gets its id and trace, and its chain is reported as an event. The answer bears the request's
// id and no hops.
func WithEdge() Option { return func(o *options) { o.edge = true } }

// WithHosts names hosts, as they stand in the URL, port included, that are called directly and belong to us: the tag
// is written onto requests to them, though nothing is chosen.
func WithHosts(hosts ...string) Option {
	return func(o *options) {
		for _, h := range hosts {
			o.hosts[h] = true
		}
	}
}

// WithIdempotent declares which requests a transport may send more than once, because the callee does the same for two as for
// one. By default none are: a method says little of what a service does with it. Such a request, where it has no body or
// one that can be had again ([http.Request.GetBody]), fails over when an instance doesn't answer in time
// ([WithTryTimeout]) or the connection breaks: each instance gets it at most once.
func WithIdempotent(is func(*http.Request) bool) Option {
	return func(o *options) { o.idempotent = is }
}

// WithTryTimeout sets how long one instance has to begin its answer to a request that [WithIdempotent] declares, before
// the next one is tried. It doesn't bound other requests. The default, 0, is none: the request's own deadline holds alone.
func WithTryTimeout(d time.Duration) Option { return func(o *options) { o.tryTimeout = d } }

// apply reads the options. The error is that of the process-wide default.
func apply(opts []Option) (*options, error) {
	o := &options{hosts: make(map[string]bool), weight: 1, settle: graylib.DefaultSettle}
	for _, fn := range opts {
		fn(o)
	}
	if o.rt == nil {
		rt, err := graylib.Default()
		if err != nil {
			return o, err
		}
		o.rt = rt
	}
	return o, nil
}
