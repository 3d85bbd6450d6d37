package graylib_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

// ejecting is a table of one service whose instances answer probes or not, as a test says.
type ejecting struct {
	t     testing.TB
	rt    *graylib.Runtime
	table *graylib.Table

	mu     sync.Mutex
	silent map[string]bool
	probes map[string][]time.Time
}

func newEjecting(t testing.TB, e graylib.Ejection, instances ...graylib.Instance) *ejecting {
	t.Helper()
	b := &ejecting{t: t, table: graylib.NewTable("b"), silent: map[string]bool{}, probes: map[string][]time.Time{}}
	b.rt = newRuntime(t, baselineSelf, graylib.WithRegistry(oneTable{table: b.table}), graylib.WithEjection(e),
		graylib.WithLogger(slog.New(slog.DiscardHandler)))
	b.store(instances...)
	b.table.SetProbe(func(_ context.Context, addr string) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.probes[addr] = append(b.probes[addr], time.Now())
		if b.silent[addr] {
			return graylib.ErrNoSign
		}
		return nil
	})
	if _, err := b.rt.Table(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *ejecting) close() {
	b.t.Helper()
	if err := b.rt.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *ejecting) store(instances ...graylib.Instance) {
	for i := range instances {
		instances[i].Weight = 1
		if instances[i].ID == "" {
			instances[i].ID = "id-" + instances[i].Addr
		}
	}
	b.table.Store(graylib.NewSnapshot(instances))
}

func (b *ejecting) setSilent(silent bool, addrs ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range addrs {
		b.silent[a] = silent
	}
}

func (b *ejecting) asked(addr string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.probes[addr])
}

// to makes a call that goes to addr, among up to 1000, and returns it; nil where none does.
func (b *ejecting) to(tag graylib.Tag, addr string) *graylib.Call {
	for range 1000 {
		_, call := b.rt.Depart(graylib.WithTag(context.Background(), tag), "b", nil)
		in, _, err := call.Next(b.table)
		if err != nil {
			b.t.Fatal(err)
		}
		if in.Addr == addr {
			return call
		}
	}
	return nil
}

// timeOut makes n calls to addr time out.
func (b *ejecting) timeOut(tag graylib.Tag, addr string, n int) {
	b.t.Helper()
	for range n {
		c := b.to(tag, addr)
		if c == nil {
			b.t.Fatalf("no call goes to %s", addr)
		}
		c.TimedOut()
	}
}

// goes returns where calls of a tag go, and why.
func (b *ejecting) goes(tag graylib.Tag) map[string]graylib.Reason {
	b.t.Helper()
	out := map[string]graylib.Reason{}
	for range 200 {
		_, call := b.rt.Depart(graylib.WithTag(context.Background(), tag), "b", nil)
		in, reason, err := call.Next(b.table)
		if err != nil {
			b.t.Fatal(err)
		}
		out[in.Addr] = reason
		call.Ended(context.Canceled) // says nothing of the instance
	}
	return out
}

func (b *ejecting) wantGoes(tag graylib.Tag, reason graylib.Reason, addrs ...string) {
	b.t.Helper()
	want := map[string]graylib.Reason{}
	for _, a := range addrs {
		want[a] = reason
	}
	if diff := cmp.Diff(want, b.goes(tag)); diff != "" {
		b.t.Errorf("calls tagged %q go (-want +got):\n%s", tag, diff)
	}
}

var twoAndTwo = []graylib.Instance{{Addr: "b1"}, {Addr: "b2"}, {Addr: "g1", Tag: "gray"}, {Addr: "g2", Tag: "gray"}}

func TestEjectionAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{}, twoAndTwo...)
		b.setSilent(true, "b1")
		b.timeOut("", "b1", 4)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2")
		if n := b.asked("b1"); n != 0 {
			t.Fatalf("%d probes before the fifth failure", n)
		}
		begun := time.Now()
		b.timeOut("", "b1", 1)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b2")
		b.wantGoes("gray", graylib.ReasonLane, "g1", "g2")
		if e := b.rt.Ejected()["b"]; len(e) != 1 || e[0].Addr != "b1" || !strings.Contains(e[0].Why, "no sign of life") || b.rt.Ejections() != 1 {
			t.Errorf("ejected %+v, %d times", e, b.rt.Ejections())
		}
		// Probes at pauses that double from a second to thirty.
		time.Sleep(150 * time.Second)
		b.setSilent(false, "b1")
		var at []int
		b.mu.Lock()
		for _, p := range b.probes["b1"] {
			at = append(at, int(p.Sub(begun)/time.Second))
		}
		b.mu.Unlock()
		if diff := cmp.Diff([]int{0, 1, 3, 7, 15, 31, 61, 91, 121}, at); diff != "" {
			t.Errorf("probes at seconds (-want +got):\n%s", diff)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2")
		if e := b.rt.Ejected(); len(e) != 0 {
			t.Errorf("ejected %+v", e)
		}
		time.Sleep(time.Hour)
		if n := b.asked("b1"); n != 10 {
			t.Errorf("%d probes, and it is back since the tenth", n)
		}
	})
}

func TestWhatCountsAsFailure(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	deadline := fmt.Errorf("read: %w", context.DeadlineExceeded)
	for name, tc := range map[string]struct {
		end  func(*graylib.Call)
		want bool
	}{
		"timed out":              {func(c *graylib.Call) { c.TimedOut() }, true},
		"overdue":                {func(c *graylib.Call) { c.Overdue() }, true},
		"not connected":          {func(c *graylib.Call) { c.NotConnected() }, true},
		"an error of dialling":   {func(c *graylib.Call) { c.Ended(refused) }, true},
		"an error of time":       {func(c *graylib.Call) { c.Ended(deadline) }, true},
		"the caller gave up":     {func(c *graylib.Call) { c.Ended(&net.OpError{Op: "dial", Err: context.Canceled}) }, false},
		"the connection broke":   {func(c *graylib.Call) { c.Ended(io.ErrUnexpectedEOF) }, false},
		"it answered":            {func(c *graylib.Call) { c.Ended(nil) }, false},
		"given up for long":      {func(c *graylib.Call) { c.GivenUp() }, true},
		"nothing is said":        {func(*graylib.Call) {}, false},
		"it answered, then time": {func(c *graylib.Call) { c.Answered(); c.TimedOut(); c.Overdue() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newEjecting(t, graylib.Ejection{After: 3}, twoAndTwo...)
				b.setSilent(true, "b1")
				for range 3 {
					tc.end(b.to("", "b1"))
				}
				synctest.Wait()
				if got := len(b.rt.Ejected()) > 0; got != tc.want {
					t.Errorf("ejected: %v, want %v", got, tc.want)
				}
				b.close()
			})
		})
	}
}

// An answer ends the row of failures; calling Next again says that the last one couldn't be connected to.
func TestFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{}, twoAndTwo...)
		b.setSilent(true, "b1")
		for range 3 {
			b.timeOut("", "b1", 4)
			b.to("", "b1").Answered()
		}
		synctest.Wait()
		if b.asked("b1") != 0 {
			t.Error("asked, though it answered in between")
		}
		for range 5 {
			if _, _, err := b.to("", "b1").Next(b.table); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b2")
		b.close()
	})
}

// A caller whose callee is frozen times out as well: it answers probes and is not ejected for it, unless nothing but timeouts
// comes of it for long.
func TestAnInstanceThatAnswersProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{}, twoAndTwo...)
		for range 19 {
			b.timeOut("", "b1", 1)
			synctest.Wait()
		}
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2")
		if n := b.asked("b1"); n != 3 {
			t.Errorf("asked %d times for 19 failures", n)
		}
		b.timeOut("", "b1", 1)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b2")
		for _, pause := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			time.Sleep(pause - time.Millisecond)
			b.wantGoes("", graylib.ReasonBaseline, "b2")
			time.Sleep(time.Millisecond)
			synctest.Wait()
			b.wantGoes("", graylib.ReasonBaseline, "b1", "b2")
			b.timeOut("", "b1", 5)
			synctest.Wait()
		}
		b.wantGoes("", graylib.ReasonBaseline, "b2")
		time.Sleep(time.Minute)
		synctest.Wait()
		b.to("", "b1").Answered()
		b.timeOut("", "b1", 5)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2") // it begins anew
		b.close()
	})
}

