package graylib_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func runtimeOn(t *testing.T, reg *graylibtest.Registry, id graylib.Identity) *graylib.Runtime {
	t.Helper()
	rt, err := graylib.New(id, graylib.WithRegistry(reg.As(id)))
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

func TestAnnounceOutlastsARegistryThatIsAway(t *testing.T) {
	reg := graylibtest.NewRegistry()
	reg.SetDown(true)
	rt := runtimeOn(t, reg, graylib.Identity{Service: "b", Tag: "gray", Instance: "b-1"})
	a := rt.Announce(graylib.Registration{Service: "b.rpc", Addr: "127.0.0.1:1", Weight: 1})
	if again := rt.Announce(graylib.Registration{Service: "b.rpc", Addr: "127.0.0.1:1", Weight: 1}); again != a {
		t.Error("the same endpoint was announced twice")
	}
	eventually(t, "the status says why it isn't ready", func() bool {
		s := rt.Status()
		return !s.Ready && len(s.NotReady) == 1 && strings.Contains(s.NotReady[0], graylibtest.ErrRegistryDown.Error())
	})
	reg.SetDown(false)
	eventually(t, "it is registered", func() bool { return len(reg.Instances("b.rpc")) == 1 })
	eventually(t, "it is ready", func() bool { return rt.Status().Ready })
	want := []graylib.Instance{{ID: "b-1@b.rpc", Service: "b.rpc", Addr: "127.0.0.1:1", Tag: "gray", Weight: 1}}
	if diff := cmp.Diff(want, reg.Instances("b.rpc")); diff != "" {
		t.Error(diff)
	}
	began := time.Now()
	if err := a.Withdraw(context.Background(), 50*time.Millisecond); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("withdrawn after %v, the settle time is 50ms", took)
	}
	if left := reg.Instances("b.rpc"); len(left) != 0 {
		t.Errorf("still registered: %v", left)
	}
	if rt.Status().Ready {
		t.Error("ready though it is withdrawn")
	}
}

