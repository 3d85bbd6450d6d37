package grayhertz

import (
	"time"

	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/pkg/graylib"
)

// Option sets one thing of a server or client. Options that don't concern what they are given to are ignored.
type Option func(*options)

type options struct {
	rt        *graylib.Runtime
	edge      bool
	register  bool
	service   string
	advertise string
	weight    float64
	settle    time.Duration
	hosts     map[string]bool
	proxies   graylib.Proxies
	drainer   *drainer // nil: nobody waits for the server's requests

	idempotent func(*protocol.Request) bool // nil: none is
	tryTimeout time.Duration                // 0 = none
}

// WithRuntime sets the runtime. The default is the process-wide one, [graylib.Default].
func WithRuntime(rt *graylib.Runtime) Option { return func(o *options) { o.rt = rt } }

// WithEdge makes a server the gateway, where requests come in from outside: what only our own services may say is
// stripped from them, each gets its id and trace, and its chain is reported as an event. The answer bears the request's
// id and no hops.
func WithEdge() Option { return func(o *options) { o.edge = true } }

// WithoutRegistration leaves the server out of the registry.
func WithoutRegistration() Option { return func(o *options) { o.register = false } }

// WithService sets the name under which the server registers. The default is the runtime's service.
func WithService(name string) Option { return func(o *options) { o.service = name } }

// WithAdvertise sets the host, or host:port, by which others reach the server. See [graylib.AdvertisedAddr] for the default.
func WithAdvertise(addr string) Option { return func(o *options) { o.advertise = addr } }

// WithWeight sets the weight with which the server registers; the default is 1.
func WithWeight(w float64) Option { return func(o *options) { o.weight = w } }

// WithSettle sets how long the server goes on serving between being deregistered and stopping. The default is
// [graylib.DefaultSettle].
func WithSettle(d time.Duration) Option { return func(o *options) { o.settle = d } }

// WithHosts names hosts, as they stand in the URL, port included, that a client calls directly and that belong to us: the
// tag is written onto requests to them, though nothing is chosen.
func WithHosts(hosts ...string) Option {
	return func(o *options) {
		for _, h := range hosts {
			o.hosts[h] = true
		}
	}
}

// WithIdempotent declares which requests a client may send more than once, because the callee does the same for two as for one.
// By default none are: a method says little of what a service does with it. Such a request, unless its body streams, fails
// over when an instance doesn't answer in time ([WithTryTimeout]) or the connection breaks: each instance gets it at
// most once.
func WithIdempotent(is func(*protocol.Request) bool) Option {
	return func(o *options) { o.idempotent = is }
}

// WithTryTimeout sets how long one instance has to begin its answer to a request that [WithIdempotent] declares, before
// the next one is tried: it takes the place of the request's and the client's ReadTimeout, where those are longer or none. It
// doesn't bound other requests. The default, 0, is none.
func WithTryTimeout(d time.Duration) Option { return func(o *options) { o.tryTimeout = d } }

// apply reads the options. The error is that of the process-wide default.
func apply(opts []Option) (*options, error) {
	o := &options{register: true, weight: 1, settle: graylib.DefaultSettle, hosts: make(map[string]bool)}
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
	o.proxies = o.rt.Config().TrustedProxies
	if o.service == "" {
		o.service = o.rt.Identity().Service
	}
	return o, nil
}
