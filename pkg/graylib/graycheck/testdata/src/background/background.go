package background

import (
	"context"
	"net/http"
	"testing"
	"time"

	"rpc"
)

type service struct {
	b        rpc.Client
	producer rpc.Producer
}

// A handler of an HTTP framework, a method of an RPC server, a message handler: each has a context.
func (s *service) Invoke(ctx context.Context, request string) (string, error) {
	if _, err := s.b.Invoke(context.Background(), request); err != nil { // want `context\.Background\(\) loses the tag, request id and trace of ctx: pass ctx on, or graylib\.Detach\(ctx\)`
		return "", err
	}
	if err := s.producer.SendSync(context.TODO(), "m"); err != nil { // want `context\.TODO\(\) loses`
		return "", err
	}
	return s.b.Invoke(ctx, request)
}

func (s *service) serve(ctx context.Context, c *rpc.RequestContext) {
	limited, cancel := context.WithTimeout(context.Background(), time.Second) // want `loses the tag, request id and trace of ctx`
	defer cancel()
	_, _ = s.b.Invoke(limited, "r")
	own := context.Background() // want `loses`
	_, _ = s.b.Invoke(own, "r")
	var other = context.WithValue(context.TODO(), c, 1) // want `loses`
	_, _ = s.b.Invoke(other, "r")
	c.String(200, "ok")
}

func (s *service) goroutines(ctx context.Context) {
	go func() {
		_, _ = s.b.Invoke(context.Background(), "r") // want `loses`
	}()
	go s.Invoke(context.Background(), "r") // want `loses`
	time.AfterFunc(time.Second, func() {
		_ = s.producer.SendSync(context.Background(), "m") // want `loses`
	})
	go func() {
		_, _ = s.b.Invoke(context.WithoutCancel(ctx), "r")
	}()
	_ = s.producer.SendAsync(ctx, func(ctx context.Context, err error) {
		_, _ = s.b.Invoke(context.Background(), "r") // want `loses`
		_, _ = s.b.Invoke(ctx, "r")
	}, "m")
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = s.b.Invoke(context.Background(), "r") // want `of r\.Context\(\): pass r\.Context\(\) on`
	_, _ = s.b.Invoke(r.Context(), "r")
	func() {
		_, _ = s.b.Invoke(context.Background(), "r") // want `of r\.Context\(\)`
	}()
}

func (s *service) Relay(stream rpc.Stream) error {
	_, err := s.b.Invoke(context.Background(), "r") // want `of stream\.Context\(\)`
	return err
}

func (s *service) unnamed(context.Context, *rpc.RequestContext) {
	_, _ = s.b.Invoke(context.Background(), "r") // want `of the context parameter: give the parameter a name and pass it on`
}

func (s *service) blank(_ context.Context) {
	_, _ = s.b.Invoke(context.Background(), "r") // want `give the parameter a name`
}

func (s *service) reassigned(ctx context.Context) {
	ctx = context.Background() // want `loses`
	_, _ = s.b.Invoke(ctx, "r")
}

func returned(ctx context.Context) context.Context {
	return context.Background() // want `loses`
}

// A shadowed name leaves no fix to suggest.
func (s *service) shadowed(ctx context.Context) {
	{
		ctx := "text"
		_, _ = s.b.Invoke(context.Background(), ctx) // want `loses`
	}
	{
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		_, _ = s.b.Invoke(context.Background(), "r") // want `loses`
		_ = ctx
	}
}

// From here on: what is left alone.

func (s *service) fallbacks(ctx context.Context, r *http.Request) {
	if ctx == nil {
		ctx = context.Background()
	}
	if nil == ctx || s == nil {
		ctx = context.TODO()
	}
	if ctx != nil {
		_, _ = s.b.Invoke(ctx, "r")
	} else {
		_, _ = s.b.Invoke(context.Background(), "r")
	}
	if ctx == context.Background() {
		return
	}
	if s == nil {
		_, _ = s.b.Invoke(context.Background(), "r") // want `loses`
	}
	if ctx == nil {
		return
	} else {
		_, _ = s.b.Invoke(context.Background(), "r") // want `loses`
	}
}

func ofRequest(r *http.Request) context.Context {
	if r == nil {
		return context.Background()
	}
	return r.Context()
}

func (s *service) meant(ctx context.Context) {
	//graycheck:ignore the cache is everybody's
	_, _ = s.b.Invoke(context.Background(), "r")
	_, _ = s.b.Invoke(context.Background(), "r") //graycheck:ignore nobody waits for it
	_, _ = s.b.Invoke(ctx, "r")
	_, _ = s.b.Invoke(context.Background(), "r") // want `loses`
}

func (s *service) directives(ctx context.Context) {
	// want +1 `//graycheck:ignore needs a reason after it`
	//graycheck:ignore
	_, _ = s.b.Invoke(context.Background(), "r") // want `loses`
	//graycheck:ignored is another word
	_, _ = s.b.Invoke(context.Background(), "r") // want `loses`
}

// Nothing is at hand here: a program's start, a job, a test.
func main() {
	s := &service{}
	_, _ = s.b.Invoke(context.Background(), "r")
	go func() { s.serve(context.Background(), nil) }()
}

func (s *service) job(period time.Duration) { s.serve(context.Background(), nil) }

func helper(tb testing.TB, t *testing.T) { _, _ = rpc.Client{}.Invoke(context.Background(), "r") }

var _ = func() context.Context { return context.Background() }