func TestWithdrawWaitsAsLongAsItsOwnContext(t *testing.T) {
	reg := graylibtest.NewRegistry()
	rt := runtimeOn(t, reg, graylib.Identity{Service: "b", Instance: "b-1"})
	a := rt.Announce(graylib.Registration{Service: "b", Addr: "127.0.0.1:1", Weight: 1})
	eventually(t, "it is registered", func() bool { return len(reg.Instances("b")) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- a.Withdraw(ctx, time.Hour) }()
	eventually(t, "it is withdrawn", func() bool { return len(reg.Instances("b")) == 0 })
	ended, end := context.WithCancel(t.Context())
	end()
	if err := a.Withdraw(ended, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a second call whose context has ended: %v", err)
	}
	select {
	case err := <-first:
		t.Errorf("the first one is over: %v", err)
	default:
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first call: %v", err)
	}
	if err := a.Withdraw(t.Context(), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a call afterwards: %v, want the first one's error", err)
	}
}

func TestWithdrawOfWhatNeverWasRegisteredDoesNotSettle(t *testing.T) {
	reg := graylibtest.NewRegistry()
	reg.SetDown(true)
	rt := runtimeOn(t, reg, graylib.Identity{Service: "b"})
	a := rt.Announce(graylib.Registration{Service: "b", Addr: "127.0.0.1:1", Weight: 1})
	eventually(t, "a try was made", func() bool {
		s := rt.Status()
		return len(s.NotReady) == 1 && strings.Contains(s.NotReady[0], graylibtest.ErrRegistryDown.Error())
	})
	began := time.Now()
	if err := a.Withdraw(context.Background(), time.Hour); !errors.Is(err, graylibtest.ErrRegistryDown) {
		t.Errorf("got %v, want the registry's error", err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

func TestRuntimeWithdrawsAllAtOnce(t *testing.T) { synctest.Test(t, testRuntimeWithdrawsAllAtOnce) }

func testRuntimeWithdrawsAllAtOnce(t *testing.T) {
	reg := graylibtest.NewRegistry()
	rt := runtimeOn(t, reg, graylib.Identity{Service: "b"})
	one := rt.Announce(graylib.Registration{Service: "b", Addr: "127.0.0.1:1", Weight: 1})
	rt.Announce(graylib.Registration{Service: "b.rpc", Addr: "127.0.0.1:2", Weight: 1})
	eventually(t, "both are registered", func() bool { return rt.Status().Ready })
	const settle = 300 * time.Millisecond
	began := time.Now()
	if err := rt.Withdraw(context.Background(), settle); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took != settle {
		t.Errorf("took %v, want one settle time of %v", took, settle)
	}
	if n := len(reg.Instances("b")) + len(reg.Instances("b.rpc")); n != 0 {
		t.Errorf("%d are still registered", n)
	}
	began = time.Now()
	if err := one.Withdraw(context.Background(), time.Hour); err != nil || time.Since(began) > 0 {
		t.Errorf("a second withdrawal: error %v after %v", err, time.Since(began))
	}
}

func TestWithdrawStopsWaitingWithItsContext(t *testing.T) {
	reg := graylibtest.NewRegistry()
	rt := runtimeOn(t, reg, graylib.Identity{Service: "b"})
	rt.Announce(graylib.Registration{Service: "b", Addr: "127.0.0.1:1", Weight: 1})
	eventually(t, "it is registered", func() bool { return rt.Status().Ready })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := rt.Withdraw(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestAnnounceWithoutARegistry(t *testing.T) {
	rt, err := graylib.New(graylib.Identity{Service: "b"})
	if err != nil {
		t.Fatal(err)
	}
	a := rt.Announce(graylib.Registration{Service: "b", Addr: "127.0.0.1:1"})
	if s := rt.Status(); !s.Ready {
		t.Errorf("not ready: %v", s.NotReady)
	}
	if err := a.Withdraw(context.Background(), time.Hour); err != nil {
		t.Error(err)
	}
}

func TestAdvertisedAddr(t *testing.T) {
	for _, tc := range []struct{ listen, advertise, want string }{
		{"127.0.0.1:80", "", "127.0.0.1:80"},
		{"10.1.2.3:80", "", "10.1.2.3:80"},
		{"[::1]:80", "", "[::1]:80"},
		{"0.0.0.0:80", "10.0.0.5", "10.0.0.5:80"},
		{"0.0.0.0:80", "10.0.0.5:90", "10.0.0.5:90"},
		{"0.0.0.0:80", "fe80::1", "[fe80::1]:80"},
		{"0.0.0.0:80", "a-1.example", "a-1.example:80"},
		{"0.0.0.0:80", "10.0.0.5:0", ""},
		{"0.0.0.0:80", "10.0.0.5:http", ""},
		{"0.0.0.0:80", "http://a", ""},
		{"0.0.0.0:80", ":90", ""},
	} {
		listen, err := net.ResolveTCPAddr("tcp", tc.listen)
		if err != nil {
			t.Fatal(err)
		}
		got, err := graylib.AdvertisedAddr(listen, tc.advertise)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("listen %q advertise %q: got %q, %v; want %q", tc.listen, tc.advertise, got, err, tc.want)
		}
		if err != nil && (!errors.Is(err, graylib.ErrInvalidConfig) || !strings.Contains(err.Error(), tc.advertise)) {
			t.Errorf("error %q doesn't quote %q", err, tc.advertise)
		}
	}
	listen := &net.TCPAddr{IP: net.IPv6unspecified, Port: 80}
	got, err := graylib.AdvertisedAddr(listen, "")
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(got)
	if ip := net.ParseIP(host); err != nil || ip == nil || ip.IsUnspecified() {
		t.Errorf("listening on all addresses, %q is advertised", got)
	}
}

func TestDialFailed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	_, readErr := conn.Read(make([]byte, 1))
	_ = ln.Close()
	_, refused := net.Dial("tcp", graylibtest.ReserveAddr(t))
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{refused, true}, {readErr, false}, {nil, false}, {context.DeadlineExceeded, false}, {errors.New("dial"), false},
		{&net.DNSError{Err: "no such host", Name: "b"}, true},
	} {
		if got := graylib.DialFailed(tc.err); got != tc.want {
			t.Errorf("%v: got %v", tc.err, got)
		}
	}
}

func TestChainTag(t *testing.T) {
	hops := []graylib.Hop{{Service: "gateway"}, {Service: "a", RequestTag: "gray"}, {Service: "b", RequestTag: "other-lane"}}
	if got := graylib.ChainTag(hops); got != "gray" {
		t.Errorf("got %q", got)
	}
	if got := graylib.ChainTag(hops[:1]); got != graylib.Untagged {
		t.Errorf("got %q", got)
	}
}
