package graykitex_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graykitex"
)

// TestMetainfoIsAsEver holds what an application sees of metainfo in a handler to what it sees without graylib: values that came
// in, its own beside ours, what it sends back, and what a client without graylib hands on; whether metainfo's values are
// made with each arrival or when somebody asks.
func TestMetainfoIsAsEver(t *testing.T) {
	if forward, backward := graykitex.MetainfoKeys(); forward == nil || backward == nil {
		t.Errorf("metainfo's keys weren't learned (%v, %v): arrivals cost more than they need", forward, backward)
	}
	if !graykitex.RPCInfoKeyLearned() {
		t.Error("the key of Kitex's RPCInfo wasn't learned: calls cost more than they need")
	}
	t.Run("lazy=true", testMetainfo)
	t.Run("lazy=false", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMetainfoWithoutKeys$", "-test.v")
		cmd.Env = append(os.Environ(), forgetEnv+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestMetainfoWithoutKeys/") {
			t.Errorf("%v:\n%s", err, out)
		}
	})
}

// forgetEnv has a test binary begin without metainfo's keys, in a process of its own: what other tests leave behind may read them.
const forgetEnv = "GRAYKITEX_TEST_FORGET"

// TestMetainfoWithoutKeys is that process.
func TestMetainfoWithoutKeys(t *testing.T) {
	if os.Getenv(forgetEnv) == "" {
		t.Skip("started by TestMetainfoIsAsEver alone")
	}
	if forward, backward := graykitex.MetainfoKeys(); forward != nil || backward != nil {
		t.Fatalf("the keys are still there: %v, %v", forward, backward)
	}
	testMetainfo(t)
}

