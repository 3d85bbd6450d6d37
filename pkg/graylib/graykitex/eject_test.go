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

// soon and patient are how long calls may take: those to a frozen instance fail within a test's time, those that must succeed do
// so on a machine that is busy too.
const (
	soon    = 300 * time.Millisecond
	patient = time.Minute
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
		timeout int  // of the client, as a multiple of what a call may take; 0 = none
		context bool // the context has a deadline
	}{
		"call with a timeout":      {"invoke", 1, false},
		"call with a deadline":     {"invoke", 0, true},
		"earlier than its timeout": {"invoke", 2, true},
		"bidi":                     {"bidi", 0, true},
		"client stream":            {"client", 0, true},
		"server stream":            {"server", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMesh(t)
			door, served := m.behindDoor("")
			m.serve(m.runtime("b", ""), nil)
			a := m.runtime("a", "", graylib.WithEjection(graylib.Ejection{
				After: 3, ProbeTimeout: time.Second, ProbePause: 30 * time.Millisecond, ProbeMax: 100 * time.Millisecond,
			}))
			t.Cleanup(func() { _ = a.Close() })
			clients := map[time.Duration]*serviceClient{}
			for _, limit := range []time.Duration{soon, patient} {
				clients[limit] = m.client(a, "b", client.WithRPCTimeout(time.Duration(tc.timeout)*limit))
			}
			do := func(limit time.Duration) error {
				ctx := context.Background()
				if tc.context {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, limit)
					defer cancel()
				}
				_, err := clients[limit].call(ctx, tc.kind, "x")
				return err
			}
			for range 10 {
				if err := do(patient); err != nil {
					t.Fatal(err)
				}
			}
			door.Freeze()
			failed := 0
			eventually(t, "it is ejected", func() bool {
				if do(soon) != nil {
					failed++
				}
				return len(a.Ejected()["b.rpc"]) == 1
			})
			if failed < 3 || failed > 20 { // while it is asked for a sign of life calls go on
				t.Errorf("%d calls failed until it was ejected", failed)
			}
			before := served.Load()
			for range 30 {
				if err := do(patient); err != nil {
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
				if err := do(patient); err != nil {
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
	for quick, tries := 0, 0; quick < 20; tries++ { // over a second, in which a probe that was asked for would have ended
		if tries == 200 {
			t.Fatalf("%d of %d streams were given up at once: the machine stands still too often", quick, tries)
		}
		ctx, cancel := context.WithCancel(context.Background())
		began := time.Now()
		stop := time.AfterFunc(70*time.Millisecond, cancel).Stop
		if _, err := c.call(ctx, "bidi", "x"); err == nil {
			t.Error("answered")
		}
		stop()
		cancel()
		if e := a.Ejected(); len(e) > 0 {
			t.Fatalf("ejected: %+v", e)
		}
		if quick++; time.Since(began) > 500*time.Millisecond { // not at once: an answer takes what it says back
			quick--
			door.Thaw()
			call(t.Context(), t, c, "bidi")
			door.Freeze()
		}
	}
}

// A server that is alive answers the probe, whatever it serves; and is not ejected for what its callees cost.
func TestASlowInstanceIsNotEjected(t *testing.T) {
	m := newMesh(t)
	slow := make(chan struct{})
	m.serve(m.runtime("b", ""), func(context.Context, string) (string, error) { <-slow; return "", nil })
	defer close(slow)
	a := m.runtime("a", "", graylib.WithEjection(graylib.Ejection{After: 2, ProbeTimeout: patient}))
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
	t.Parallel()
	const try = 2 * time.Second // the one that answers must do so within it too
	for _, timeout := range []time.Duration{0, patient} {
		m := newMesh(t)
		door, _ := m.behindDoor("gray")
		m.serve(m.runtime("b", ""), nil)
		a := m.runtime("a", "")
		c := m.client(a, "b", client.WithRPCTimeout(timeout), client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(a))))
		repeating, err := newServiceClient("b", client.WithRPCTimeout(timeout), client.WithSuite(graykitex.NewClientSuite(
			graykitex.WithRuntime(a), graykitex.WithIdempotent("invoke", "bidi"), graykitex.WithTryTimeout(try))))
		if err != nil {
			t.Fatal(err)
		}
		door.Freeze()
		ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
		begun := time.Now()
		if got := call(ctx, t, repeating, "invoke"); got.Tag != "" || got.Request != "gray" || got.Payload != "x" {
			t.Errorf("reached %+v", got)
		}
		if took := time.Since(begun); took < try || took > patient/2 {
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
	t.Parallel()
	m := newMesh(t)
	one, servedOne := m.behindDoor("")
	two, servedTwo := m.behindDoor("gray")
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: two.Addr()}) // of the baseline too
	a := m.runtime("a", "")
	newClient := func(timeout time.Duration, opts ...graykitex.Option) *serviceClient {
		c, err := newServiceClient("b", client.WithRPCTimeout(timeout), client.WithSuite(graykitex.NewClientSuite(
			append(opts, graykitex.WithRuntime(a), graykitex.WithTryTimeout(2*time.Second))...)))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	once, repeating, after := newClient(2*time.Second), newClient(patient, graykitex.WithIdempotent("invoke")), newClient(patient)
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
		call(t.Context(), t, after, "invoke") // what comes after it was served after it
		if got := servedOne.Load() + servedTwo.Load() - before - 1; got != want {
			t.Errorf("served %d times, want %d", got, want)
		}
	}
}
