package grayhttp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
)

// run serves a wrapped server of a runtime, and returns when it is registered.
func (m *mesh) run(rt *graylib.Runtime, opts ...grayhttp.Option) (srv *grayhttp.Server, ended chan error) {
	m.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	srv = grayhttp.WrapServer(&http.Server{Handler: echo(rt), ReadHeaderTimeout: 5 * time.Second},
		append([]grayhttp.Option{grayhttp.WithRuntime(rt), grayhttp.WithSettle(100 * time.Millisecond)}, opts...)...)
	ended = make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	eventually(m.t, "it is registered", func() bool {
		for _, in := range m.registry.Instances(rt.Identity().Service) {
			if in.Addr == ln.Addr().String() {
				return true
			}
		}
		return false
	})
	return srv, ended
}

func TestWrapServer(t *testing.T) {
	m := newMesh(t)
	base, baseEnded := m.run(m.runtime("b", ""))
	gray, grayEnded := m.run(m.runtime("b", "gray"), grayhttp.WithWeight(2))
	c := m.client(m.runtime("a", ""))
	for _, tag := range []graylib.Tag{"", "gray"} {
		if got := do(graylib.WithTag(t.Context(), tag), t, c, http.MethodGet, "http://b/", nil); got.Tag != tag || got.Request != tag {
			t.Errorf("tag %q: %+v", tag, got)
		}
	}
	if err := gray.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-grayEnded; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if got := do(graylib.WithTag(t.Context(), "gray"), t, c, http.MethodGet, "http://b/", nil); got.Tag != "" || got.Request != "gray" {
		t.Errorf("after the lane's end: %+v", got)
	}
	if err := base.Close(); err != nil {
		t.Error(err)
	}
	if err := <-baseEnded; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if left := m.registry.Instances("b"); len(left) != 0 {
		t.Errorf("left in the registry: %v", left)
	}
}

// TestWrapServerStopsWithoutLoss starts and stops instances beside one that stays while a caller that hears of it 50 ms late
// sends on. The settle time is what a caller has that is held up by a busy machine.
func TestWrapServerStopsWithoutLoss(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.registry.SetDelay(50 * time.Millisecond)
	stay, stayEnded := m.run(m.runtime("b", ""))
	c := m.client(m.runtime("a", ""))
	do(t.Context(), t, c, http.MethodGet, "http://b/", nil)
	ctx, cancel := context.WithCancel(t.Context())
	var sent, failed atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://b/", strings.NewReader("x")) // no GET: net/http would repeat that
				if err != nil {
					t.Error(err)
					return
				}
				sent.Add(1)
				resp, err := c.Do(req)
				if err != nil {
					failed.Add(1)
					t.Log(err)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	var stops sync.WaitGroup
	for range 3 {
		srv, ended := m.run(m.runtime("b", ""), grayhttp.WithSettle(4*time.Second))
		n := sent.Load()
		eventually(t, "40 requests are sent", func() bool { return sent.Load() > n+40 })
		stops.Go(func() {
			if err := srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
	stops.Wait()
	cancel()
	wg.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	t.Logf("%d requests over 3 stops, %d failed", sent.Load(), failed.Load())
	_ = stay.Close()
	if err := <-stayEnded; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestWrapServerRefusals(t *testing.T) {
	m := newMesh(t)
	wrong := grayhttp.WrapServer(&http.Server{Addr: "127.0.0.1:0"}, grayhttp.WithRuntime(m.runtime("b", "")), grayhttp.WithAdvertise("no such:host:"))
	if err := wrong.ListenAndServe(); !errors.Is(err, graylib.ErrInvalidConfig) || !strings.Contains(err.Error(), `"no such:host:"`) {
		t.Errorf("a wrong address to advertise: %v", err)
	}
	graylib.SetDefault(nil)
	t.Cleanup(func() { graylib.SetDefault(nil) })
	t.Setenv(graylib.EnvService, "b")
	t.Setenv(graylib.EnvTag, "Gray!")
	broken := grayhttp.WrapServer(&http.Server{Addr: "127.0.0.1:0"})
	if err := broken.ListenAndServe(); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("a broken default: %v", err)
	}
	if err := broken.Close(); err != nil {
		t.Error(err)
	}
}
