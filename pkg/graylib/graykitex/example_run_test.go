package graykitex_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// A service with a baseline and a lane, each call by a caller whose request has another tag.
func ExampleNewClientSuite() {
	registry := graylibtest.NewRegistry()
	runtime := func(service string, tag graylib.Tag) *graylib.Runtime {
		id := graylib.Identity{Service: service, Tag: tag}
		rt, err := graylib.New(id, graylib.WithRegistry(registry.As(id)), graylib.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			panic(err)
		}
		return rt
	}
	for _, tag := range []graylib.Tag{graylib.Untagged, "gray"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		svr := c.NewServer(&named{"c" + string(tag)}, server.WithListener(ln), server.WithExitSignal(func() <-chan error { return nil }),
			server.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(runtime("c", tag)), graykitex.WithSettle(0))))
		go func() { _ = svr.Run() }()
		defer func() { _ = svr.Stop() }()
	}
	for deadline := time.Now().Add(10 * time.Second); len(registry.Instances("c.rpc")) < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}

	toC, err := c.NewClient("c", client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(runtime("b", "")))))
	if err != nil {
		panic(err)
	}
	for _, tag := range []graylib.Tag{"", "gray", "blue"} {
		ctx := graylib.WithTag(context.Background(), tag) // a handler gets it from its server's adapter
		resp, err := toC.Invoke(ctx, chain.NewRequest())
		if err != nil {
			panic(err)
		}
		fmt.Printf("%-5s %s\n", tag, resp.GetPayload())
	}
	// Output:
	// -     c saw tag -
	// gray  cgray saw tag gray
	// blue  c saw tag blue
}

// named is the service's handler; only an example's looks at the tag.
type named struct{ name string }

func (n *named) Invoke(ctx context.Context, _ *chain.Request) (*chain.Response, error) {
	text := fmt.Sprintf("%s saw tag %s", n.name, graylib.TagFrom(ctx))
	return &chain.Response{Payload: &text}, nil
}

func (n *named) Relay(context.Context, chain.C_relayServer) error { return nil }
