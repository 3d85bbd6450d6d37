package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

// icy is the lane of the frozen instance's test.
const icy graylib.Tag = "icy"

// frozenTraffic is a stream of requests through c over HTTP and over Kitex streams, untagged and of lane icy, and what became of
// each.
type frozenTraffic struct {
	suite  *suite.Suite
	client *http.Client

	mu   sync.Mutex
	sent []frozenRequest
}

type frozenRequest struct {
	began  time.Time
	took   time.Duration
	tag    graylib.Tag
	path   string
	c      graylib.Hop // where it reached c
	failed string
}

func (f *frozenTraffic) run(ctx context.Context, perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		all.Go(func() {
			r := suite.Request{Path: []string{"/A/a", "/A/stream"}[n%2], Header: http.Header{}}
			one := frozenRequest{path: r.Path, began: time.Now()}
			if n%4 > 1 {
				one.tag = icy
				r.Header.Set(laneHeader, string(icy))
			}
			a, err := suite.Do(context.Background(), f.client, f.suite.GatewayURL(), r)
			one.took = time.Since(one.began)
			switch {
			case err != nil:
				one.failed = err.Error()
			case a.Status != http.StatusOK:
				one.failed = fmt.Sprintf("status %d: %s", a.Status, a.Error)
			default:
				if k := slices.IndexFunc(a.Hops, func(h graylib.Hop) bool { return h.Service == "c" }); k >= 0 {
					one.c = a.Hops[k]
				} else {
					one.failed = "no hop of c: " + a.Text
				}
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.sent = append(f.sent, one)
		})
	}
}

func (f *frozenTraffic) all() []frozenRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sent)
}

// A frozen instance (SIGSTOP) of the baseline, which has two, and one of a lane, which has no other: only requests sent to it
// before its ejection fail. The lane's requests reach the baseline then, and say why. Probes, which are no user's
// requests, bring both back when they go on.
func TestFrozenInstance(t *testing.T) {
	s := chain(t)
	listLanes(t, s, icy)
	laneFor(t, s, icy, "c")
	before := s.Instances()
	if err := s.AddLane(t.Context(), graylib.Untagged, "c"); err != nil {
		t.Fatal(err)
	}
	var frozen []*suite.Instance
	for _, i := range s.Instances() {
		if !slices.Contains(before, i) || i.Tag == icy {
			frozen = append(frozen, i)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		for _, i := range frozen {
			_ = i.Resume()
			if i.Tag == graylib.Untagged {
				if err := s.Remove(ctx, i.Name); err != nil {
					t.Errorf("%s did not go: %v", i.Name, err)
				}
			}
		}
	})
	if len(frozen) != 2 {
		t.Fatalf("%d instances to freeze", len(frozen))
	}

	f := &frozenTraffic{suite: s, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512}}}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { f.run(ctx, 20) })
	end := sync.OnceFunc(func() { stop(); running.Wait(); f.client.CloseIdleConnections() })
	defer end()
	reached := func(since time.Time, i *suite.Instance, path string) bool {
		return slices.ContainsFunc(f.all(), func(r frozenRequest) bool {
			return r.began.After(since) && r.path == path && r.failed == "" && shows(r.c, i)
		})
	}
	everywhere := func(since time.Time) bool {
		for _, i := range frozen {
			if !reached(since, i, "/A/a") || !reached(since, i, "/A/stream") {
				return false
			}
		}
		return true
	}
	eventually(t, patience, "the instances to freeze are reached", func() bool { return everywhere(time.Time{}) })

	stopped := time.Now()
	for _, i := range frozen {
		if err := i.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	out := map[string]time.Time{} // by address: HTTP's and RPC's are ejected each for itself
	b := s.Instance("b")
	eventually(t, 40*time.Second, "the frozen ones are ejected", func() bool {
		st, err := b.Status(t.Context())
		if err != nil {
			return false
		}
		for _, list := range st.Ejected {
			for _, e := range list {
				out[e.Addr] = e.Since
			}
		}
		return len(out) == 4
	})
	hold(t, time.Second) // a second of requests without them
	if st, err := b.Status(t.Context()); err != nil || len(st.Ejected["c"]) != 2 || len(st.Ejected["c.rpc"]) != 2 {
		t.Fatalf("b has ejected %+v (%v)", st.Ejected, err)
	}
	resumed := time.Now()
	for _, i := range frozen {
		if err := i.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 45*time.Second, "they are back", func() bool {
		st, err := b.Status(t.Context())
		return err == nil && len(st.Ejected) == 0
	})
	back := time.Now()
	eventually(t, patience, "they are reached again", func() bool { return everywhere(back) })
	end()

	failed, fellBack := map[string]int{}, 0
	for _, r := range f.all() {
		var at *suite.Instance // the frozen one that it could reach
		for _, i := range frozen {
			if i.Tag == r.tag {
				at = i
			}
		}
		ejected := out[addrOf(at, r.path)]
		what := fmt.Sprintf("%s tagged %s, begun %v after the freeze, %v after the ejection", r.path, r.tag,
			r.began.Sub(stopped).Round(time.Millisecond), r.began.Sub(ejected).Round(time.Millisecond))
		switch {
		case r.failed != "":
			failed[at.Name+" over "+r.path]++
			if r.began.After(ejected) {
				t.Errorf("broke G1 routing: %s, failed after %v: %s", what, r.took.Round(time.Millisecond), r.failed)
			}
		case r.began.After(ejected) && r.began.Before(resumed):
			want := graylib.ReasonBaseline
			if r.tag == icy {
				want = graylib.ReasonEjected
				fellBack++
			}
			if r.c.Tag != graylib.Untagged || r.c.Reason != want || shows(r.c, at) {
				t.Errorf("broke G1 routing: %s, reached %+v, want another one of the baseline because of %q", what, r.c, want)
			}
		case r.c.Tag != r.tag && r.c.Reason != graylib.ReasonEjected:
			t.Errorf("broke G1 routing: %s, reached %+v", what, r.c)
		}
	}
	if fellBack == 0 {
		t.Error("no request of the lane fell back while its instance was ejected")
	}
	for _, i := range frozen {
		for _, path := range []string{"/A/a", "/A/stream"} {
			t.Logf("%s over %s: ejected %v after the freeze; %d requests sent to it before that failed, none after", i.Name, path,
				out[addrOf(i, path)].Sub(stopped).Round(time.Millisecond), failed[i.Name+" over "+path])
		}
	}
	t.Logf("%d requests in all; frozen for %v; all back %v after they went on", len(f.all()),
		resumed.Sub(stopped).Round(time.Millisecond), back.Sub(resumed).Round(time.Millisecond))
}

// shows tells whether the instance wrote the hop: it shows one address for both of its doors.
func shows(h graylib.Hop, i *suite.Instance) bool { return h.Addr == i.HTTP || h.Addr == i.RPC }

// addrOf returns where a path reaches an instance of c.
func addrOf(i *suite.Instance, path string) string {
	if path == "/A/stream" {
		return i.RPC
	}
	return i.HTTP
}
