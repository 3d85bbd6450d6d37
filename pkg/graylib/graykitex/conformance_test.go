package graykitex_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2"
	"github.com/cloudwego/kitex/pkg/remote/trans/nphttp2/metadata"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	const overTTHeader = transport.TTHeaderFramed | transport.TTHeaderStreaming
	for _, tc := range []struct {
		name string // of the declaration
		tp   transport.Protocol
		kind string
	}{
		{"graykitex, unary", overTTHeader, "invoke"},
		{"graykitex, bidirectional stream", overTTHeader, "bidi"},
		{"graykitex, client stream", overTTHeader, "client"},
		{"graykitex, server stream", overTTHeader, "server"},
		{"graykitex, unary over gRPC", transport.GRPC, "invoke"},
		{"graykitex, streams over gRPC", transport.GRPC, "bidi"},
		{"graykitex, streams over gRPC", transport.GRPC, "client"},
		{"graykitex, streams over gRPC", transport.GRPC, "server"},
	} {
		t.Run(tc.kind+" over "+tc.tp.String(), func(t *testing.T) {
			d := conformance.Of(tc.name)
			graylibtest.Run(t, graylibtest.Harness{Name: d.Name, Features: d.Features, Open: func(t testing.TB, s *graylibtest.Setup) graylibtest.Link {
				return openConformance(t, s, tc.tp, tc.kind)
			}})
		})
	}
}

func openConformance(t testing.TB, s *graylibtest.Setup, tp transport.Protocol, kind string) graylibtest.Link {
	m := &mesh{t: t, registry: s.Registry, rules: s.Rules, settle: 100 * time.Millisecond}
	var addrs []string
	for _, callee := range s.Callees {
		addr, _ := m.serve(callee.Runtime, once(callee.Handle))
		addrs = append(addrs, addr)
	}
	c := m.over(s.Caller, s.Service, tp)
	return graylibtest.Link{
		Endpoint: s.Service + graylib.RPCServiceSuffix,
		Call: func(ctx context.Context, payload string) (string, error) {
			return c.call(metainfo.WithValue(ctx, graylibtest.SourceKey, payload), kind, payload)
		},
		Raw: func(ctx context.Context, callee int, wire map[string][]string, payload string) (map[string]string, error) {
			bare, err := newServiceClient(s.Service, client.WithHostPorts(addrs[callee]),
				client.WithTransportProtocol(tp), client.WithConnectTimeout(time.Minute), client.WithMetaHandler(transmeta.ClientTTHeaderHandler))
			if err != nil {
				return nil, err
			}
			var header, trailer metadata.MD
			ctx = nphttp2.GRPCTrailer(nphttp2.GRPCHeader(metainfo.WithBackwardValues(ctx), &header), &trailer)
			var persistent, transient []string
			for k, values := range wire {
				if k == graylib.RPCKeys.Reason || k == graylib.RPCKeys.Hops {
					transient = append(transient, k, values[0])
				} else {
					persistent = append(persistent, k, values[0])
				}
			}
			ctx = metainfo.WithValues(metainfo.WithPersistentValues(ctx, persistent...), transient...)
			back, err := bare.raw(ctx, kind, payload)
			for _, md := range []metadata.MD{header, trailer} {
				for k, values := range md {
					back[strings.ToUpper(k)] = values[0] // gRPC's names are in lower case
				}
			}
			return back, err
		},
	}
}

// once has a handler see each payload once: the service answers server streaming three times.
func once(h graylibtest.Handler) func(context.Context, string) (string, error) {
	var answers sync.Map
	return func(ctx context.Context, payload string) (string, error) {
		f, _ := answers.LoadOrStore(payload, sync.OnceValues(func() (string, error) { return h(ctx, payload) }))
		return f.(func() (string, error))()
	}
}

// raw makes a call and returns what comes back beside the answer: backward metainfo of a unary one, the header and the
// trailer of a stream.
func (c *serviceClient) raw(ctx context.Context, kind, payload string) (map[string]string, error) {
	back := make(map[string]string)
	if kind == "invoke" {
		if _, err := c.call(ctx, kind, payload); err != nil {
			return nil, err
		}
		for _, k := range []string{graylib.RPCKeys.Hops, graylib.RPCKeys.Messages} {
			back[k], _ = metainfo.RecvBackwardValue(ctx, k)
		}
		return back, nil
	}
	st, err := c.c.(client.Streaming).StreamX(ctx, kind)
	if err != nil {
		return nil, err
	}
	if err := st.SendMsg(ctx, newRequest(payload)); err != nil {
		return nil, err
	}
	if err := st.CloseSend(ctx); err != nil {
		return nil, err
	}
	for err == nil {
		err = st.RecvMsg(ctx, newResponse())
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	header, err := st.Header()
	if err != nil {
		return nil, err
	}
	trailer, err := st.Trailer()
	if err != nil {
		return nil, err
	}
	for _, values := range []map[string]string{header, trailer} {
		for k, v := range values {
			back[strings.ToUpper(k)] = v
		}
	}
	return back, nil
}

func newRequest(payload string) *chain.Request { return &chain.Request{Payload: &payload} }

func newResponse() *chain.Response { return &chain.Response{} }
