package graylib_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// TestNextUnderSwaps: a table is swapped under calls, while instances are ejected and come back and one zone is preferred: each
// instance that a call gets is of the lane that the reason says (G1), and none of a lane where the call has no tag (G2). Meant for
// -race.
func TestNextUnderSwaps(t *testing.T) {
	reg := graylibtest.NewRegistry()
	id := graylib.Identity{Service: "a", Instance: "a-1"}
	rt, err := graylib.New(id, graylib.WithZone("z1"), graylib.WithRegistry(reg.As(id)), graylib.WithEjection(graylib.Ejection{
		After: 2, ProbeTimeout: time.Second, ProbePause: time.Millisecond, ProbeMax: 2 * time.Millisecond,
	}))
	if err != nil {
		t.Fatal(err)
	}
	table, err := rt.Table(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	var probes atomic.Int64
	table.SetProbe(func(context.Context, string) error {
		if probes.Add(1)%3 == 0 {
			return nil
		}
		return errors.New("not yet")
	})
	snapshots := make([]*graylib.Snapshot, 6)
	for i := range snapshots { // i of six are the lane's
		var list []graylib.Instance
		for k := range 6 {
			in := graylib.Instance{Addr: fmt.Sprint("h:", k), Weight: 1 + float64(i%2*k), Zone: fmt.Sprint("z", k%2)}
			if k < i {
				in.Tag, in.Addr = "gray", fmt.Sprint("gray:", k)
			}
			list = append(list, in)
		}
		snapshots[i] = graylib.NewSnapshot(list)
	}
	table.Store(snapshots[0])

	stop := make(chan struct{})
	var callers, others sync.WaitGroup
	var calls, lanes atomic.Int64
	for p := range 4 {
		callers.Go(func() {
			tag := []graylib.Tag{"", "gray"}[p%2]
			ctx := graylib.WithTag(context.Background(), tag)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_, call := rt.Depart(ctx, "b", nil)
				tried := make(map[string]bool)
				for j := range 3 {
					in, reason, err := call.Next(table)
					if err != nil {
						break
					}
					if tag == graylib.Untagged && in.Tag != graylib.Untagged || (reason == graylib.ReasonLane) != (in.Tag == "gray") || tried[in.Addr] {
						t.Errorf("tag %q got %+v for %q after %v", tag, *in, reason, tried)
						return
					}
					tried[in.Addr] = true
					calls.Add(1)
					if reason == graylib.ReasonLane {
						lanes.Add(1)
					}
					switch (i + j) % 4 {
					case 0:
						call.TimedOut()
					case 1:
						call.Answered()
					case 2:
						call.NotConnected()
					}
				}
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				rt.Ejected()
				rt.Routes()
			}
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	for i := 0; i < 2000 || calls.Load() < 1000 || lanes.Load() == 0 || rt.Ejections() == 0; i++ {
		table.Store(snapshots[i%len(snapshots)])
		if time.Now().After(deadline) {
			t.Errorf("in 30 s %d tries, %d in the lane, %d ejections", calls.Load(), lanes.Load(), rt.Ejections())
			break
		}
	}
	close(stop)
	callers.Wait()
	others.Wait()
	if err := rt.Close(); err != nil {
		t.Error(err)
	}
}
