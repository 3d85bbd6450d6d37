package graykitex_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// fast ejects and asks within what a test may take.
var fast = graylib.WithEjection(graylib.Ejection{
	After: 3, ProbeTimeout: 100 * time.Millisecond, ProbePause: 30 * time.Millisecond, ProbeMax: 100 * time.Millisecond,
})

// behindDoor starts an instance of service b that is reached through a door, and counts what it serves.
func (m *mesh) behindDoor(tag graylib.Tag) (d *graylibtest.Door, served *atomic.Int64) {
	served = &atomic.Int64{}
	rt := m.runtime("hidden"+string(tag), tag)
	addr, _ := m.serve(rt, func(ctx context.Context, payload string) (string, error) {
		served.Add(1)
		return saw(ctx, rt, payload), nil
	})
	d = graylibtest.NewDoor(m.t, addr)
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: d.Addr(), Tag: tag})
	return d, served
}

// Kitex itself gives up after six.
func TestALaneOfDeadInstancesReachesTheBaselineWithinTheCall(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	for range 9 {
		m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	}
	a := m.runtime("a", "")
	c := m.client(a, "b")
	for _, kind := range kinds {
		ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
		if got := call(ctx, t, c, kind); got.Tag != "" {
			t.Fatalf("%s reached %+v", kind, got)
		}
		if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Reason != graylib.ReasonConnectFailed {
			t.Errorf("%s: hops %+v", kind, hops)
		}
	}
}

func TestDeadInstancesAreEjected(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	a := m.runtime("a", "", fast)
	t.Cleanup(func() { _ = a.Close() })
	c := m.client(a, "b")
	reason := func() graylib.Reason {
		ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
		call(ctx, t, c, "invoke")
		hops, _ := arrival.Chain()
		return hops[1].Reason
	}
	for i := range 3 {
		if r := reason(); r != graylib.ReasonConnectFailed {
			t.Fatalf("call %d: %q", i, r)
		}
	}
	eventually(t, "it is ejected", func() bool { return reason() == graylib.ReasonEjected })
}

func TestAFrozenInstanceIsEjectedAndComesBack(t *testing.T) {
	for name, tc := range map[string]struct {
		kind    string
		opts    []client.Option
		timeout time.Duration // of the context
	}{
		"call with a timeout":      {"invoke", []client.Option{client.WithRPCTimeout(300 * time.Millisecond)}, 0},
		"call with a deadline":     {"invoke", nil, 300 * time.Millisecond},
		"earlier than its timeout": {"invoke", []client.Option{client.WithRPCTimeout(600 * time.Millisecond)}, 300 * time.Millisecond},
		"bidi":                     {"bidi", nil, 300 * time.Millisecond},
		"client stream":            {"client", nil, 300 * time.Millisecond},
		"server stream":            {"server", nil, 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			door, served := m.behindDoor("")
			m.serve(m.runtime("b", ""), nil)
			a := m.runtime("a", "", fast)
			t.Cleanup(func() { _ = a.Close() })
			c := m.client(a, "b", tc.opts...)
			do := func() error {
				ctx := context.Background()
				if tc.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tc.timeout)
					defer cancel()
				}
				_, err := c.call(ctx, tc.kind, "x")
				return err
			}
			for range 10 {
				if err := do(); err != nil {
					t.Fatal(err)
				}
			}
			door.Freeze()
			failed := 0
			eventually(t, "it is ejected", func() bool {
				if do() != nil {
					failed++
				}
				return len(a.Ejected()["b.rpc"]) == 1
			})
			if failed < 3 || failed > 8 {
				t.Errorf("%d calls failed until it was ejected", failed)
			}
			before := served.Load()
			for range 30 {
				if err := do(); err != nil {
					t.Fatalf("after its ejection: %v", err)
				}
			}
			if e := a.Ejected()["b.rpc"]; len(e) != 1 || e[0].Addr != door.Addr() || !strings.Contains(e[0].Why, "no sign of life") {
				t.Errorf("ejected %+v", e)
			}
			if n := served.Load(); n != before {
				t.Errorf("it was sent %d more", n-before)
			}
			door.Thaw()
			eventually(t, "it is back", func() bool {
				if err := do(); err != nil {
					t.Fatal(err)
				}
				return len(a.Ejected()) == 0 && served.Load() > before+6
			})
		})
	}
}

// A service in the middle of a chain sees that its stream is cancelled when the time of its caller has run out.
func TestCancelledStreamsOfAFrozenInstance(t *testing.T) {
	m := newMesh(t)
	door, _ := m.behindDoor("")
	a := m.runtime("a", "", fast)
	t.Cleanup(func() { _ = a.Close() })
	c := m.client(a, "b")
	call(t.Context(), t, c, "bidi")
	door.Freeze()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer time.AfterFunc(1200*time.Millisecond, cancel).Stop()
			if _, err := c.call(ctx, "bidi", "x"); err == nil {
				t.Error("answered")
			}
		})
	}
	all.Wait()
	eventually(t, "it is ejected", func() bool { return a.Ejections() == 1 })
}

