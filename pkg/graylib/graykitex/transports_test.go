package graykitex_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/transport"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// transports are all that carry the tag, by what a client sets before the suite.
var transports = []struct {
	name  string
	set   transport.Protocol
	kinds []string
}{
	{"TTHeader", transport.TTHeader, []string{"invoke"}},
	{"TTHeaderFramed", transport.TTHeaderFramed, []string{"invoke"}},
	{"TTHeaderStreaming", transport.TTHeaderStreaming, kinds},
	{"TTHeaderFramed and TTHeaderStreaming", transport.TTHeaderFramed | transport.TTHeaderStreaming, kinds},
	{"GRPC", transport.GRPC, kinds},
	{"GRPCStreaming", transport.GRPCStreaming, kinds},
	{"TTHeaderFramed and GRPCStreaming", transport.TTHeaderFramed | transport.GRPCStreaming, kinds},
}

// over makes a client that calls over a transport.
func (m *mesh) over(rt *graylib.Runtime, name string, tp transport.Protocol, opts ...client.Option) *serviceClient {
	m.t.Helper()
	c, err := newServiceClient(name, append([]client.Option{
		client.WithTransportProtocol(tp), client.WithConnectTimeout(time.Minute), client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(rt))),
	}, opts...)...)
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

// TestEveryTransportCarriesTheChain calls a -> b -> c over each transport: the tag, the id and the trace arrive two hops on,
// and the hops come back in order, of failed calls too.
func TestEveryTransportCarriesTheChain(t *testing.T) {
	for _, tp := range transports {
		t.Run(tp.name, func(t *testing.T) {
			m := newMesh(t)
			m.serve(m.runtime("c", "gray"), nil)
			m.serve(m.runtime("c", ""), nil)
			a, b := m.runtime("a", ""), m.runtime("b", "")
			toB, toC := m.over(a, "b", tp.set), m.over(b, "c", tp.set)
			m.serve(b, func(ctx context.Context, payload string) (string, error) {
				kind, _, _ := strings.Cut(payload, " ")
				out, err := toC.call(ctx, kind, payload)
				if strings.HasSuffix(payload, "fail") {
					return "", errors.New("on purpose")
				}
				return out, err
			})
			for _, kind := range tp.kinds {
				for _, tag := range []graylib.Tag{"gray", "", "blue"} {
					for _, ending := range []string{"", " fail"} {
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
						ctx, arrival := a.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{
							graylib.HTTPKeys.Tag: string(tag), graylib.HTTPKeys.RequestID: "id-1", graylib.HTTPKeys.TraceParent: trace,
						})
						out, err := toB.call(ctx, kind, kind+ending)
						cancel()
						switch {
						case ending != "":
							if err == nil || !strings.Contains(err.Error(), "on purpose") {
								t.Fatalf("%s of a failing service: %q, %v", kind, out, err)
							}
						case err != nil:
							t.Fatalf("%s: %v", kind, err)
						case !strings.Contains(out, `"Request":"`+string(tag)+`"`) || !strings.Contains(out, `"ID":"id-1"`) || !strings.Contains(out, `"Trace":"`+trace[3:35]+`"`):
							t.Errorf("%s with tag %q: c saw %s", kind, tag, out)
						}
						reasonB, reasonC, own := graylib.ReasonBaseline, graylib.ReasonBaseline, graylib.Untagged
						switch tag {
						case "gray":
							reasonB, reasonC, own = graylib.ReasonNoInstance, graylib.ReasonLane, "gray"
						case "blue":
							reasonB, reasonC = graylib.ReasonNoInstance, graylib.ReasonNoInstance
						}
						want := []graylib.Hop{
							{Service: "a", RequestTag: tag, Protocol: graylib.ProtocolHTTP},
							{Service: "b", RequestTag: tag, Protocol: graylib.ProtocolRPC, Reason: reasonB},
						}
						calls := 1
						if kind == "server" && ending == "" {
							calls = 3 // b calls c for each of its answers
						}
						for range calls {
							want = append(want, graylib.Hop{Service: "c", Tag: own, RequestTag: tag, Protocol: graylib.ProtocolRPC, Reason: reasonC})
						}
						hops, _ := arrival.Chain()
						if diff := cmp.Diff(want, hops, cmpopts.IgnoreFields(graylib.Hop{}, "Instance", "Addr")); diff != "" {
							t.Errorf("%s%s with tag %q: hops (-want +got):\n%s", kind, ending, tag, diff)
						}
					}
				}
			}
		})
	}
}

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestEveryTransportFallsBack: an instance of the lane that refuses connections costs no call, over any transport.
func TestEveryTransportFallsBack(t *testing.T) {
	for _, tp := range transports {
		t.Run(tp.name, func(t *testing.T) {
			m := newMesh(t)
			m.serve(m.runtime("b", ""), nil)
			m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
			a := m.runtime("a", "")
			c := m.over(a, "b", tp.set)
			for _, kind := range tp.kinds {
				for range 3 {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					ctx, arrival := a.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
					got := call(ctx, t, c, kind)
					cancel()
					if got.Tag != "" || got.Request != "gray" {
						t.Fatalf("%s: reached %+v", kind, got)
					}
					if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Reason != graylib.ReasonConnectFailed {
						t.Fatalf("%s: hops %+v, want %q", kind, hops, graylib.ReasonConnectFailed)
					}
				}
			}
		})
	}
}
