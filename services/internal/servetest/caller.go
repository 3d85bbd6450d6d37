package servetest

import (
	"context"
	"log/slog"

	"github.com/cloudwego/hertz/pkg/app/client"
	kitexclient "github.com/cloudwego/kitex/client"

	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/services/internal/next"
)

// Caller calls b and c, as service a would.
type Caller struct {
	B    b.Client
	C    c.Client
	HTTP next.HTTP
	rt   *graylib.Runtime
}

// Caller returns a caller of the mesh's services.
func (m *Mesh) Caller() *Caller {
	m.t.Helper()
	id := graylib.Identity{Service: "a", Addr: "127.0.0.1:1"}
	rt, err := graylib.New(id, graylib.WithRegistry(m.Registry.As(id)), graylib.WithRules(graylib.StaticRules(m.Rules)),
		graylib.WithLogger(slog.New(slog.DiscardHandler)), graylib.WithHops())
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
	plain, err := client.NewClient()
	over, err := grayhertz.WrapClient(plain, err, grayhertz.WithRuntime(rt))
	if err != nil {
		m.t.Fatal(err)
	}
	caller.HTTP = next.HTTP{Client: over, Timeout: limit}
	return caller
}

// Arrived returns a context as a handler of the caller has it, for a request with the tag.
func (c *Caller) Arrived(ctx context.Context, tag graylib.Tag) context.Context {
	keys := graylib.HTTPKeys
	ctx, _ = c.rt.Arrive(ctx, graylib.ProtocolHTTP, keys, graylib.MapCarrier{keys.Tag: string(tag), keys.RequestID: "req-1"})
	return ctx
}
