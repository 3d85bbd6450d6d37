package servetest

import (
	"context"

	kitexclient "github.com/cloudwego/kitex/client"

	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
)

// Caller calls b and c over Kitex, as service a would.
type Caller struct {
	B  b.Client
	C  c.Client
	rt *graylib.Runtime
}

// Caller returns a caller of the mesh's services.
func (m *Mesh) Caller() *Caller {
	m.t.Helper()
	id := graylib.Identity{Service: "a", Addr: "127.0.0.1:1"}
	rt, err := graylib.New(id, graylib.WithRegistry(m.Registry.As(id)), graylib.WithRules(graylib.StaticRules(m.Rules)))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = rt.Close() })
	suite := kitexclient.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(rt)))
	caller := &Caller{rt: rt}
	if caller.B, err = b.NewClient("b", suite); err != nil {
		m.t.Fatal(err)
	}
	if caller.C, err = c.NewClient("c", suite); err != nil {
		m.t.Fatal(err)
	}
	return caller
}

// Arrived returns a context as a handler of the caller has it, for a request with the tag.
func (c *Caller) Arrived(ctx context.Context, tag graylib.Tag) context.Context {
	keys := graylib.HTTPKeys
	ctx, _ = c.rt.Arrive(ctx, graylib.ProtocolHTTP, keys, graylib.MapCarrier{keys.Tag: string(tag), keys.RequestID: "req-1"})
	return ctx
}
