package grayhertz_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestRegistryAwayAtStart(t *testing.T) {
	m := newMesh(t)
	m.registry.SetDown(true)
	rt := m.runtime("a", "")
	ln := listener(t)
	url := "http://" + ln.Addr().String() + graylib.ReadyPath
	h := grayhertz.WrapServer(server.New(server.WithListener(ln)), grayhertz.WithRuntime(rt), grayhertz.WithSettle(0))
	done := make(chan error, 1)
	go func() { done <- h.Run() }()
	eventually(t, "it serves, and says that it isn't ready", func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == 503 && strings.Contains(string(body), graylibtest.ErrRegistryDown.Error())
	})
	m.registry.SetDown(false)
	eventually(t, "it is registered", func() bool { return len(m.registry.Instances("a")) == 1 && rt.Status().Ready })
	if err := h.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left := m.registry.Instances("a"); len(left) != 0 {
		t.Errorf("left in the registry: %v", left)
	}
}

// TestGracefulStopUnderLoad starts and stops instances beside one that stays while a caller that hears of it 50 ms late sends on.
// The settle time is what a caller has that is held up by a busy machine.
func TestGracefulStopUnderLoad(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.registry.SetDelay(50 * time.Millisecond)
	m.serve(m.runtime("b", ""), nil)
	caller := m.client(m.runtime("a", ""))
	get(context.Background(), t, caller, "http://b/echo")

	ctx, cancel := context.WithCancel(context.Background())
	var sent, failed atomic.Int64
	var lastErr atomic.Pointer[string]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C { // 4 x 50 = 200 requests a second
				req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
				req.SetRequestURI("http://b/echo")
				req.SetMethod("POST") // Hertz would repeat a GET
				req.SetBodyString("x")
				req.SetOptions(config.WithSD(true))
				err := caller.Do(context.Background(), req, resp)
				if err != nil || resp.StatusCode() != 200 {
					failed.Add(1)
					text := fmt.Sprintf("status %d, %v", resp.StatusCode(), err)
					lastErr.Store(&text)
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
		eventually(t, "50 requests are sent", func() bool { return sent.Load() > n+50 })
		stops.Go(stop)
	}
	stops.Wait()
	cancel()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed, the last with: %s", failed.Load(), sent.Load(), *lastErr.Load())
	}
	t.Logf("%d requests over 3 stops, %d failed", sent.Load(), failed.Load())
}

func TestStopDrains(t *testing.T) {
	m := newMesh(t)
	m.exitWait = time.Minute
	const size = 3 << 20
	begun := make(chan struct{}, 2)
	goOn := make(chan struct{})
	addr, stop := m.serve(m.runtime("b", ""), func(h *server.Hertz) {
		h.GET("/slow", func(_ context.Context, c *app.RequestContext) {
			begun <- struct{}{}
			<-goOn
			c.String(http.StatusOK, "done")
		})
		h.GET("/stream", func(_ context.Context, c *app.RequestContext) {
			r, w := io.Pipe()
			go func() {
				_, _ = w.Write(make([]byte, size/2))
				begun <- struct{}{}
				<-goOn
				_, _ = w.Write(make([]byte, size/2))
				_ = w.Close()
			}()
			c.SetBodyStream(r, -1)
		})
	})
	hc := &http.Client{Transport: &http.Transport{}}
	defer hc.CloseIdleConnections()
	resp, err := hc.Get("http://" + addr + "/echo")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close() // the connection stays

	type result struct {
		n   int64
		err error
	}
	results := make(chan result, 2)
	for _, path := range []string{"/slow", "/stream"} {
		go func() {
			resp, err := http.Get("http://" + addr + path)
			if err != nil {
				results <- result{0, err}
				return
			}
			defer func() { _ = resp.Body.Close() }()
			n, err := io.Copy(io.Discard, resp.Body)
			results <- result{n, err}
		}()
	}
	<-begun
	<-begun
	stopped := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(stopped)
		stop()
	}()
	eventually(t, "it is taken back", func() bool { return len(m.registry.Instances("b")) == 0 })
	time.AfterFunc(400*time.Millisecond, func() { close(goOn) })
	total := int64(0)
	for range 2 {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		total += r.n
	}
	if total != size+4 {
		t.Errorf("%d bytes arrived of %d", total, size+4)
	}
	<-stopped
	if took := time.Since(began); took < 400*time.Millisecond || took > m.exitWait/2 {
		t.Errorf("the stop took %v; the requests took 0.4 s, and the exit wait time is %v", took, m.exitWait)
	}
}
