package grayhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestCallsWithinACall: a RoundTripper below ours that fetches a token from another service, in the request's context, makes a call
// like any other.
func TestCallsWithinACall(t *testing.T) {
	m := newMesh(t)
	for _, service := range []string{"b", "auth"} {
		m.serve(m.runtime(service, ""), nil)
		m.serve(m.runtime(service, "gray"), nil)
	}
	a := m.runtime("a", "")
	tokens := m.client(a)
	var token answer
	base := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(base.CloseIdleConnections)
	c := &http.Client{Transport: grayhttp.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		token = do(r.Context(), t, tokens, http.MethodGet, "http://auth/token", nil)
		return base.RoundTrip(r.Clone(r.Context()))
	}), grayhttp.WithRuntime(a))}
	ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
	got := do(ctx, t, c, http.MethodGet, "http://b/x", nil)
	if got.Service != "b" || got.Tag != "gray" || got.Request != "gray" {
		t.Errorf("the call: %+v", got)
	}
	if token.Service != "auth" || token.Tag != "gray" || token.Request != "gray" {
		t.Errorf("the call within: %+v, want one of auth's lane", token)
	}
	if hops, _ := arrival.Chain(); len(hops) != 3 {
		t.Errorf("hops %+v, want those of both calls", hops)
	}
}

// TestTwiceWithACopy: where Transport stands twice, and what is in between hands on a copy of the request, the call is one.
func TestTwiceWithACopy(t *testing.T) {
	m := newMesh(t)
	addr, _ := m.serve(m.runtime("b", ""), nil)
	a := m.runtime("a", "")
	for _, host := range []string{"b", addr} {
		base := http.DefaultTransport.(*http.Transport).Clone()
		t.Cleanup(base.CloseIdleConnections)
		inner := grayhttp.Transport(base, grayhttp.WithRuntime(a), grayhttp.WithHosts(addr))
		c := &http.Client{Transport: grayhttp.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
			return inner.RoundTrip(r.Clone(r.Context()))
		}), grayhttp.WithRuntime(a), grayhttp.WithHosts(addr))}
		ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
		do(ctx, t, c, http.MethodGet, "http://"+host+"/x?y=z", nil)
		if hops, _ := arrival.Chain(); len(hops) != 2 {
			t.Errorf("%s: hops %+v, want one below a", host, hops)
		}
	}
}

// TestOthersFailedDials: what a RoundTripper below couldn't connect to on its own account says nothing of the instances.
func TestOthersFailedDials(t *testing.T) {
	m := newMesh(t)
	for range 3 {
		m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t)})
	}
	a := m.runtime("a", "", fast)
	t.Cleanup(func() { _ = a.Close() })
	nobody := graylibtest.ReserveAddr(t)
	var tries atomic.Int64
	c := &http.Client{Transport: grayhttp.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		tries.Add(1)
		var d net.Dialer
		conn, err := d.DialContext(r.Context(), "tcp", nobody)
		if err == nil {
			_ = conn.Close()
			return nil, errors.New("somebody listens there")
		}
		return nil, fmt.Errorf("token: %w", err)
	}), grayhttp.WithRuntime(a))}
	for i := range int64(9) {
		resp, err := c.Get("http://b/x")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if !graylib.DialFailed(err) || errors.Is(err, graylib.ErrNoInstance) {
			t.Errorf("got %v, want the failed dial", err)
		}
		if n := tries.Load(); n != i+1 {
			t.Fatalf("%d tries in %d calls", n, i+1)
		}
	}
	if n := a.Ejections(); n != 0 {
		t.Errorf("%d ejections of instances that nobody dialled", n)
	}
}

// TestCallsWithinACallAreNotItself: what a RoundTripper below has sent to somebody else doesn't count as the call's having been sent.
func TestCallsWithinACallAreNotItself(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.serve(m.runtime("auth", ""), nil)
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	a := m.runtime("a", "")
	tokens := m.client(a)
	base := http.DefaultTransport.(*http.Transport).Clone()
	t.Cleanup(base.CloseIdleConnections)
	c := &http.Client{Transport: grayhttp.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		do(r.Context(), t, tokens, http.MethodGet, "http://auth/token", nil)
		return base.RoundTrip(r.Clone(r.Context()))
	}), grayhttp.WithRuntime(a))}
	if got := do(graylib.WithTag(t.Context(), "gray"), t, c, http.MethodGet, "http://b/x", nil); got.Service != "b" || got.Tag != "" {
		t.Errorf("got %+v, want the baseline: the lane's instance refused the connection", got)
	}
}
