package grayhertz_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/client"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/network/standard"
	"github.com/cloudwego/hertz/pkg/protocol"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhertz"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// soon and patient are how long requests may take: those to a frozen instance fail within a test's time, those that must succeed
// do so on a machine that is busy too.
const (
	soon    = 300 * time.Millisecond
	patient = time.Minute
)

var fast = graylib.WithEjection(graylib.Ejection{
	After: 3, ProbeTimeout: time.Second, ProbePause: 30 * time.Millisecond, ProbeMax: 100 * time.Millisecond,
})

// behindDoor starts an instance of service b that is reached through a door, and counts what it serves.
func (m *mesh) behindDoor(tag graylib.Tag) (d *graylibtest.Door, served *atomic.Int64) {
	served = &atomic.Int64{}
	rt := m.runtime("hidden"+string(tag), tag)
	addr, _ := m.serve(rt, func(h *server.Hertz) {
		h.Any("/count", func(ctx context.Context, c *app.RequestContext) {
			served.Add(1)
			c.JSON(http.StatusOK, saw(ctx, rt, c))
		})
	})
	d = graylibtest.NewDoor(m.t, addr)
	m.registry.Put(graylib.Instance{Service: "b", Addr: d.Addr(), Tag: tag})
	return d, served
}

// counted is what other instances answer in place of behindDoor's.
func counted(rt *graylib.Runtime) func(*server.Hertz) {
	return func(h *server.Hertz) {
		h.Any("/count", func(ctx context.Context, c *app.RequestContext) { c.JSON(http.StatusOK, saw(ctx, rt, c)) })
	}
}

func TestAFrozenInstanceIsEjectedAndComesBack(t *testing.T) {
	for name, opts := range map[string][]config.ClientOption{
		"netpoll": nil, "standard": {client.WithDialer(standard.NewDialer())}, "pooled, checked": {client.WithPooledConnHealthCheck(true)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMesh(t)
			door, served := m.behindDoor("")
			b := m.runtime("b", "")
			m.serve(b, counted(b))
			a := m.runtime("a", "", fast)
			t.Cleanup(func() { _ = a.Close() })
			c, err := client.NewClient(append(opts, client.WithDialTimeout(patient))...)
			c, err = grayhertz.WrapClient(c, err, grayhertz.WithRuntime(a))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.CloseIdleConnections)
			get := func(limit time.Duration) error {
				_, _, err := c.Get(t.Context(), nil, "http://b/count", config.WithSD(true), config.WithReadTimeout(limit))
				return err
			}
			for range 10 {
				if err := get(patient); err != nil {
					t.Fatal(err)
				}
			}
			door.Freeze()
			failed := 0
			eventually(t, "it is ejected", func() bool {
				if get(soon) != nil {
					failed++
				}
				return len(a.Ejected()["b"]) == 1
			})
			if failed < 3 || failed > 20 { // while it is asked for a sign of life requests go on
				t.Errorf("%d requests failed until it was ejected", failed)
			}
			before := served.Load()
			for range 30 {
				if err := get(patient); err != nil {
					t.Fatalf("after its ejection: %v", err)
				}
			}
			if n := served.Load(); n != before {
				t.Errorf("it was sent %d more", n-before)
			}
			door.Thaw()
			eventually(t, "it is back", func() bool {
				if err := get(patient); err != nil {
					t.Fatal(err)
				}
				return len(a.Ejected()) == 0 && served.Load() > before+6
			})
		})
	}
}

func TestIdempotentRequestsFailOver(t *testing.T) {
	t.Parallel()
	const try, shorter = 3 * time.Second, 2 * time.Second // the one that answers must do so within them too
	m := newMesh(t)
	door, served := m.behindDoor("gray")
	b := m.runtime("b", "")
	m.serve(b, counted(b))
	a := m.runtime("a", "")
	c := m.client(a, grayhertz.WithTryTimeout(try),
		grayhertz.WithIdempotent(func(r *protocol.Request) bool { return r.Header.Get("Idempotency-Key") != "" }))
	door.Freeze()
	for name, tc := range map[string]struct {
		key         string
		stream      bool
		read        time.Duration // the request's own
		ok          bool
		least, most time.Duration
	}{
		"idempotent":          {"1", false, 0, true, try, patient},
		"its own is longer":   {"1", false, patient, true, try, patient - time.Second},
		"its own is shorter":  {"1", false, shorter, true, shorter, patient},
		"a body that streams": {"1", true, try + soon, false, try + soon, patient},
		"not idempotent":      {"", false, try + soon, false, try + soon, patient},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, arrival := a.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
			req, resp := protocol.AcquireRequest(), protocol.AcquireResponse()
			defer protocol.ReleaseRequest(req)
			defer protocol.ReleaseResponse(resp)
			req.SetMethod(http.MethodPost)
			req.SetRequestURI("http://b/count")
			req.SetOptions(config.WithSD(true))
			if tc.read > 0 {
				req.SetOptions(config.WithReadTimeout(tc.read))
			}
			if tc.stream {
				req.SetBodyStream(strings.NewReader("hello"), 5)
			} else {
				req.SetBodyString("hello")
			}
			if tc.key != "" {
				req.Header.Set("Idempotency-Key", tc.key)
			}
			begun := time.Now()
			err := c.Do(ctx, req, resp)
			if took := time.Since(begun); took < tc.least || took > tc.most {
				t.Errorf("took %s", took)
			}
			if (err == nil) != tc.ok {
				t.Fatalf("error %v", err)
			}
			if got := req.Options().ReadTimeout(); got != tc.read {
				t.Errorf("the request's own time became %s", got)
			}
			if !tc.ok {
				return
			}
			if body := string(resp.Body()); !strings.Contains(body, `"hello"`) || !strings.Contains(body, `"Service":"b"`) {
				t.Errorf("answer %s", body)
			}
			if hops, _ := arrival.Chain(); len(hops) != 2 || hops[1].Reason != graylib.ReasonTimedOut {
				t.Errorf("hops %+v", hops)
			}
		})
	}
	if served.Load() != 0 {
		t.Error("served while frozen")
	}
}
