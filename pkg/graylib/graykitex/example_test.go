package graykitex_test

import (
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
)

// A server that registers as b.rpc, and its client of c, by the process-wide default.
func Example() {
	toC, err := c.NewClient("c", client.WithSuite(graykitex.NewClientSuite()))
	if err != nil {
		panic(err)
	}
	svr := b.NewServer(newHandler(toC), server.WithSuite(graykitex.NewServerSuite()))
	if err := svr.Run(); err != nil {
		panic(err)
	}
}

// newHandler stands for the application.
func newHandler(c.Client) chain.B { return nil }
