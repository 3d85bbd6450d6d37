package graykitex_test

import (
	"context"
	"net"
	"testing"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
)

// TestKillSwitch calls through a service whose kill switch is thrown: it is found, finds the baseline, and hands no tag on.
func TestKillSwitch(t *testing.T) {
	m := newMesh(t)
	off := graylib.WithConfig(graylib.Config{Disabled: true})
	m.serve(m.runtime("b", ""), nil)
	m.serve(m.runtime("b", "gray"), nil)
	a, idle := m.runtime("a", "", off), m.runtime("a", "gray", off)
	toB := m.client(a, "b")
	m.serve(a, func(ctx context.Context, kind string) (string, error) {
		if tag := graylib.TagFrom(ctx); tag != graylib.Untagged {
			t.Errorf("%s: tag %q arrived", kind, tag)
		}
		ctx = graylib.WithTag(metainfo.WithPersistentValue(ctx, graylib.RPCKeys.Tag, "gray"), "gray")
		return toB.call(ctx, kind, "x")
	})

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	svr := server.NewServer(server.WithListener(ln), server.WithExitSignal(func() <-chan error { return nil }),
		server.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(idle), graykitex.WithSettle(0))))
	if err := svr.RegisterService(serviceInfo, &serviceHandler{func(context.Context, string) (string, error) { return saw(t.Context(), idle, ""), nil }}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- svr.Run() }()
	eventually(t, "the idle instance serves", func() bool { return idle.Identity().Addr != "" })
	if in := m.registry.Instances("a.rpc"); len(in) != 1 || in[0].Tag != graylib.Untagged || len(idle.Status().NotReady) > 0 {
		t.Fatalf("registered: %v; want the baseline's instance alone; the idle one isn't ready: %v", in, idle.Status().NotReady)
	}

	caller := m.client(m.runtime("c", ""), "a")
	for _, kind := range kinds {
		out, err := caller.call(graylib.WithTag(t.Context(), "gray"), kind, kind)
		if err != nil {
			t.Fatal(kind, err)
		}
		if got := answered(t, out); got.Service != "b" || got.Tag != "" || got.Request != "" {
			t.Errorf("%s through a switched-off service: %+v; want the baseline's b, and no tag", kind, got)
		}
	}
	if err := svr.Stop(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
