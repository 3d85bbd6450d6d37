package graykitex_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
)

func TestTransportsThatLoseTheTagAreRefused(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	suite := client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(m.runtime("a", ""))))
	tp := client.WithTransportProtocol
	for name, tc := range map[string]struct {
		opts    []client.Option
		refused bool
	}{
		"default":               {[]client.Option{suite}, false},
		"framed":                {[]client.Option{tp(transport.Framed), suite}, false}, // becomes TTHeader framed
		"TTHeader":              {[]client.Option{tp(transport.TTHeader), suite}, false},
		"streaming alone":       {[]client.Option{tp(transport.TTHeaderStreaming), suite}, false}, // gets TTHeader beside it
		"pure payload before":   {[]client.Option{tp(transport.PurePayload), suite}, false},
		"pure payload after":    {[]client.Option{suite, tp(transport.PurePayload)}, true},
		"framed alone after":    {[]client.Option{suite, tp(transport.PurePayload), tp(transport.Framed)}, true},
		"streaming alone after": {[]client.Option{suite, tp(transport.PurePayload), tp(transport.TTHeaderStreaming)}, true},
		"HTTP":                  {[]client.Option{suite, tp(transport.HTTP)}, true},
	} {
		c, err := newServiceClient("b", tc.opts...)
		if !tc.refused {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := call(graylib.WithTag(context.Background(), "gray"), t, c, "invoke"); got.Request != "gray" {
				t.Errorf("%s: %+v", name, got)
			}
			continue
		}
		if !errors.Is(err, graykitex.ErrTransport) || !strings.Contains(err.Error(), "transport.TTHeaderFramed") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCallsWithoutRoomForATagAreLoggedOnce(t *testing.T) {
	m := newMesh(t)
	var log syncBuffer
	addr, _ := m.serve(m.runtime("b", "", graylib.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))), nil)
	count := func() int { return strings.Count(log.String(), "can't carry a tag") }
	for _, tp := range []transport.Protocol{transport.TTHeaderFramed | transport.TTHeaderStreaming, transport.Framed, transport.PurePayload} {
		c, err := newServiceClient("b", client.WithHostPorts(addr), client.WithTransportProtocol(transport.PurePayload), client.WithTransportProtocol(tp))
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range kinds {
			if tp&transport.TTHeaderStreaming == 0 && kind != "invoke" {
				continue
			}
			if got := call(metainfo.WithPersistentValue(context.Background(), graylib.RPCKeys.Tag, "gray"), t, c, kind); (got.Request == "gray") != (tp&transport.TTHeader != 0) {
				t.Errorf("%s over %s: %+v", kind, tp, got)
			}
		}
		want := 1
		if tp&transport.TTHeader != 0 {
			want = 0
		}
		if n := count(); n != want {
			t.Errorf("after %s: logged %d times, want %d", tp, n, want)
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestAppliedTwice(t *testing.T) {
	m := newMesh(t)
	b, a := m.runtime("b", ""), m.runtime("a", "")
	m.serve(b, nil, graykitex.ServerOption(graykitex.WithRuntime(b), graykitex.WithSettle(100*time.Millisecond)))
	c := m.client(a, "b", graykitex.ClientOption(graykitex.WithRuntime(a)))
	for _, kind := range kinds {
		ctx, arrival := a.Arrive(context.Background(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
		if got := call(ctx, t, c, kind); got.Request != "gray" {
			t.Errorf("%s: %+v", kind, got)
		}
		if hops, _ := arrival.Chain(); len(hops) != 2 {
			t.Errorf("%s: %d hops of two services: %+v", kind, len(hops), hops)
		}
	}
	if n := len(m.registry.Instances("b.rpc")); n != 1 {
		t.Errorf("registered %d times", n)
	}
}

func TestBrokenDefaultIsAClearError(t *testing.T) {
	graylib.SetDefault(nil)
	t.Cleanup(func() { graylib.SetDefault(nil) })
	t.Setenv(graylib.EnvService, "a")
	t.Setenv(graylib.EnvTag, "Gray!")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for name, opt := range map[string]server.Option{
		"listener": server.WithListener(ln),
		"address":  server.WithServiceAddr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}),
	} {
		svr := server.NewServer(opt, graykitex.ServerOption())
		if err := svr.RegisterService(serviceInfo, &serviceHandler{}); err != nil {
			t.Fatal(err)
		}
		if err := svr.Run(); !errors.Is(err, graylib.ErrMalformedTag) || !strings.Contains(err.Error(), "GRAY_TAG") {
			t.Errorf("Run with %s: %v", name, err)
		}
	}
	if _, err := newServiceClient("b", graykitex.ClientOption()); !errors.Is(err, graylib.ErrMalformedTag) {
		t.Errorf("NewClient: %v", err)
	}
}

// TestStoppingOneServerLeavesTheOthersConnectionsAlone repeats what broke calls to another live server of the same
// process before: the listener's file descriptor was closed twice.

// TestConnectTimeout connects to an address that doesn't answer.
func TestConnectTimeout(t *testing.T) {
	t.Parallel()
	// A listener whose backlog is full answers nothing further.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	silent := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 3 {
		if conn, err := net.DialTimeout("tcp", silent, 50*time.Millisecond); err == nil {
			defer func() { _ = conn.Close() }()
		}
	}
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	m.registry.Put(graylib.Instance{Service: "b.rpc", Addr: silent, Tag: "gray"})
	for name, tc := range map[string]struct {
		opts []client.Option
		min  time.Duration // far above Kitex's own, and ours; far below the kernel's two minutes
	}{
		"ours":   {nil, 900 * time.Millisecond},
		"theirs": {[]client.Option{client.WithConnectTimeout(3 * time.Second)}, 2900 * time.Millisecond},
	} {
		a := m.runtime("a", "")
		c, err := newServiceClient("b", append(tc.opts, client.WithTransportProtocol(transport.TTHeaderFramed),
			client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(a))))...)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		got := call(graylib.WithTag(context.Background(), "gray"), t, c, "invoke")
		if took := time.Since(began); got.Tag != "" || got.Request != "gray" || took < tc.min || took > time.Minute {
			t.Errorf("%s: %+v after %v", name, got, took)
		}
	}
}