// Callers that give up make it be asked, as often as they do, and no more.
func TestGivenUpEjectsNoneThatAnswersProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{}, twoAndTwo...)
		for range 100 {
			b.to("", "b1").GivenUp()
			synctest.Wait()
		}
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2")
		if n := b.asked("b1"); n != 20 {
			t.Errorf("asked %d times", n)
		}
		b.close()
	})
}

func TestNobodyIsEjectedToTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{}, twoAndTwo...)
		b.setSilent(true, "b1", "b2", "g1", "g2")
		b.timeOut("gray", "g1", 5)
		synctest.Wait()
		b.wantGoes("gray", graylib.ReasonLane, "g2")
		b.timeOut("gray", "g2", 5)
		synctest.Wait()
		b.wantGoes("gray", graylib.ReasonEjected, "b1", "b2")
		b.wantGoes("blue", graylib.ReasonNoInstance, "b1", "b2")
		b.timeOut("", "b1", 5)
		synctest.Wait()
		b.wantGoes("gray", graylib.ReasonEjected, "b2")
		b.timeOut("", "b2", 5)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2")
		b.wantGoes("gray", graylib.ReasonLane, "g1", "g2")

		// An answer brings one back without a probe.
		b.to("", "b2").Answered()
		b.wantGoes("", graylib.ReasonBaseline, "b2")
		b.wantGoes("gray", graylib.ReasonEjected, "b2")
		b.close()
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2")
		b.wantGoes("gray", graylib.ReasonLane, "g1", "g2")
	})
}

// A service that has no baseline keeps its lane.
func TestALaneWithoutABaselineIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{}, graylib.Instance{Addr: "g1", Tag: "gray"})
		b.setSilent(true, "g1")
		b.timeOut("gray", "g1", 5)
		synctest.Wait()
		b.wantGoes("gray", graylib.ReasonLane, "g1")
		if len(b.rt.Ejected()) != 1 {
			t.Error("not ejected")
		}
		b.close()
	})
}

func TestEjectionFollowsTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{}, twoAndTwo...)
		b.setSilent(true, "b1")
		b.timeOut("", "b1", 5)
		synctest.Wait()
		b.store(append([]graylib.Instance{{Addr: "b3"}}, twoAndTwo...)...)
		b.wantGoes("", graylib.ReasonBaseline, "b2", "b3") // a push doesn't bring it back
		late := b.to("", "b3")
		b.store(graylib.Instance{Addr: "b1", ID: "another"}, graylib.Instance{Addr: "b2"})
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2") // another process at the address
		b.timeOut("", "b1", 5)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b2")
		b.store(graylib.Instance{Addr: "b2"})
		for range 5 {
			late.TimedOut() // of one that is gone
		}
		n := b.asked("b1")
		time.Sleep(time.Hour)
		if b.asked("b1") != n || b.asked("b3") != 0 || len(b.rt.Ejected()) != 0 {
			t.Errorf("what is gone is asked, or ejected: %v", b.rt.Ejected())
		}
	})
}

func TestNothingIsEjectedWhereItIsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{After: -1}, twoAndTwo...)
		b.setSilent(true, "b1")
		b.timeOut("", "b1", 100)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2")
	})
}

// A lane that doesn't answer a call which may be repeated: the baseline gets it, and the reason says so.
func TestReasonOfATimeout(t *testing.T) {
	b := newEjecting(t, graylib.Ejection{After: -1}, twoAndTwo...)
	_, call := b.rt.Depart(graylib.WithTag(t.Context(), "gray"), "b", nil)
	var got []graylib.Reason
	for range 3 {
		_, reason, err := call.Next(b.table)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, reason)
		call.TimedOut()
	}
	if diff := cmp.Diff([]graylib.Reason{graylib.ReasonLane, graylib.ReasonLane, graylib.ReasonTimedOut}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Close implements [graylib.Registry].
func (oneTable) Close() error { return nil }
