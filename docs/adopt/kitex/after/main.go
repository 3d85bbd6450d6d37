// B is a service on Kitex that calls another one.
package main

import (
	"context"
	"net"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	_ "github.com/graychain/graychain/pkg/graylib/graynacos" // where services are found, and the rules
)

func main() {
	toC, err := c.NewClient("c", client.WithSuite(graykitex.NewClientSuite()))
	if err != nil {
		panic(err)
	}
	addr := &net.TCPAddr{Port: 12080}
	svr := b.NewServer(&handler{c: toC}, server.WithServiceAddr(addr), server.WithSuite(graykitex.NewServerSuite()))
	if err := svr.Run(); err != nil {
		panic(err)
	}
}

type handler struct{ c c.Client }

func (h *handler) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	return h.c.Invoke(ctx, r)
}

func (h *handler) Relay(ctx context.Context, st chain.B_relayServer) error {
	r, err := st.Recv(ctx)
	if err != nil {
		return err
	}
	resp, err := h.c.Invoke(ctx, r)
	if err != nil {
		return err
	}
	return st.Send(ctx, resp)
}
