package main

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	hclient "github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/hertz/pkg/protocol"
	"github.com/cloudwego/kitex/pkg/klog"
)

// BenchmarkHop is what the page's table of hops is made of, for profiles: go test ./bench -run - -bench Hop -cpuprofile cpu.out.
func BenchmarkHop(b *testing.B) {
	contestants, err := hopContestants()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range contestants {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			c.do(b.N)
		})
	}
}

// TestHopAllocations holds what issue 4 asks of a hop: carrying the tag allocates three times at most beyond the bare transport.
func TestHopAllocations(t *testing.T) {
	contestants, err := hopContestants()
	if err != nil {
		t.Fatal(err)
	}
	allocations := func(i int) float64 { return testing.AllocsPerRun(500, func() { contestants[i].do(1) }) }
	if bare, tagged := allocations(0), allocations(1); tagged > bare+3 {
		t.Errorf("%s: %v allocations, %s: %v", contestants[0].name, bare, contestants[1].name, tagged)
	}
}

// BenchmarkChain is what the page's table of chains is made of, for profiles: one chain at a time.
func BenchmarkChain(b *testing.B) {
	klog.SetOutput(io.Discard)
	hlog.SetOutput(io.Discard)
	for _, start := range chainStarts {
		b.Run(start.name, func(b *testing.B) {
			s, err := start.chain(start.name)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.close() })
			web, err := hclient.NewClient(hclient.WithMaxConnsPerHost(2*connections), hclient.WithDialTimeout(time.Second))
			if err != nil {
				b.Fatal(err)
			}
			if err := s.awake(web); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var all sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N))
			for range connections {
				all.Go(func() {
					req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
					defer protocol.ReleaseRequest(req)
					defer protocol.ReleaseResponse(resp)
					for left.Add(-1) >= 0 {
						if err := s.ask(context.Background(), web, req, resp); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}
