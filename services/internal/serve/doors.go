package serve

import (
	"context"
	"errors"
	"time"

	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/middlewares/server/recovery"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/adaptor"
	hertzconfig "github.com/cloudwego/hertz/pkg/common/config"
	kitex "github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/pkg/graylib"
)

// dialTimeout is how long a connection may take: services stand close to each other, and the next instance is tried.
const dialTimeout = time.Second

// HTTPServer returns a Hertz server on HTTP_PORT whose bodies stream. The address is taken from now on.
func (a *App) HTTPServer() (*server.Hertz, error) {
	ln, err := a.listen("HTTP_PORT", a.Config.ListenHTTP())
	if err != nil {
		return nil, err
	}
	h := server.New(
		server.WithListener(ln),
		server.WithStreamBody(true),
		server.WithDisablePreParseMultipartForm(true),
		server.WithExitWaitTime(a.Config.Drain),
		server.WithDisablePrintRoute(true),
		server.WithHandleMethodNotAllowed(true),
	)
	h.GET(graylib.MetricsPath, adaptor.HertzHandler(a.metrics)) // before the middleware: a scrape is no request of the service
	h.Use(a.requests.http, recovery.Recovery())
	return h, nil
}

// ServeHTTP adds a Hertz server that HTTPServer made.
func (a *App) ServeHTTP(h *server.Hertz) {
	a.Serve(Server{Name: "http", Run: h.Run, Stop: func(ctx context.Context) error {
		err := a.drained(ctx, &a.requests)
		ctx, cancel := context.WithTimeout(ctx, flushTime)
		defer cancel()
		return errors.Join(err, h.Shutdown(ctx))
	}})
}

// drained waits until nothing is being handled, as long as the drain limit allows.
func (a *App) drained(ctx context.Context, f *inFlight) error {
	ctx, cancel := context.WithTimeout(ctx, a.Config.Drain)
	defer cancel()
	return f.wait(ctx)
}

// HTTPClient returns a Hertz client. It looks at a pooled connection before it uses it again: on one whose server was
// restarted a request with a body would be lost, as it can't be repeated.
func (a *App) HTTPClient(opts ...hertzconfig.ClientOption) (*client.Client, error) {
	return client.NewClient(append([]hertzconfig.ClientOption{
		client.WithDialTimeout(dialTimeout), client.WithPooledConnHealthCheck(true),
	}, opts...)...)
}

// RPCOptions returns what every Kitex server of a service is made with: the listener on RPC_PORT, and a life that this
// package alone decides about. The address is taken from now on.
func (a *App) RPCOptions() ([]kitex.Option, error) {
	ln, err := a.listen("RPC_PORT", a.Config.ListenRPC())
	if err != nil {
		return nil, err
	}
	never := make(chan error)
	return []kitex.Option{
		kitex.WithListener(ln),
		kitex.WithMiddleware(a.calls.rpc),
		kitex.WithExitWaitTime(flushTime),
		kitex.WithExitSignal(func() <-chan error { return never }),
	}, nil
}

// ServeRPC adds a Kitex server that was made with RPCOptions.
func (a *App) ServeRPC(s kitex.Server) {
	a.Serve(Server{Name: "rpc", Run: s.Run, Stop: func(ctx context.Context) error {
		return errors.Join(a.drained(ctx, &a.calls), s.Stop())
	}})
}
