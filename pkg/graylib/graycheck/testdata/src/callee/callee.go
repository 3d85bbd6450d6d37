package callee

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/bytedance/gopkg/util/gopool"
	"github.com/panjf2000/ants/v2"
	"golang.org/x/sync/errgroup"

	"rpc"
)

type service struct {
	b        rpc.Client
	producer rpc.Producer
	ctx      context.Context
	pool     ants.Pool
}

func (s *service) refresh() { _, _ = s.b.Invoke(context.Background(), "r") }

func (s *service) limited() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := s.b.Invoke(ctx, "r")
	return err
}

func (s *service) notify() { _, _ = http.Get("http://b/b") }

func (s *service) deep() { s.deeper(3) }

func (s *service) deeper(n int) {
	if n > 0 {
		s.deeper(n - 1)
	}
	s.refresh()
}

func generic[T any](s *service, v T) T {
	s.refresh()
	return v
}

func (s *service) serve(ctx context.Context, c *rpc.RequestContext) {
	s.refresh()       // want `refresh makes calls without a context \(callee\.go:24\) and loses the tag, request id and trace of ctx: give it a context`
	_ = s.limited()   // want `limited makes calls without a context \(callee\.go:29\)`
	s.deep()          // want `deep makes calls without a context \(callee\.go:24\)`
	_ = generic(s, 1) // want `generic makes`
	go s.notify()     // want `notify makes calls without a context \(callee\.go:33\)`
	defer s.refresh() // want `refresh`
	go func() {
		s.refresh() // want `refresh`
	}()
}

func (s *service) pools(ctx context.Context) {
	_ = s.pool.Submit(s.refresh)           // want `refresh`
	_ = ants.Submit(s.refresh)             // want `refresh`
	gopool.Go(s.notify)                    // want `notify`
	gopool.CtxGo(ctx, s.notify)            // want `notify`
	time.AfterFunc(time.Second, s.refresh) // want `refresh`
	var group errgroup.Group
	group.Go(s.limited)        // want `limited`
	_ = group.TryGo(s.limited) // want `limited`
	var wg sync.WaitGroup
	wg.Go(s.deep) // want `deep`
	_ = s.pool.Submit(func() {
		s.refresh() // want `refresh`
	})
	_ = s.pool.Submit(s.quiet)
}

// From here on: what is left alone.

func (s *service) quiet() { slog.InfoContext(context.Background(), "nothing is carried on") }

// start begins a loop of the service's own.
func (s *service) start() {
	go func() { s.serve(context.Background(), nil) }()
	s.ctx, _ = context.WithCancel(context.Background())
}

func (s *service) flush() { _ = s.producer.Shutdown(context.Background()) }

func (s *service) stopAll() { _ = s.producer.SendSync(context.Background(), "the end") }

func (s *service) meant() {
	_, _ = s.b.Invoke(context.Background(), "r") //graycheck:ignore the cache is everybody's
}

func (s *service) own() { _, _ = s.b.Invoke(s.ctx, "r") }

func (s *service) run(ctx context.Context) {
	s.start()
	defer s.flush()
	defer s.stopAll()
	s.meant()
	s.own()
	s.register(s.refresh) // whose task it will be isn't known
	s.refresh()           //graycheck:ignore warms up the cache
	_ = s.with(ctx)
}

func (s *service) register(job func()) {}

func (s *service) with(ctx context.Context) error {
	_, err := s.b.Invoke(ctx, "r")
	return err
}

func main() {
	s := &service{}
	s.refresh()
	s.serve(context.Background(), nil)
}
