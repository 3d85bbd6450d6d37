package graykitex

import (
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// Option sets one thing of a suite. Options that don't concern what they are given to are ignored.
type Option func(*options)

type options struct {
	rt        *graylib.Runtime
	err       error // of the process-wide default
	register  bool
	service   string
	endpoint  string
	advertise string
	weight    float64
	settle    time.Duration

	idempotent map[string]bool // methods; nil: none is
	tryTimeout time.Duration   // 0 = none
}

// WithRuntime sets the runtime. The default is the process-wide one, [graylib.Default].
func WithRuntime(rt *graylib.Runtime) Option { return func(o *options) { o.rt = rt } }

// WithoutRegistration leaves the server out of the registry.
func WithoutRegistration() Option { return func(o *options) { o.register = false } }

// WithService sets the name of the service, as rules have it: the server registers, and the client looks it up, as
// <name>.rpc. The default is Kitex's own name of it (server.WithServerBasicInfo, the first argument of NewClient), and
// for a server without one the runtime's service.
func WithService(name string) Option { return func(o *options) { o.service = name } }

// WithEndpoint sets the name in the registry exactly, for services that are registered without ".rpc".
func WithEndpoint(name string) Option { return func(o *options) { o.endpoint = name } }

// WithAdvertise sets the host, or host:port, by which others reach the server. See [graylib.AdvertisedAddr] for the default.
func WithAdvertise(addr string) Option { return func(o *options) { o.advertise = addr } }

// WithWeight sets the weight with which the server registers; the default is 1.
func WithWeight(w float64) Option { return func(o *options) { o.weight = w } }

// WithSettle sets how long the server goes on serving between being deregistered and stopping. The default is
// [graylib.DefaultSettle].
func WithSettle(d time.Duration) Option { return func(o *options) { o.settle = d } }

// WithIdempotent declares methods, by their names in the IDL, that a client may call more than once for one call, because the
// callee does the same for two as for one. By default none are. Such a call fails over when an instance doesn't
// answer in time ([WithTryTimeout]) or the connection breaks: each instance gets it at most once, within the call's own
// timeout. Streams never fail over once they were made.
func WithIdempotent(methods ...string) Option {
	return func(o *options) {
		if o.idempotent == nil {
			o.idempotent = make(map[string]bool, len(methods))
		}
		for _, m := range methods {
			o.idempotent[m] = true
		}
	}
}

// WithTryTimeout sets how long one instance has to answer a call of a method that [WithIdempotent] declares, before the next
// one is tried. The call's own timeout (client.WithRPCTimeout) holds over all tries. It doesn't bound other calls.
// The default, 0, is none.
func WithTryTimeout(d time.Duration) Option { return func(o *options) { o.tryTimeout = d } }

// apply reads the options. The process-wide default is built here, when a suite is made.
func apply(opts []Option) *options {
	o := &options{register: true, weight: 1, settle: graylib.DefaultSettle}
	for _, fn := range opts {
		fn(o)
	}
	if o.rt == nil {
		o.rt, o.err = graylib.Default()
	}
	return o
}

// endpointOf returns the name in the registry for Kitex's name of a service.
func (o *options) endpointOf(kitexName string) string {
	if o.endpoint != "" {
		return o.endpoint
	}
	name := o.service
	if name == "" {
		name = kitexName
	}
	if strings.HasSuffix(name, graylib.RPCServiceSuffix) {
		return name
	}
	return name + graylib.RPCServiceSuffix
}
