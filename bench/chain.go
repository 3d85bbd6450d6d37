package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	hclient "github.com/cloudwego/hertz/pkg/app/client"
	hserver "github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// connections is how many clients ask at once, each on a connection of its own; as many lie between the services.
const connections = 64

// chainServer is a chain A -> B -> C in this process, on loopback: A is a Hertz server, B and C are Kitex servers, and the
// handlers do nothing but call the next one.
type chainServer struct {
	name string
	url  string
	bear bearing
	stop []func() error
}

// bearing is what the requests of a chain bear.
type bearing struct {
	tag       graylib.Tag
	requestID string
	trace     string
}

var (
	bearsNothing = bearing{}
	bearsTag     = bearing{tag: benchTag}
	bearsAll     = bearing{benchTag, "0123456789abcdef0123456789abcdef", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
)

// close stops what was started, callers first.
func (s *chainServer) close() error {
	var errs []error
	for _, stop := range s.stop {
		errs = append(errs, stop())
	}
	return errors.Join(errs...)
}

type chainB struct{ c c.Client }

// Invoke implements chain.B.
func (h *chainB) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	return h.c.Invoke(ctx, r)
}

// Relay implements chain.B.
func (h *chainB) Relay(context.Context, chain.B_relayServer) error { return errors.ErrUnsupported }

type chainC struct{}

// Invoke implements chain.C.
func (*chainC) Invoke(_ context.Context, r *chain.Request) (*chain.Response, error) {
	return &chain.Response{Payload: r.Payload}, nil
}

// Relay implements chain.C.
func (*chainC) Relay(context.Context, chain.C_relayServer) error { return errors.ErrUnsupported }

// part is what graylib adds to one service of a chain; nothing where it isn't used.
type part struct {
	client []client.Option
	server []server.Option
	web    func(*hserver.Hertz)
}

// startChain starts a chain. parts returns what is added to a service; the registry is shared by them.
func startChain(name string, bear bearing, parts func(service string) (part, error)) (_ *chainServer, err error) {
	s := &chainServer{name: name, bear: bear}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	forC, err := parts("c")
	if err != nil {
		return nil, err
	}
	addrC, err := s.serveKitex(func(o ...server.Option) server.Server { return c.NewServer(&chainC{}, o...) }, forC.server)
	if err != nil {
		return nil, err
	}
	forB, err := parts("b")
	if err != nil {
		return nil, err
	}
	toC, err := c.NewClient("c", clientOptions(forB, addrC)...)
	if err != nil {
		return nil, err
	}
	addrB, err := s.serveKitex(func(o ...server.Option) server.Server { return b.NewServer(&chainB{toC}, o...) }, forB.server)
	if err != nil {
		return nil, err
	}
	forA, err := parts("a")
	if err != nil {
		return nil, err
	}
	toB, err := b.NewClient("b", clientOptions(forA, addrB)...)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.url = "http://" + ln.Addr().String() + "/dubbo"
	web := hserver.New(hserver.WithListener(ln), hserver.WithDisablePrintRoute(true), hserver.WithExitWaitTime(100*time.Millisecond))
	if forA.web != nil {
		forA.web(web)
	}
	payload := strings.Repeat("x", 64)
	web.GET("/dubbo", func(ctx context.Context, r *app.RequestContext) {
		resp, err := toB.Invoke(ctx, &chain.Request{Payload: &payload})
		if err != nil {
			r.String(500, "%v", err)
			return
		}
		r.String(200, "%s", resp.GetPayload())
	})
	go func() { _ = web.Run() }() // its end is what stops it; whether it serves shows at the first request
	s.stop = append([]func() error{func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return web.Shutdown(ctx)
	}}, s.stop...)
	return s, nil
}

// clientOptions are those of a client in a chain: TTHeader, and as many kept connections as there are clients.
func clientOptions(p part, addr string) []client.Option {
	o := []client.Option{
		client.WithTransportProtocol(transport.TTHeaderFramed), client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
		client.WithLongConnection(connpool.IdleConfig{
			MinIdlePerAddress: connections, MaxIdlePerAddress: 2 * connections, MaxIdleGlobal: 4 * connections, MaxIdleTimeout: time.Hour}),
		client.WithConnectTimeout(time.Second),
	}
	if p.client == nil {
		return append(o, client.WithHostPorts(addr))
	}
	return append(o, p.client...)
}

func (s *chainServer) serveKitex(construct func(...server.Option) server.Server, more []server.Option) (addr string, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	svr := construct(append([]server.Option{
		server.WithListener(ln), server.WithMetaHandler(transmeta.ServerTTHeaderHandler), server.WithExitWaitTime(100 * time.Millisecond),
		server.WithExitSignal(func() <-chan error { return nil }),
	}, more...)...)
	go func() { _ = svr.Run() }()
	s.stop = append([]func() error{svr.Stop}, s.stop...)
	return ln.Addr().String(), nil
}

// plainChain is the chain on TTHeader, without graylib.
func plainChain(name string) (*chainServer, error) {
	return startChain(name, bearsNothing, func(string) (part, error) { return part{}, nil })
}

