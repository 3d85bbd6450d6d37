package graykitex_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/pkg/graylib/graykitex"
)

func TestRegistration(t *testing.T) {
	m := newMesh(t)
	m.registry.SetDown(true)
	rt := m.runtime("b", "gray")
	run := func(opts ...graykitex.Option) server.Server {
		svr := server.NewServer(server.WithServiceAddr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}),
			server.WithExitSignal(func() <-chan error { return nil }),
			graykitex.ServerOption(append(opts, graykitex.WithRuntime(rt), graykitex.WithSettle(0))...))
		if err := svr.RegisterService(serviceInfo, &serviceHandler{}); err != nil {
			t.Fatal(err)
		}
		go func() { _ = svr.Run() }()
		return svr
	}
	svr := run(graykitex.WithAdvertise("10.0.0.5"), graykitex.WithService("orders"), graykitex.WithWeight(2))
	eventually(t, "the status says why it isn't ready", func() bool {
		s := rt.Status()
		return len(s.NotReady) == 1 && strings.Contains(s.NotReady[0], "orders.rpc: registry is down")
	})
	m.registry.SetDown(false)
	began := time.Now()
	eventually(t, "it is registered", func() bool { return len(m.registry.Instances("orders.rpc")) == 1 })
	in := m.registry.Instances("orders.rpc")[0]
	if host, port, err := net.SplitHostPort(in.Addr); host != "10.0.0.5" || port == "0" || err != nil || in.Tag != "gray" || in.Weight != 2 {
		t.Errorf("registered %+v", in)
	}
	if rt.Identity().Addr != in.Addr {
		t.Errorf("hops show %q, registered is %q", rt.Identity().Addr, in.Addr)
	}
	t.Logf("registered %v after the registry's return", time.Since(began))
	if err := svr.Stop(); err != nil {
		t.Error(err)
	}
	if left := m.registry.Instances("orders.rpc"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	silent := run(graykitex.WithEndpoint("exact"), graykitex.WithoutRegistration())
	exact := run(graykitex.WithEndpoint("exact"))
	eventually(t, "one is registered under its exact name", func() bool { return len(m.registry.Instances("exact")) == 1 })
	_ = exact.Stop()
	_ = silent.Stop()
}

func TestStoppingOneServerLeavesTheOthersConnectionsAlone(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	c := m.client(m.runtime("a", ""), "b")
	for i := range 5 {
		_, stop := m.serve(m.runtime("other", ""), nil)
		ctx, cancel := context.WithCancel(context.Background())
		opener := make(chan struct{})
		go func() { // descriptors are opened all the while
			defer close(opener)
			for ctx.Err() == nil {
				if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
					if _, err := net.DialTimeout("tcp", ln.Addr().String(), time.Minute); err != nil {
						t.Errorf("stop %d: %v", i, err)
					}
					if err := ln.Close(); err != nil {
						t.Errorf("stop %d: closing a stranger's listener: %v", i, err)
					}
				}
				for _, kind := range kinds {
					if _, err := c.call(ctx, kind, "x"); err != nil && ctx.Err() == nil {
						t.Errorf("stop %d: %s: %v", i, kind, err)
					}
				}
			}
		}()
		stop()
		cancel()
		<-opener
	}
}

// TestGracefulStopUnderLoad starts and stops instances beside one that stays while a caller that hears of it 50 ms late sends on.
// The settle time is what a caller has that is held up by a busy machine.
func TestGracefulStopUnderLoad(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.registry.SetDelay(50 * time.Millisecond)
	m.serve(m.runtime("b", ""), nil)
	c := m.client(m.runtime("a", ""), "b")
	if _, err := c.call(context.Background(), "invoke", "x"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var sent, failed atomic.Int64
	var wg sync.WaitGroup
	for _, kind := range kinds {
		wg.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C { // 4 x 50 = 200 calls a second
				if _, err := c.call(context.Background(), kind, "x"); err != nil {
					failed.Add(1)
					t.Logf("%s: %v", kind, err)
				}
				sent.Add(1)
			}
		})
	}
	m.settle = 4 * time.Second
	var stops sync.WaitGroup
	for range 3 {
		_, stop := m.serve(m.runtime("b", ""), nil)
		n := sent.Load()
		eventually(t, "50 calls are sent", func() bool { return sent.Load() > n+50 })
		stops.Go(stop)
	}
	stops.Wait()
	cancel()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d calls failed", failed.Load(), sent.Load())
	}
	t.Logf("%d calls over 3 stops, %d failed", sent.Load(), failed.Load())
}