// A caller that gives a stream up at once says nothing of the instance.
func TestStreamsThatAreGivenUpAtOnce(t *testing.T) {
	m := newMesh(t)
	door, _ := m.behindDoor("")
	a := m.runtime("a", "", fast)
	t.Cleanup(func() { _ = a.Close() })
	c := m.client(a, "b")
	call(t.Context(), t, c, "bidi")
	door.Freeze()
	for range 20 { // over a second, in which a probe that was asked for would have ended
		ctx, cancel := context.WithCancel(context.Background())
		stop := time.AfterFunc(70*time.Millisecond, cancel).Stop
		if _, err := c.call(ctx, "bidi", "x"); err == nil {
			t.Error("answered")
		}
		stop()
		cancel()
		if e := a.Ejected(); len(e) > 0 {
			t.Fatalf("ejected: %+v", e)
		}
	}
}

// A server that is alive answers the probe, whatever it serves; and is not ejected for what its callees cost.
func TestASlowInstanceIsNotEjected(t *testing.T) {
	m := newMesh(t)
	slow := make(chan struct{})
	m.serve(m.runtime("b", ""), func(context.Context, string) (string, error) { <-slow; return "", nil })
	defer close(slow)
	a := m.runtime("a", "", graylib.WithEjection(graylib.Ejection{After: 2, ProbeTimeout: 5 * time.Second}))
	t.Cleanup(func() { _ = a.Close() })
	c := m.client(a, "b", client.WithRPCTimeout(20*time.Millisecond))
	for range 7 {
		if _, err := c.call(t.Context(), "invoke", "x"); !errors.Is(err, kerrors.ErrRPCTimeout) {
			t.Fatal(err)
		}
	}
	if a.Ejections() != 0 {
		t.Errorf("ejected %+v", a.Ejected())
	}
}

func TestIdempotentCallsFailOver(t *testing.T) {
	for _, timeout := range []time.Duration{0, 5 * time.Second} {
		m := newMesh(t)
		door, _ := m.behindDoor("gray")
		m.serve(m.runtime("b", ""), nil)
		a := m.runtime("a", "")
		c := m.client(a, "b", client.WithRPCTimeout(timeout), client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(a))))
		repeating, err := newServiceClient("b", client.WithRPCTimeout(timeout), client.WithSuite(graykitex.NewClientSuite(
			graykitex.WithRuntime(a), graykitex.WithIdempotent("invoke", "bidi"), graykitex.WithTryTimeout(100*time.Millisecond))))
		if err != nil {
			t.Fatal(err)
		}
		door.Freeze()
		ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
		begun := time.Now()
		if got := call(ctx, t, repeating, "invoke"); got.Tag != "" || got.Request != "gray" || got.Payload != "x" {
			t.Errorf("reached %+v", got)
		}
		if took := time.Since(begun); took < 100*time.Millisecond || took > 3*time.Second {
			t.Errorf("took %s", took)
		}
		if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Reason != graylib.ReasonTimedOut {
			t.Errorf("hops %+v", hops)
		}
		// The others wait for their own time, and fail.
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if _, err := c.call(short, "invoke", "x"); err == nil {
			t.Error("a call that may not be repeated was")
		}
	}
}

// A call that isn't idempotent is served once at most, though it timed out; one that is, once by each instance.
func TestHowOftenACallIsServed(t *testing.T) {
	m := newMesh(t)
	one, servedOne := m.behindDoor("")
	two, servedTwo := m.behindDoor("gray")
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: two.Addr()}) // of the baseline too
	a := m.runtime("a", "")
	newClient := func(opts ...graykitex.Option) *serviceClient {
		c, err := newServiceClient("b", client.WithRPCTimeout(time.Second), client.WithSuite(graykitex.NewClientSuite(
			append(opts, graykitex.WithRuntime(a), graykitex.WithTryTimeout(50*time.Millisecond))...)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	once, repeating := newClient(), newClient(graykitex.WithIdempotent("invoke"))
	for c, want := range map[*serviceClient]int64{once: 1, repeating: 2} {
		before := servedOne.Load() + servedTwo.Load()
		one.Freeze()
		two.Freeze()
		if _, err := c.call(t.Context(), "invoke", "x"); err == nil {
			t.Error("answered by nobody")
		}
		one.Thaw()
		two.Thaw()
		eventually(t, "the frozen ones have served it", func() bool { return servedOne.Load()+servedTwo.Load() >= before+want })
		call(t.Context(), t, c, "invoke") // what comes after it was served after it
		if got := servedOne.Load() + servedTwo.Load() - before - 1; got != want {
			t.Errorf("served %d times, want %d", got, want)
		}
	}
}