func testMetainfo(t *testing.T) {
	const unasked = "unasked"
	k := graylib.RPCKeys
	var mu sync.Mutex
	var atB, atC map[string]string
	note := func(into *map[string]string, values map[string]string) {
		mu.Lock()
		defer mu.Unlock()
		*into = values
	}
	m := newMesh(t)
	addrC, _ := m.serve(m.runtime("c", ""), func(ctx context.Context, _ string) (string, error) {
		note(&atC, metainfo.GetAllPersistentValues(ctx))
		return "c", nil
	})
	plainToC, err := newServiceClient("c", client.WithHostPorts(addrC), client.WithTransportProtocol(transport.TTHeaderFramed),
		client.WithMetaHandler(transmeta.ClientTTHeaderHandler))
	if err != nil {
		t.Fatal(err)
	}
	b := m.runtime("b", "")
	grayToC := m.client(b, "c")
	outer := server.WithMiddleware(func(next endpoint.Endpoint) endpoint.Endpoint {
		return func(ctx context.Context, req, resp interface{}) error {
			err := next(ctx, req, resp)
			metainfo.SendBackwardValue(ctx, "TOOK", "long")
			return err
		}
	})
	m.serve(b, func(ctx context.Context, payload string) (string, error) {
		if strings.HasPrefix(payload, unasked) { // metainfo is not asked for before the call, or only when a value is added
			metainfo.SendBackwardValue(ctx, "ANSWER", "42")
			if payload != unasked {
				ctx = metainfo.WithPersistentValue(ctx, "OWN", "b")
			}
			return grayToC.call(ctx, "invoke", "x")
		}
		var all sync.WaitGroup // several ask at once
		for range 4 {
			all.Go(func() { metainfo.GetPersistentValue(ctx, k.Tag) })
		}
		all.Wait()
		note(&atB, metainfo.GetAllPersistentValues(ctx))
		if payload == "silent" {
			return "b", nil
		}
		if !metainfo.SendBackwardValue(ctx, "ANSWER", "42") {
			t.Error("a handler can't send a value back")
		}
		switch payload {
		case "plain":
			return plainToC.call(ctx, "invoke", "x")
		case "plain, with a value of b's own":
			return plainToC.call(metainfo.WithPersistentValue(ctx, "OWN", "b"), "invoke", "x")
		case "gray, with a value of b's own":
			return grayToC.call(metainfo.WithPersistentValue(ctx, "OWN", "b"), "invoke", "x")
		case "gray, with a context between":
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return grayToC.call(ctx, "invoke", "x")
		}
		return grayToC.call(ctx, "invoke", "x")
	}, outer)

	a := m.runtime("a", "")
	toB := m.client(a, "b", client.WithTransportProtocol(transport.TTHeaderFramed))
	in := graylib.MapCarrier{k.Tag: "gray", k.RequestID: "r1", k.TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", k.TraceState: "x=y"}
	ours := map[string]string(in)
	with := func(base map[string]string, kvs ...string) map[string]string {
		out := make(map[string]string)
		for key, v := range base {
			out[key] = v
		}
		for i := 0; i < len(kvs); i += 2 {
			out[kvs[i]] = kvs[i+1]
		}
		return out
	}
	for _, user := range []bool{false, true} {
		for _, tt := range []struct {
			payload string
			own     bool
		}{
			{"silent", false}, {"plain", false}, {"plain, with a value of b's own", true}, {"gray", false},
			{"gray, with a value of b's own", true}, {"gray, with a context between", false},
			{unasked, false}, {unasked + ", with a value of b's own", true},
		} {
			t.Run(fmt.Sprintf("%s, user=%t", tt.payload, user), func(t *testing.T) {
				note(&atB, nil)
				note(&atC, nil)
				ctx, _ := a.Arrive(metainfo.WithBackwardValues(context.Background()), graylib.ProtocolHTTP, graylib.RPCKeys, in)
				want := ours
				if user {
					ctx = metainfo.WithPersistentValue(ctx, "USER", "xiaoming")
					want = with(want, "USER", "xiaoming")
				}
				if _, err := toB.call(ctx, "invoke", tt.payload); err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if diff := cmp.Diff(want, atB); diff != "" && !strings.HasPrefix(tt.payload, unasked) {
					t.Errorf("b's metainfo (-want +got):\n%s", diff)
				}
				if tt.own {
					want = with(want, "OWN", "b")
				}
				if tt.payload != "silent" {
					if diff := cmp.Diff(want, atC); diff != "" {
						t.Errorf("c's metainfo (-want +got):\n%s", diff)
					}
				}
				if v, _ := metainfo.RecvBackwardValue(ctx, "ANSWER"); (v == "42") != (tt.payload != "silent") {
					t.Errorf("b's value came back as %q", v)
				}
				if v, _ := metainfo.RecvBackwardValue(ctx, "TOOK"); v != "long" {
					t.Errorf("the outer middleware's value came back as %q", v)
				}
			})
		}
	}
}

// TestMalformedTagLeavesNoColourInMetainfo: an own lane may colour what comes without a tag that counts; that colour is no tag
// that came in, and a client without graylib must not hand it on as one.
func TestMalformedTagLeavesNoColourInMetainfo(t *testing.T) {
	for sent, want := range map[string]string{"Gray!": "", "baseline": "", "": "", "gray": "gray"} {
		t.Run(sent, func(t *testing.T) {
			m := newMesh(t)
			m.rules.List = []graylib.Lane{{Tag: "blue", ColourFromNode: true}}
			b := m.runtime("b", "blue")
			addr, _ := m.serve(b, func(ctx context.Context, _ string) (string, error) {
				tag, _ := metainfo.GetPersistentValue(ctx, graylib.RPCKeys.Tag)
				return string(graylib.TagFrom(ctx)) + " " + tag, nil
			})
			plain, err := newServiceClient("b", client.WithHostPorts(addr), client.WithTransportProtocol(transport.TTHeaderFramed))
			if err != nil {
				t.Fatal(err)
			}
			got, err := plain.call(metainfo.WithPersistentValue(t.Context(), graylib.RPCKeys.Tag, sent), "invoke", "x")
			if err != nil {
				t.Fatal(err)
			}
			served := want
			if served == "" {
				served = "blue"
			}
			if got != served+" "+want {
				t.Errorf("tag and metainfo of the handler: %q, want %q", got, served+" "+want)
			}
		})
	}
}

// TestACallBeforeTheSuite: a middleware of the application's that stands before the suite, as one for authorization may, makes a call.
func TestACallBeforeTheSuite(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("auth", ""), nil)
	b := m.runtime("b", "")
	toAuth := m.client(b, "auth")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	svr := server.NewServer(
		server.WithListener(ln), server.WithExitWaitTime(2*time.Second), server.WithExitSignal(func() <-chan error { return nil }),
		server.WithCompatibleMiddlewareForUnary(),
		server.WithMiddleware(func(next endpoint.Endpoint) endpoint.Endpoint {
			return func(ctx context.Context, req, resp any) error {
				if _, err := toAuth.call(ctx, "invoke", "x"); err != nil {
					return err
				}
				return next(ctx, req, resp)
			}
		}),
		server.WithSuite(graykitex.NewServerSuite(graykitex.WithRuntime(b), graykitex.WithSettle(0))),
	)
	if err := svr.RegisterService(serviceInfo, &serviceHandler{func(ctx context.Context, p string) (string, error) { return saw(ctx, b, p), nil }}); err != nil {
		t.Fatal(err)
	}
	go func() { _ = svr.Run() }()
	t.Cleanup(func() { _ = svr.Stop() })
	eventually(t, "it is registered", func() bool { return len(m.registry.Instances("b.rpc")) > 0 })
	c := m.client(m.runtime("a", ""), "b", client.WithTransportProtocol(transport.TTHeaderFramed))
	if _, err := c.call(t.Context(), "invoke", "x"); err != nil {
		t.Error(err)
	}
}

// TestApplicationsOwnTTHeaderHandler: wherever an application has put Kitex's handler of TTHeader, the context says what is carried,
// and metainfo that says otherwise doesn't count.
func TestApplicationsOwnTTHeaderHandler(t *testing.T) {
	m := newMesh(t)
	addr, _ := m.serve(m.runtime("b", ""), nil)
	suite := client.WithSuite(graykitex.NewClientSuite(graykitex.WithRuntime(m.runtime("a", ""))))
	own := client.WithMetaHandler(transmeta.ClientTTHeaderHandler)
	for name, opts := range map[string][]client.Option{
		"none": {suite}, "before": {own, suite}, "behind": {suite, own}, "both": {own, suite, own},
	} {
		c, err := newServiceClient("b", append(opts, client.WithHostPorts(addr), client.WithConnectTimeout(time.Minute))...)
		if err != nil {
			t.Fatal(err)
		}
		stale := metainfo.WithPersistentValues(t.Context(), graylib.RPCKeys.Tag, "stale", "OWN", "x")
		for what, tt := range map[string]struct {
			ctx  context.Context
			want graylib.Tag
		}{
			"untagged":               {t.Context(), ""},
			"tagged":                 {graylib.WithTag(t.Context(), "gray"), "gray"},
			"untagged, stale beside": {stale, ""},
			"tagged, stale beside":   {graylib.WithTag(stale, "gray"), "gray"},
		} {
			if got := call(tt.ctx, t, c, "invoke"); got.Request != tt.want {
				t.Errorf("its own %s, %s: it arrives with tag %q, want %q", name, what, got.Request, tt.want)
			}
		}
	}
}
