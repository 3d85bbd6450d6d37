package graylib_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestProbes(t *testing.T) {
	httpServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "PRI" && r.URL.Path != graylib.ReadyPath {
			t.Errorf("asked for %s", r.URL.Path)
		}
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	}))
	defer httpServer.Close()
	frozen := listener(t, nil)
	hangsUp := listener(t, func(c net.Conn) { _ = c.Close() })
	for name, tc := range map[string]struct {
		addr    string
		timeout time.Duration
		ok      bool
		sign    error
	}{
		"not ready": {httpServer.Listener.Addr().String(), time.Minute, true, nil},
		"hangs up":  {hangsUp.Addr().String(), time.Minute, true, nil},
		"frozen":    {frozen.Addr().String(), 2 * time.Second, false, graylib.ErrNoSign}, // once it is connected
		"gone":      {graylibtest.ReserveAddr(t), time.Minute, false, nil},
	} {
		for kind, probe := range map[string]graylib.Probe{"http": graylib.ProbeHTTP, "rpc": graylib.ProbeRPC} {
			ctx, cancel := context.WithTimeout(t.Context(), tc.timeout)
			begun := time.Now()
			err := probe(ctx, tc.addr)
			cancel()
			if (err == nil) != tc.ok || tc.sign != nil && !errors.Is(err, tc.sign) {
				t.Errorf("%s over %s: %v", name, kind, err)
			}
			if took := time.Since(begun); took > tc.timeout+30*time.Second {
				t.Errorf("%s over %s took %s", name, kind, took)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := graylib.ProbeHTTP(ctx, frozen.Addr().String()); err == nil {
		t.Error("a probe that was given up found life")
	}
}

// listener takes connections and gives them to serve; nil = does nothing with them.
func listener(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	if serve != nil {
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				serve(c)
			}
		}()
	}
	return ln
}
