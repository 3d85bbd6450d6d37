package grayhttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// soon and patient are how long requests may take: those to a frozen instance fail within a test's time, those that must succeed
// do so on a machine that is busy too.
const (
	soon    = 300 * time.Millisecond
	patient = time.Minute
)

var fast = graylib.WithEjection(graylib.Ejection{
	After: 3, ProbeTimeout: 100 * time.Millisecond, ProbePause: 30 * time.Millisecond, ProbeMax: 100 * time.Millisecond,
})

// behindDoor starts an instance of service b that is reached through a door, and counts what it serves.
func (m *mesh) behindDoor(tag graylib.Tag) (d *graylibtest.Door, served *atomic.Int64) {
	served = &atomic.Int64{}
	rt := m.runtime("hidden"+string(tag), tag)
	h := echo(rt)
	addr, _ := m.serve(rt, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		h.ServeHTTP(w, r)
	}))
	d = graylibtest.NewDoor(m.t, addr)
	m.registry.Put(graylib.Instance{Service: "b", Addr: d.Addr(), Tag: tag})
	return d, served
}

func TestAFrozenInstanceIsEjectedAndComesBack(t *testing.T) {
	for name, timeout := range map[string]func(*http.Client, *http.Transport, time.Duration) (ofContext time.Duration){
		"client": func(c *http.Client, _ *http.Transport, limit time.Duration) time.Duration {
			c.Timeout = limit
			return 0
		},
		"transport": func(_ *http.Client, t *http.Transport, limit time.Duration) time.Duration {
			t.ResponseHeaderTimeout = limit
			return 0
		},
		"context": func(_ *http.Client, _ *http.Transport, limit time.Duration) time.Duration { return limit },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMesh(t)
			door, served := m.behindDoor("")
			m.serve(m.runtime("b", ""), nil)
			a := m.runtime("a", "", graylib.WithEjection(graylib.Ejection{
				After: 3, ProbeTimeout: time.Second, ProbePause: 30 * time.Millisecond, ProbeMax: 100 * time.Millisecond,
			}))
			t.Cleanup(func() { _ = a.Close() })
			clients, deadlines := map[time.Duration]*http.Client{}, map[time.Duration]time.Duration{}
			for _, limit := range []time.Duration{soon, patient} {
				base := http.DefaultTransport.(*http.Transport).Clone()
				c := &http.Client{Transport: grayhttp.Transport(base, grayhttp.WithRuntime(a))}
				t.Cleanup(c.CloseIdleConnections)
				clients[limit], deadlines[limit] = c, timeout(c, base, limit)
			}
			get := func(limit time.Duration) error {
				c, ctx := clients[limit], context.Background()
				if deadline := deadlines[limit]; deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, deadline)
					defer cancel()
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://b/x", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := c.Do(req)
				if err != nil {
					return err
				}
				defer func() { _ = resp.Body.Close() }()
				_, err = io.Copy(io.Discard, resp.Body)
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

func TestWhoGivesUpEjectsNobody(t *testing.T) {
	m := newMesh(t)
	door, _ := m.behindDoor("")
	m.registry.Put(graylib.Instance{Service: "b", Addr: graylibtest.ReserveAddr(t), Tag: "gray"})
	door.Freeze()
	a := m.runtime("a", "", fast)
	t.Cleanup(func() { _ = a.Close() })
	c := m.client(a)
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Millisecond, cancel)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://b/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if a.Ejections() != 0 {
		t.Errorf("ejected %+v", a.Ejected())
	}
}

func TestIdempotentRequestsFailOver(t *testing.T) {
	t.Parallel()
	const try = 2 * time.Second // the one that answers must do so within it too
	m := newMesh(t)
	door, served := m.behindDoor("gray")
	m.serve(m.runtime("b", ""), nil)
	a := m.runtime("a", "")
	is := func(r *http.Request) bool { return r.Header.Get("Idempotency-Key") != "" }
	c := m.client(a, grayhttp.WithIdempotent(is), grayhttp.WithTryTimeout(try))
	door.Freeze()
	for name, tc := range map[string]struct {
		key  string
		body io.Reader
		ok   bool
	}{
		"no body":                      {"1", nil, true},
		"a body that can be had again": {"1", strings.NewReader("hello"), true},
		"a body that can't":            {"1", onlyReader{strings.NewReader("hello")}, false},
		"not idempotent":               {"", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, arrival := a.Arrive(t.Context(), graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{graylib.HTTPKeys.Tag: "gray"})
			ctx, cancel := context.WithTimeout(ctx, patient)
			defer cancel()
			if !tc.ok {
				ctx, cancel = context.WithTimeout(ctx, try+500*time.Millisecond)
				defer cancel()
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://b/x", tc.body)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Idempotency-Key", tc.key)
			begun := time.Now()
			if !tc.ok {
				resp, err := c.Do(req)
				if err == nil {
					_ = resp.Body.Close()
				}
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) < try+400*time.Millisecond {
					t.Errorf("%v after %s; it may not be repeated, nor cut short", err, time.Since(begun))
				}
				return
			}
			got := send(t, c, req)
			want := ""
			if tc.body != nil {
				want = "hello"
			}
			if got.Tag != "" || got.Request != "gray" || got.Body != want {
				t.Errorf("reached %+v", got)
			}
			if took := time.Since(begun); took < try {
				t.Errorf("took %s", took)
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

// The time for one try ends when the answer begins: how long its body takes is no matter.
func TestTryTimeoutDoesNotCutAnswers(t *testing.T) {
	t.Parallel()
	const try = 2 * time.Second
	m := newMesh(t)
	goOn := make(chan struct{})
	m.serve(m.runtime("b", ""), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-goOn
		_, _ = io.WriteString(w, "all of it")
	}))
	c := m.client(m.runtime("a", ""), grayhttp.WithIdempotent(func(*http.Request) bool { return true }), grayhttp.WithTryTimeout(try))
	resp, err := c.Get("http://b/x")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	time.AfterFunc(try+200*time.Millisecond, sync.OnceFunc(func() { close(goOn) }))
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "all of it" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestNobodyAnswersInTime(t *testing.T) {
	m := newMesh(t)
	one, _ := m.behindDoor("")
	one.Freeze()
	c := m.client(m.runtime("a", ""), grayhttp.WithIdempotent(func(*http.Request) bool { return true }), grayhttp.WithTryTimeout(soon))
	resp, err := c.Get("http://b/x")
	if err == nil {
		_ = resp.Body.Close()
	}
	if !errors.Is(err, graylib.ErrNoInstance) || !errors.Is(err, grayhttp.ErrTryTimeout) || !strings.Contains(err.Error(), one.Addr()) {
		t.Errorf("error %v", err)
	}
}
