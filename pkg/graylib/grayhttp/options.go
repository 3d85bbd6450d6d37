package grayhttp

import (
	"github.com/graychain/graychain/pkg/graylib"
)

// Option sets one thing of a handler or transport. Options that don't concern what they are given to are ignored.
type Option func(*options)

type options struct {
	rt    *graylib.Runtime
	edge  bool
	hosts map[string]bool
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

// apply reads the options. The error is that of the process-wide default.
func apply(opts []Option) (*options, error) {
	o := &options{hosts: make(map[string]bool)}
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
