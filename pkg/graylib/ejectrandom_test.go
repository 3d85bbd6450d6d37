package graylib_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

// On random histories: what is ejected is chosen only where nothing of its lane, nor of the baseline, is left; a call of one
// lane never reaches another.
func TestEjectionProperty(t *testing.T) {
	tags := []graylib.Tag{"", "gray", "blue"}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(rt, "instances")
		var instances []graylib.Instance
		for i := range n {
			instances = append(instances, graylib.Instance{Addr: fmt.Sprint("h", i), Tag: rapid.SampledFrom(tags).Draw(rt, "tag")})
		}
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [3]int {
			return [3]int{rapid.IntRange(0, 2).Draw(t, "tag"), rapid.IntRange(0, 3).Draw(t, "end"), rapid.IntRange(0, n-1).Draw(t, "which")}
		}), 0, 60).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			b := newEjecting(t, graylib.Ejection{After: 2}, instances...)
			for _, step := range steps {
				tag := tags[step[0]]
				out := map[string]bool{}
				for _, e := range b.rt.Ejected()["b"] {
					out[e.Addr] = true
				}
				left := map[graylib.Tag]int{}
				for _, in := range instances {
					if !out[in.Addr] {
						left[in.Tag]++
					}
				}
				_, call := b.rt.Depart(graylib.WithTag(context.Background(), tag), "b", nil)
				in, reason, err := call.Next(b.table)
				if err != nil {
					continue
				}
				switch {
				case in.Tag != tag && in.Tag != "":
					t.Fatalf("tag %q reached lane %q", tag, in.Tag)
				case out[in.Addr] && (left[tag] > 0 || left[""] > 0):
					t.Fatalf("tag %q reached %s, which is ejected; left %v", tag, in.Addr, left)
				case left[tag] > 0 && in.Tag != tag:
					t.Fatalf("tag %q reached %+v (%s), though its lane has %d left", tag, *in, reason, left[tag])
				case reason == graylib.ReasonEjected && left[tag] > 0:
					t.Fatalf("reason %q with %d left", reason, left[tag])
				}
				switch step[1] {
				case 0:
					call.Answered()
				case 1, 2:
					b.setSilent(step[1] == 1, in.Addr)
					call.TimedOut()
				case 3:
					b.setSilent(false, instances[step[2]].Addr)
					time.Sleep(time.Second)
				}
				synctest.Wait()
			}
			b.close()
		})
	})
}

// Callers, pushes and ends of all kinds at once: for the race detector.
func TestEjectionAtOnce(t *testing.T) {
	b := newEjecting(t, graylib.Ejection{After: 2, ProbePause: time.Millisecond, ProbeMax: 2 * time.Millisecond}, twoAndTwo...)
	var work sync.WaitGroup
	var n atomic.Int64
	for g := range 4 {
		work.Go(func() {
			for i := range 2000 {
				_, call := b.rt.Depart(graylib.WithTag(context.Background(), []graylib.Tag{"", "gray"}[g%2]), "b", nil)
				in, _, err := call.Next(b.table)
				if err != nil {
					t.Error(err)
					return
				}
				switch (i + g) % 7 {
				case 0:
					call.Answered()
				case 1:
					b.setSilent(i%2 == 0, in.Addr)
				default:
					call.TimedOut()
				}
				n.Add(int64(len(b.rt.Ejected())))
			}
		})
	}
	work.Go(func() {
		for i := range 200 {
			b.store(append([]graylib.Instance{{Addr: fmt.Sprint("x", i%3)}}, twoAndTwo...)...)
		}
	})
	work.Wait()
	b.close()
	if b.rt.Ejections() == 0 || n.Load() == 0 {
		t.Error("nothing was ever ejected")
	}
}

func TestChoosingAllocatesNothingWithEjections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEjecting(t, graylib.Ejection{}, twoAndTwo...)
		b.setSilent(true, "b1", "g1")
		b.timeOut("", "b1", 5)
		b.timeOut("gray", "g1", 5)
		synctest.Wait()
		ctx := graylib.WithTag(context.Background(), "gray")
		if got := testing.AllocsPerRun(200, func() {
			_, call := b.rt.Depart(ctx, "b", nil)
			_, _, _ = call.Next(b.table)
			call.Answered()
		}); got > 1 {
			t.Errorf("%v allocations, want the context's alone", got)
		}
		b.close()
	})
}
