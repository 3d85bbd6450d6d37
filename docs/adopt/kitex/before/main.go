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
)

func main() {
	toC, err := c.NewClient("c", client.WithHostPorts("c:13080"))
	if err != nil {
		panic(err)
	}
	addr := &net.TCPAddr{Port: 12080}
	svr := b.NewServer(&handler{c: toC}, server.WithServiceAddr(addr))
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
