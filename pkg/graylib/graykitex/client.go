package graykitex

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/proxy"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans/ttstream"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/pkg/graylib"
)

// NewClientSuite returns the options that make a client gray-aware, for client.WithSuite: they set the transport to
// TTHeader (framed), in addition to what is set (with transport.GRPC everything goes over gRPC), carry the tag, and choose the instance of each call by it where the
// runtime has a registry. With client.WithHostPorts, callopt.WithHostPort or a proxy nothing is chosen, and the tag
// is carried all the same. A connection that can't be made makes the call try the next instance, as many as
// there are. Timeouts count towards the instance's ejection, see [graylib.Ejection]. A transport that would lose the tag makes NewClient fail with a line that says what to set.
//
// Connections of streams are pooled one stream each (ttstream.WithClientLongConnPool): Kitex's default pool hangs for
// ever on an address that once refused a connection. Connecting may take a second where client.WithConnectTimeout doesn't say.
func NewClientSuite(opts ...Option) client.Suite { return clientSuite{apply(opts)} }

// ClientOption is [NewClientSuite] as a single option.
func ClientOption(opts ...Option) client.Option { return client.WithSuite(NewClientSuite(opts...)) }

type clientSuite struct{ o *options }

// String keeps what Kitex prints of its options to a word.
func (clientSuite) String() string { return "graykitex" }

// Options implements [client.Suite].
func (s clientSuite) Options() []client.Option {
	return []client.Option{{F: func(co *client.Options, di *utils.Slice) {
		di.Push("graykitex")
		for _, h := range co.MetaHandlers {
			if _, twice := h.(*metaHandler); twice {
				return
			}
		}
		c := &clientSide{options: s.o}
		all := []client.Option{client.WithMetaHandler(&metaHandler{}), client.TailOption(client.Option{F: c.finish})}
		if s.o.err == nil {
			all = append(all,
				client.WithTransportProtocol(transport.TTHeaderFramed),
				client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
				client.WithMiddleware(c.depart),
				client.WithInstanceMW(c.send),
				client.WithStreamOptions(client.WithStreamEventHandler(streamEvents)),
				client.WithTTHeaderStreamingOptions(client.WithTTHeaderStreamingTransportOptions(
					ttstream.WithClientLongConnPool(ttstream.DefaultLongConnConfig))),
			)
		}
		for _, opt := range all {
			opt.F(co, di)
		}
	}}}
}

// connectTimeout is how long connecting may take where nothing is set (client.WithConnectTimeout). Kitex's own 50 ms are over
// on a busy machine before a live instance has answered, and a call would leave its lane for it. One second is what
// Kitex's streams and Hertz have.
const connectTimeout = time.Second

// clientSide is what the suite keeps for one client.
type clientSide struct {
	*options
	endpoint  string // in the registry
	discovers bool   // instances are chosen here
	proxied   bool   // Kitex leaves instance middlewares out, and send is one
	table     atomic.Pointer[graylib.Table]
}

// finish looks at what a client's options came to, when all of them are applied.
func (c *clientSide) finish(co *client.Options, _ *utils.Slice) {
	if c.err != nil {
		co.Proxy = refusal{c.err}
		return
	}
	co.MetaHandlers = once(co.MetaHandlers, transmeta.ClientTTHeaderHandler) // the application may have it too
	oursFirst(co.MetaHandlers)
	if err := checkTransport(co.Configs.TransportProtocol()); err != nil {
		co.Proxy = refusal{err}
		return
	}
	if co.Locks.Bits&rpcinfo.BitConnectTimeout == 0 {
		if err := rpcinfo.AsMutableRPCConfig(co.Configs).SetConnectTimeout(connectTimeout); err != nil {
			co.Proxy = refusal{err}
			return
		}
	}
	c.endpoint = c.endpointOf(co.Svr.ServiceName)
	if c.rt.Telemetry() != nil {
		traceStreams(co)
	}
	c.proxied = co.Proxy != nil
	if c.rt.Registry() == nil || co.Targets != "" || c.proxied {
		return
	}
	c.discovers = true
	co.Resolver, co.Balancer, co.BalancerCacheOpt = newResolver(c.rt, c.endpoint)
}

// once returns the handlers without all but the first h.
func once(list []remote.MetaHandler, h remote.MetaHandler) []remote.MetaHandler {
	seen := false
	return slices.DeleteFunc(slices.Clone(list), func(one remote.MetaHandler) bool {
		again := one == h && seen
		seen = seen || one == h
		return again
	})
}

// oursFirst has our handler write before TTHeader's where that is the one before it: TTHeader's writes a value beside, and of a message
// that is empty it is clear that none of ours stands there already.
func oursFirst(list []remote.MetaHandler) {
	i := slices.IndexFunc(list, func(h remote.MetaHandler) bool { _, ours := h.(*metaHandler); return ours })
	if i > 0 && list[i-1] == transmeta.ClientTTHeaderHandler {
		list[i-1], list[i] = list[i], list[i-1]
	}
}

// ErrTransport is wrapped where a client's transport would lose the tag.
var ErrTransport = errors.New("transport loses the tag")

// refusal makes NewClient fail: Kitex asks a proxy whether it can work with the options, and options themselves can't say no.
type refusal struct{ err error }

// Configure implements [proxy.ForwardProxy].
func (r refusal) Configure(*proxy.Config) error { return r.err }

// ResolveProxyInstance implements [proxy.ForwardProxy].
func (r refusal) ResolveProxyInstance(context.Context) error { return r.err }

var _ proxy.ForwardProxy = refusal{}

// departureKey holds the *departure of the call that a context belongs to.
type departureKey struct{}

func departureFrom(ctx context.Context) *departure {
	d, _ := ctx.Value(departureKey{}).(*departure)
	return d
}

func departureOf(ctx context.Context, ri rpcinfo.RPCInfo) *departure {
	if d := departureFrom(ctx); d != nil && d.ri == ri {
		return d
	}
	return nil
}
