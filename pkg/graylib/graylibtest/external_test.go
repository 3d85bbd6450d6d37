package graylibtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// This file is an adapter as a third party would write it, for a framework called courier, and its conformance test. The
// framework carries a payload and labels, which are lists of strings by name; it knows nothing of graylib.

// courier is the framework: servers by address.
type courier struct {
	mu      sync.Mutex
	servers map[string]courierServer
}

type (
	labels        map[string][]string
	courierServer func(ctx context.Context, in labels, payload string) (answer string, back labels, err error)
)

var errRefused = errors.New("courier: nobody is there")

func (c *courier) serve(s courierServer) (addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.servers == nil {
		c.servers = make(map[string]courierServer)
	}
	addr = fmt.Sprintf("courier:%d", len(c.servers)+1)
	c.servers[addr] = s
	return addr
}

// send delivers a payload. As over a network, the server's context has nothing of the caller's but its end.
func (c *courier) send(ctx context.Context, addr string, in labels, payload string) (string, labels, error) {
	c.mu.Lock()
	server := c.servers[addr]
	c.mu.Unlock()
	if server == nil {
		return "", nil, fmt.Errorf("%w: %s", errRefused, addr)
	}
	far, cancel := context.WithCancel(context.Background())
	type reply struct {
		answer string
		back   labels
		err    error
	}
	replies := make(chan reply, 1)
	go func() {
		defer cancel()
		answer, back, err := server(far, in, payload)
		replies <- reply{answer, back, err}
	}()
	select {
	case r := <-replies:
		return r.answer, r.back, r.err
	case <-ctx.Done():
		cancel()
		return "", nil, ctx.Err()
	}
}

// labelCarrier is all that graylib has to know of the framework. The further methods are for an adapter whose servers can be
// the gateway's.
type labelCarrier labels

func (c labelCarrier) Get(key string) string {
	if v := c[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (c labelCarrier) Set(key, value string) {
	if value == "" {
		delete(c, key)
		return
	}
	c[key] = []string{value}
}

func (c labelCarrier) Remove(name string) { delete(c, name) }

func (c labelCarrier) Names(yield func(string) bool) {
	for name := range c {
		if !yield(name) {
			return
		}
	}
}

// grayServer is the adapter's server side.
func grayServer(rt *graylib.Runtime, edge bool, next graylibtest.Handler) courierServer {
	return func(ctx context.Context, in labels, payload string) (string, labels, error) {
		if edge {
			rt.Strip(labelCarrier(in))
			graylib.Enter(graylib.HTTPKeys, labelCarrier(in))
		}
		ctx, arrival := rt.Arrive(ctx, graylib.ProtocolRPC, graylib.HTTPKeys, labelCarrier(in))
		answer, err := next(ctx, payload)
		back := labels{}
		if edge {
			hops, messages := arrival.Chain()
			rt.Report(graylib.Event{Kind: graylib.EventChain, RequestID: graylib.RequestIDFrom(ctx), Hops: hops, Messages: messages})
			labelCarrier(back).Set(graylib.HTTPKeys.RequestID, graylib.RequestIDFrom(ctx))
		} else {
			arrival.Return(graylib.HTTPKeys, labelCarrier(back))
		}
		return answer, back, err
	}
}

// grayCall is the adapter's client side.
func grayCall(ctx context.Context, rt *graylib.Runtime, c *courier, service string, in labels, payload string) (string, error) {
	ctx, call := rt.Depart(ctx, service, courierRequest{in, payload})
	table, err := rt.Table(ctx, service)
	if err != nil {
		return "", err
	}
	for {
		instance, _, err := call.Next(table)
		if err != nil {
			return "", err
		}
		call.Inject(graylib.HTTPKeys, labelCarrier(in))
		answer, back, err := c.send(ctx, instance.Addr, in, payload)
		if errors.Is(err, errRefused) {
			continue // nothing was sent
		}
		call.Answered()
		call.Return(graylib.HTTPKeys, labelCarrier(back))
		return answer, err
	}
}

// courierRequest is what rules see of a call.
type courierRequest struct {
	labels  labels
	payload string
}

func (r courierRequest) Value(from graylib.From, key string, i int) (string, bool) {
	if v := r.labels[key]; from == graylib.FromHeader && i < len(v) {
		return v[i], true
	}
	return "", false
}

func (r courierRequest) Body() []byte { return []byte(r.payload) }

// courierFeatures is what the adapter declares.
var courierFeatures = graylibtest.Features{
	Protocol: graylib.ProtocolRPC, Keys: graylib.HTTPKeys,
	Answers: true, Reason: true, Hops: true, Chooses: true, FailsOver: true, Duplicates: true, Edge: true, NodeColour: true,
	Sources: []graylib.From{graylib.FromHeader, graylib.FromBody}, Cancels: graylibtest.CancelsHandler,
}

func openCourier(t testing.TB, s *graylibtest.Setup) graylibtest.Link {
	return openFaulty(t, s, faults{})
}

// TestExternalAdapter is the whole of a third party's test.
func TestExternalAdapter(t *testing.T) {
	graylibtest.Run(t, graylibtest.Harness{Name: "courier", Features: courierFeatures, Open: openCourier})
}

// faults are mistakes that adapters make, see TestFaultsAreFound.
type faults struct {
	in     func(labels)                                                        // on the way there
	back   func(labels)                                                        // on the way back
	handle func(graylibtest.Handler) graylibtest.Handler                       // at the server
	call   func(context.Context) context.Context                               // at the client
	raw    func(wire labels) error                                             // at the server, before anything else
	edge   bool                                                                // forgets that it is the gateway
	own    func(graylib.Tag) graylib.Tag                                       // how it registers
	answer func(payload, answer string, err error) (newAnswer string, e error) // at the client
}

func openFaulty(_ testing.TB, s *graylibtest.Setup, f faults) graylibtest.Link {
	net := &courier{}
	var addrs []string
	for _, callee := range s.Callees {
		handle := callee.Handle
		if f.handle != nil {
			handle = f.handle(handle)
		}
		server := grayServer(callee.Runtime, s.Edge && !f.edge, handle)
		addr := net.serve(func(ctx context.Context, in labels, payload string) (string, labels, error) {
			if f.in != nil {
				f.in(in)
			}
			answer, back, err := server(ctx, in, payload)
			if f.back != nil {
				f.back(back)
			}
			return answer, back, err
		})
		addrs = append(addrs, addr)
		tag := callee.Runtime.Identity().Tag
		if f.own != nil {
			tag = f.own(tag)
		}
		s.Registry.Put(graylib.Instance{Service: s.Service, Addr: addr, Tag: tag})
	}
	return graylibtest.Link{
		Endpoint: s.Service,
		Call: func(ctx context.Context, payload string) (string, error) {
			if f.call != nil {
				ctx = f.call(ctx)
			}
			answer, err := grayCall(ctx, s.Caller, net, s.Service, labels{graylibtest.SourceKey: {payload}}, payload)
			if f.answer != nil {
				return f.answer(payload, answer, err)
			}
			return answer, err
		},
		Raw: func(ctx context.Context, callee int, wire map[string][]string, payload string) (map[string]string, error) {
			in := labels{}
			for k, v := range wire {
				in[k] = slices.Clone(v)
			}
			if f.raw != nil {
				if err := f.raw(in); err != nil {
					return nil, err
				}
			}
			_, back, err := net.send(ctx, addrs[callee], in, payload)
			flat := make(map[string]string)
			for k := range back {
				flat[strings.ToLower(k)] = labelCarrier(back).Get(k)
			}
			return flat, err
		},
	}
}
