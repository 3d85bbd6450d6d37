package graykitex_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/internal/conformance"
	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestConformance(t *testing.T) {
	for kind, name := range map[string]string{
		"invoke": "graykitex, unary", "bidi": "graykitex, bidirectional stream",
		"client": "graykitex, client stream", "server": "graykitex, server stream",
	} {
		t.Run(kind, func(t *testing.T) {
			d := conformance.Of(name)
			graylibtest.Run(t, graylibtest.Harness{Name: d.Name, Features: d.Features, Open: func(t testing.TB, s *graylibtest.Setup) graylibtest.Link {
				return openConformance(t, s, kind)
			}})
		})
	}
}

func openConformance(t testing.TB, s *graylibtest.Setup, kind string) graylibtest.Link {
	m := &mesh{t: t, registry: s.Registry, rules: s.Rules}
	var addrs []string
	for _, callee := range s.Callees {
		addr, _ := m.serve(callee.Runtime, once(callee.Handle))
		addrs = append(addrs, addr)
	}
	c := m.client(s.Caller, s.Service)
	return graylibtest.Link{
		Endpoint: s.Service + graylib.RPCServiceSuffix,
		Call: func(ctx context.Context, payload string) (string, error) {
			return c.call(metainfo.WithValue(ctx, graylibtest.SourceKey, payload), kind, payload)
		},
		Raw: func(ctx context.Context, callee int, wire map[string][]string, payload string) (map[string]string, error) {
			bare, err := newServiceClient(s.Service, client.WithHostPorts(addrs[callee]),
				client.WithTransportProtocol(transport.TTHeaderFramed|transport.TTHeaderStreaming), client.WithMetaHandler(transmeta.ClientTTHeaderHandler))
			if err != nil {
				return nil, err
			}
			ctx = metainfo.WithBackwardValues(ctx)
			for k, values := range wire {
				if k == graylib.RPCKeys.Reason {
					ctx = metainfo.WithValue(ctx, k, values[0])
				} else {
					ctx = metainfo.WithPersistentValue(ctx, k, values[0])
				}
			}
			return bare.raw(ctx, kind, payload)
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
			back[k] = v
		}
	}
	return back, nil
}

func newRequest(payload string) *chain.Request { return &chain.Request{Payload: &payload} }

func newResponse() *chain.Response { return &chain.Response{} }