// grayChain is the chain with graylib in all of its services, which find each other through a registry. Requests bear the
// tag, and fall back to the baseline: there is one instance of each.
func grayChain(name string, bear bearing, opts ...graylib.Option) (*chainServer, error) {
	registry := graylibtest.NewRegistry()
	return startChain(name, bear, func(service string) (part, error) {
		id := graylib.Identity{Service: service, Instance: service + "-1"}
		rt, err := newRuntime(service, graylib.Untagged, append(opts, graylib.WithRegistry(registry.As(id)))...)
		if err != nil {
			return part{}, err
		}
		return part{
			client: []client.Option{client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(rt)))},
			server: []server.Option{server.WithSuite(graykitex.NewServerSuite(
				graykitex.WithRuntime(rt), graykitex.WithService(service), graykitex.WithSettle(time.Millisecond)))},
			web: func(h *hserver.Hertz) {
				grayhertz.WrapServer(h, grayhertz.WithRuntime(rt), grayhertz.WithSettle(time.Millisecond))
			},
		}, nil
	})
}

// ask sends one request.
func (s *chainServer) ask(ctx context.Context, c *hclient.Client, req *protocol.Request, resp *protocol.Response) error {
	req.Reset()
	resp.Reset()
	req.SetRequestURI(s.url)
	if s.bear.tag != graylib.Untagged {
		req.Header.Set(graylib.HTTPKeys.Tag, string(s.bear.tag))
	}
	if s.bear.requestID != "" {
		req.Header.Set(graylib.HTTPKeys.RequestID, s.bear.requestID)
		req.Header.Set(graylib.HTTPKeys.TraceParent, s.bear.trace)
	}
	if err := c.Do(ctx, req, resp); err != nil {
		return err
	}
	if resp.StatusCode() != 200 {
		return fmt.Errorf("%s: status %d: %s", s.name, resp.StatusCode(), resp.Body())
	}
	return nil
}

// throughput is what one slice of load came to.
type throughput struct {
	perSecond float64
	cpu       float64 // processor time of the whole process for one request, nanoseconds
}

// load has all connections ask one chain for a span.
func (s *chainServer) load(c *hclient.Client, span time.Duration) (throughput, error) {
	ctx := context.Background()
	var done atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	began, cpu := time.Now(), cpuTime()
	until := began.Add(span)
	for range connections {
		all.Go(func() {
			req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
			defer protocol.ReleaseRequest(req)
			defer protocol.ReleaseResponse(resp)
			n := int64(0)
			defer func() { done.Add(n) }()
			for time.Now().Before(until) {
				if err := s.ask(ctx, c, req, resp); err != nil {
					once.Do(func() { failed = err })
					return
				}
				n++
			}
		})
	}
	all.Wait()
	n := float64(done.Load())
	return throughput{n / time.Since(began).Seconds(), float64(cpuTime()-cpu) / n}, failed
}

// chainResult is what one chain came to, slice by slice.
type chainResult struct {
	name   string
	goal   bool // it has one
	slices []throughput
}

func (r chainResult) of(value func(throughput) float64) []float64 {
	var out []float64
	for _, t := range r.slices {
		out = append(out, value(t))
	}
	return out
}

// times returns value of r in proportion to base's, pair by pair.
func (r chainResult) times(base chainResult, value func(throughput) float64) []float64 {
	x, y := r.of(value), base.of(value)
	for i := range x {
		x[i] /= y[i]
	}
	return x
}

// hopsWanted is the chain that has everything switched on, and no goal.
const hopsWanted = "the same, hops wanted"

// chainStarts are the chains that are compared; the first one is the plain one.
var chainStarts = []struct {
	name  string
	chain func(name string) (*chainServer, error)
}{
	{"plain TTHeader", plainChain},
	{"graylib, untagged requests", func(name string) (*chainServer, error) { return grayChain(name, bearsNothing) }},
	{"graylib, tagged requests", func(name string) (*chainServer, error) { return grayChain(name, bearsTag) }},
	{"graylib, requests with tag, id and trace", func(name string) (*chainServer, error) { return grayChain(name, bearsAll) }},
	{hopsWanted, func(name string) (*chainServer, error) { return grayChain(name, bearsAll, graylib.WithHops()) }},
}

// measureChains loads the chains in turn; the first one is the plain one.
func measureChains(rounds int, span time.Duration) (_ []chainResult, err error) {
	var chains []*chainServer
	defer func() {
		for _, s := range chains {
			err = errors.Join(err, s.close())
		}
	}()
	for _, start := range chainStarts {
		s, err := start.chain(start.name)
		if err != nil {
			return nil, err
		}
		chains = append(chains, s)
	}
	web, err := hclient.NewClient(hclient.WithMaxConnsPerHost(2*connections), hclient.WithDialTimeout(time.Second))
	if err != nil {
		return nil, err
	}
	results := make([]chainResult, len(chains))
	for i, s := range chains {
		results[i].name, results[i].goal = s.name, i > 0 && s.name != hopsWanted
		if err := s.awake(web); err != nil {
			return nil, err
		}
		if _, err := s.load(web, span); err != nil { // connections are made, pools are filled
			return nil, err
		}
	}
	for round := range rounds {
		for k := range chains {
			i := (k + round) % len(chains) // each is the first one, and follows each other one, equally often
			t, err := chains[i].load(web, span)
			if err != nil {
				return nil, err
			}
			results[i].slices = append(results[i].slices, t)
		}
	}
	return results, nil
}

// awake waits until a chain answers.
func (s *chainServer) awake(c *hclient.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
	defer protocol.ReleaseRequest(req)
	defer protocol.ReleaseResponse(resp)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.ask(ctx, c, req, resp)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s doesn't answer: %w", s.name, err)
		}
	}
}
