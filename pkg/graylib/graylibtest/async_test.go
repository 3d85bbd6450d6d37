package graylibtest_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bytedance/gopkg/util/gopool"
	kclient "github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	kserver "github.com/cloudwego/kitex/server"
	"github.com/panjf2000/ants/v2"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/kitex_gen/chain/b"
	"github.com/graychain/graychain/kitex_gen/chain/c"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayants"
	"github.com/graychain/graychain/pkg/graylib/grayerrgroup"
	"github.com/graychain/graychain/pkg/graylib/graygopool"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// reached is where a piece of work ended up: on an instance of c with its own tag, having carried a tag.
type reached struct{ own, carried graylib.Tag }

// workLog is what the instances of c were asked to do, by payload.
type workLog struct {
	mu   sync.Mutex
	seen map[string][]reached
}

func (l *workLog) done() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

type loggingC struct {
	serviceC
	own graylib.Tag
	log *workLog
}

func (s *loggingC) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	s.log.mu.Lock()
	s.log.seen[r.GetPayload()] = append(s.log.seen[r.GetPayload()], reached{s.own, graylib.TagFrom(ctx)})
	s.log.mu.Unlock()
	return &chain.Response{}, nil
}

// asyncB leaves its calls of c to workers: one with what its request carries, and one with nothing. To every other request
// it answers at once, with the others it waits for its workers.
type asyncB struct {
	serviceB
	ways     []func(ctx context.Context, task func(context.Context)) error
	fail     func(error)
	requests atomic.Int64
}

func (s *asyncB) Invoke(ctx context.Context, r *chain.Request) (*chain.Response, error) {
	var calls sync.WaitGroup
	call := func(payload string) func(context.Context) {
		calls.Add(1)
		return func(ctx context.Context) {
			defer calls.Done()
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			if _, err := s.c.Invoke(ctx, &chain.Request{Payload: &payload}); err != nil {
				s.fail(fmt.Errorf("%s: %w", payload, err))
			}
		}
	}
	for i, way := range s.ways {
		if err := way(graylib.Detach(ctx), call(fmt.Sprintf("way %d of %s", i, r.GetPayload()))); err != nil {
			return nil, err
		}
		if err := way(context.Background(), call(fmt.Sprintf("way %d beside %s", i, r.GetPayload()))); err != nil {
			return nil, err
		}
	}
	if s.requests.Add(1)%2 == 0 {
		calls.Wait()
	}
	return &chain.Response{}, nil
}

// TestTagThroughWorkers sends tagged and untagged requests at once to a service whose few workers do the rest, often after the answer.
// All of them run for everybody in turn. Kitex's backup of contexts by goroutine is on: it hands the tag's metainfo to tagless
// calls on the handler's own goroutine, and the client has to take it off again.
func TestTagThroughWorkers(t *testing.T) {
	klog.SetOutput(io.Discard)
	x := &chainOf{t: t, registry: graylibtest.NewRegistry(), rules: &graylibtest.Rules{}}
	log := &workLog{seen: make(map[string][]reached)}
	for _, tag := range []graylib.Tag{graylib.Untagged, "gray"} {
		rt, ln := x.runtime("c", tag), x.listen()
		x.run("c.rpc", ln, c.NewServer(&loggingC{own: tag, log: log}, x.kitexOptions(rt, ln)...))
	}

	few, err := ants.NewPool(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(few.Release)
	one := graygopool.NewPool(t.Name(), 1, gopool.NewConfig())
	var group grayerrgroup.Group
	group.SetLimit(4)
	ways := []func(context.Context, func(context.Context)) error{
		grayants.Wrap(few).Submit,
		func(ctx context.Context, task func(context.Context)) error { one.Go(ctx, task); return nil },
		func(ctx context.Context, task func(context.Context)) error {
			group.Go(ctx, func(ctx context.Context) error { task(ctx); return nil })
			return nil
		},
		func(ctx context.Context, task func(context.Context)) error { graylib.Go(ctx, task); return nil },
		func(ctx context.Context, task func(context.Context)) error {
			graylib.AfterFunc(ctx, time.Millisecond, task)
			return nil
		},
		func(ctx context.Context, task func(context.Context)) error { task(ctx); return nil },
	}
	rt, ln := x.runtime("b", graylib.Untagged), x.listen()
	toC, err := c.NewClient("c", x.suite(rt), kclient.WithContextBackup(func(_, ctx context.Context) (context.Context, bool) { return ctx, true }))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	handler := &asyncB{serviceB: serviceB{toC}, ways: ways, fail: func(err error) {
		select {
		case failed <- err:
		default:
		}
	}}
	x.run("b.rpc", ln, b.NewServer(handler, append(x.kitexOptions(rt, ln), kserver.WithContextBackup(true, true))...))
	toB, err := b.NewClient("b", x.suite(x.runtime("a", graylib.Untagged)))
	if err != nil {
		t.Fatal(err)
	}

	const callers, each = 4, 25
	tagOf := func(n int) graylib.Tag { return []graylib.Tag{graylib.Untagged, "gray", "nobody"}[n%3] }
	payload := func(n int) string { return fmt.Sprint("request ", n) }
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				n := caller*each + i
				text := payload(n)
				if _, err := toB.Invoke(graylib.WithTag(t.Context(), tagOf(n)), &chain.Request{Payload: &text}); err != nil {
					t.Errorf("%s: %v", text, err)
				}
			}
		})
	}
	all.Wait()
	want := callers * each * len(ways) * 2
	for deadline := time.Now().Add(30 * time.Second); log.done() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s %d of %d pieces of work are done", log.done(), want)
		}
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-failed:
		t.Error(err)
	default:
	}
	for n := range callers * each {
		tag := tagOf(n)
		ofRequest := reached{own: tag, carried: tag}
		if tag == "nobody" {
			ofRequest.own = graylib.Untagged // no instance of that lane
		}
		for i := range ways {
			for text, wanted := range map[string]reached{"of": ofRequest, "beside": {}} {
				work := fmt.Sprintf("way %d %s %s", i, text, payload(n))
				if got := log.seen[work]; len(got) != 1 || got[0] != wanted {
					t.Errorf("broke G3 propagation: %s, tag %s, reached %v, want %v", work, tag, got, wanted)
				}
			}
		}
	}
}
