package grayhttp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// WithService sets the name under which a server registers. The default is the runtime's service.
func WithService(name string) Option { return func(o *options) { o.service = name } }

// WithAdvertise sets the host, or host:port, by which others reach a server. See [graylib.AdvertisedAddr] for the default.
func WithAdvertise(addr string) Option { return func(o *options) { o.advertise = addr } }

// WithWeight sets the weight with which a server registers; the default is 1.
func WithWeight(w float64) Option { return func(o *options) { o.weight = w } }

// WithSettle sets how long a server goes on serving between being deregistered and stopping. The default is
// [graylib.DefaultSettle].
func WithSettle(d time.Duration) Option { return func(o *options) { o.settle = d } }

// Server is an [http.Server] that is registered while it serves. See [WrapServer].
type Server struct {
	*http.Server
	options *options
	err     error // of the process-wide default
	handler sync.Once
	opts    []Option

	mu        sync.Mutex
	stopped   bool
	announced []*graylib.Announcement
}

// WrapServer makes a server gray-aware: its handler is wrapped in [Handler] when it begins to serve, it is registered once it
// listens, and Shutdown takes it back first, goes on serving until callers have dropped the route, and then drains and closes, so
// that no request is lost. Of what Shutdown's context allows, the settle time is used up by that. Where the process-wide
// default can't be built, the methods that serve return the reason.
func WrapServer(srv *http.Server, opts ...Option) *Server {
	o, err := apply(opts)
	return &Server{Server: srv, options: o, err: err, opts: opts}
}

// ListenAndServe is [http.Server.ListenAndServe].
func (s *Server) ListenAndServe() error {
	return s.listen(":http", s.Serve)
}

// ListenAndServeTLS is [http.Server.ListenAndServeTLS].
func (s *Server) ListenAndServeTLS(certFile, keyFile string) error {
	return s.listen(":https", func(ln net.Listener) error { return s.ServeTLS(ln, certFile, keyFile) })
}

func (s *Server) listen(addr string, serve func(net.Listener) error) error {
	if s.err != nil {
		return s.err
	}
	if s.Addr != "" {
		addr = s.Addr
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serve(ln)
}

// Serve is [http.Server.Serve].
func (s *Server) Serve(ln net.Listener) error { return s.serve(ln, s.Server.Serve) }

// ServeTLS is [http.Server.ServeTLS].
func (s *Server) ServeTLS(ln net.Listener, certFile, keyFile string) error {
	return s.serve(ln, func(ln net.Listener) error { return s.Server.ServeTLS(ln, certFile, keyFile) })
}

func (s *Server) serve(ln net.Listener, serve func(net.Listener) error) error {
	if err := s.announce(ln); err != nil {
		_ = ln.Close()
		return err
	}
	err := serve(ln)
	if !errors.Is(err, http.ErrServerClosed) {
		_ = s.withdraw(context.Background(), 0) // nobody can be served any more; the failure is logged
	}
	return err
}

// announce offers the server at the listener's address.
func (s *Server) announce(ln net.Listener) error {
	if s.err != nil {
		return s.err
	}
	rt := s.options.rt
	addr, err := graylib.AdvertisedAddr(ln.Addr(), s.options.advertise)
	if err != nil {
		return err
	}
	s.handler.Do(func() {
		next := s.Handler
		if next == nil {
			next = http.DefaultServeMux
		}
		s.Handler = Handler(next, s.opts...)
	})
	rt.SetAddr(addr)
	service := s.options.service
	if service == "" {
		service = rt.Identity().Service
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.announced = append(s.announced, rt.Announce(graylib.Registration{Service: service, Addr: addr, Weight: s.options.weight}))
	}
	return nil
}

func (s *Server) withdraw(ctx context.Context, settle time.Duration) error {
	s.mu.Lock()
	s.stopped = true
	announced := s.announced
	s.mu.Unlock()
	errs := make([]error, len(announced))
	var wg sync.WaitGroup
	for i, a := range announced {
		wg.Go(func() { errs[i] = a.Withdraw(ctx, settle) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Shutdown takes the server back, waits until callers have dropped the route, and then is [http.Server.Shutdown]. The error
// joins those of both; a registry that is away keeps nothing from being shut down.
func (s *Server) Shutdown(ctx context.Context) error {
	settle := time.Duration(0)
	if s.err == nil {
		settle = s.options.settle
	}
	return errors.Join(s.withdraw(ctx, settle), s.Server.Shutdown(ctx))
}

// Close takes the server back without waiting for callers, and is [http.Server.Close].
func (s *Server) Close() error {
	return errors.Join(s.withdraw(context.Background(), 0), s.Server.Close())
}
