package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/kitex_gen/chain"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/services/internal/answer"
	"github.com/graychain/graychain/services/internal/next"
	"github.com/graychain/graychain/services/internal/servetest"
)

func TestOverHTTP(t *testing.T) {
	mesh := servetest.New(t)
	baseline, gray := mesh.StandIn("c", graylib.Untagged), mesh.StandIn("c", "gray")
	b := mesh.Start(service, nil, wire)

	for _, test := range []struct {
		tag, want string
		reason    graylib.Reason
	}{
		{"", "B[" + b.Addr + "] -> C[" + baseline.Addr + "]", graylib.ReasonBaseline},
		{"gray", "B[" + b.Addr + "] -> Cgray[" + gray.Addr + "]", graylib.ReasonLane},
		{"blue", "B[" + b.Addr + "] -> C[" + baseline.Addr + "]", graylib.ReasonNoInstance},
	} {
		status, text, _ := b.Get("/b", "x-gray-tag", test.tag)
		if status != http.StatusOK || text != test.want {
			t.Errorf("tag %q: status %d, %q, want %q", test.tag, status, text, test.want)
		}
		_, a := b.Answer("/b", "x-gray-tag", test.tag)
		if a.Text != test.want || string(a.Tag) != test.tag || len(a.Hops) != 2 {
			t.Errorf("tag %q: %+v", test.tag, a)
			continue
		}
		got := a.Hops[1]
		got.Instance = ""
		want := graylib.Hop{
			Service: "c", Tag: got.Tag, Addr: got.Addr, RequestTag: graylib.Tag(test.tag),
			Protocol: graylib.ProtocolHTTP, Reason: test.reason,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("tag %q: c's hop (-want +got):\n%s", test.tag, diff)
		}
	}
}

func TestOverRPC(t *testing.T) {
	mesh := servetest.New(t)
	baseline, gray := mesh.StandIn("c", graylib.Untagged), mesh.StandIn("c", "gray")
	b := mesh.Start(service, nil, wire)
	caller := mesh.Caller()

	calls := map[string]func(context.Context) error{
		"invoke": func(ctx context.Context) error {
			payload := "x"
			response, err := caller.B.Invoke(ctx, &chain.Request{Payload: &payload})
			if err == nil && response.GetPayload() != payload {
				t.Errorf("payload %q came back as %q", payload, response.GetPayload())
			}
			return err
		},
		"relay": func(ctx context.Context) error {
			stream, err := caller.B.Relay(ctx)
			if err != nil {
				return err
			}
			return next.Ask(ctx, stream, "1", "2", "3")
		},
	}
	for name, call := range calls {
		for tag, want := range map[graylib.Tag]string{
			"":     "A[127.0.0.1:1] -> B[" + b.Addr + "] -> C[" + baseline.Addr + "]",
			"gray": "A[127.0.0.1:1] -> B[" + b.Addr + "] -> Cgray[" + gray.Addr + "]",
		} {
			ctx, cancel := context.WithTimeout(caller.Arrived(t.Context(), tag), 10*time.Second)
			if err := call(ctx); err != nil {
				t.Fatalf("%s with tag %q: %v", name, tag, err)
			}
			cancel()
			if got := (answer.Renderer{}).Of(ctx); got.Text != want {
				t.Errorf("%s with tag %q: %s, want %s", name, tag, got.Text, want)
			}
		}
	}
}

func TestNobodyBehind(t *testing.T) {
	mesh := servetest.New(t)
	b := mesh.Start(service, nil, wire)
	if status, a := b.Answer("/b"); status != http.StatusServiceUnavailable || !strings.Contains(a.Error, "service c") || len(a.Hops) != 1 {
		t.Errorf("status %d, %+v; want 503, an error that names service c, and B's own hop", status, a)
	}
	caller := mesh.Caller()
	ctx := caller.Arrived(t.Context(), graylib.Untagged)
	if _, err := caller.B.Invoke(ctx, &chain.Request{}); err == nil || !strings.Contains(err.Error(), "service c") {
		t.Errorf("invoke: %v, want an error that names service c", err)
	}
	stream, err := caller.B.Relay(ctx)
	if err == nil {
		err = next.Ask(ctx, stream, "1")
	}
	if err == nil || !strings.Contains(err.Error(), "service c") {
		t.Errorf("relay: %v, want an error that names service c", err)
	}
	if b.Stop() != 0 {
		t.Error("the stop failed")
	}
}

// TestStopLosesNothing stops B under load, while another instance is there to go on.
func TestStopLosesNothing(t *testing.T) {
	mesh := servetest.New(t)
	mesh.StandIn("c", graylib.Untagged)
	other := mesh.StandIn("b", graylib.Untagged)
	b := mesh.Start(service, map[string]string{"SETTLE": "0.1"}, wire)
	caller := mesh.Caller()

	ctx, stop := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	var done atomic.Int64
	for i := range 8 {
		calls.Go(func() {
			for ctx.Err() == nil {
				arrived := caller.Arrived(t.Context(), graylib.Untagged)
				var err error
				switch i % 3 {
				case 0:
					_, err = caller.B.Invoke(arrived, &chain.Request{})
				case 1:
					var stream next.Client
					if stream, err = caller.B.Relay(arrived); err == nil {
						err = next.Ask(arrived, stream, "1")
					}
				default:
					err = caller.HTTP.Get(arrived, "b", "/b")
				}
				if err != nil {
					t.Errorf("call %d of kind %d: %v", done.Load(), i%3, err)
				}
				done.Add(1)
			}
		})
	}
	servetest.Eventually(t, "100 calls", func() bool { return done.Load() > 100 })
	if code := b.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	before, at := other.Calls.Load(), done.Load()
	servetest.Eventually(t, "100 more calls", func() bool { return done.Load() > at+100 })
	stop()
	calls.Wait()
	if other.Calls.Load() == before {
		t.Error("the other instance got nothing after the stop")
	}
	t.Logf("%d calls", done.Load())
}
