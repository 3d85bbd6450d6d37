package cli

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

// chain answers like a chain whose gray lane has a and c.
type chain struct {
	fail  func(n int64) error
	block chan struct{}
	n     atomic.Int64
}

func (c *chain) Send(ctx context.Context, r suite.Request) (suite.Answer, error) {
	n := c.n.Add(1)
	if c.block != nil {
		select {
		case <-c.block:
		case <-ctx.Done():
			return suite.Answer{}, ctx.Err()
		}
	}
	if c.fail != nil {
		if err := c.fail(n); err != nil {
			return suite.Answer{}, err
		}
	}
	tag := graylib.Untagged
	if r.Query.Get("name") == "xiaoming" {
		tag = "gray"
	}
	return suite.Answer{Status: 200, Took: time.Duration(n) * time.Microsecond, Hops: []graylib.Hop{
		{Service: "a", Tag: tag}, {Service: "b"}, {Service: "c", Tag: tag},
	}}, nil
}

func plan(qps float64, share float64, span time.Duration) trafficPlan {
	return trafficPlan{
		plain: suite.Request{Path: "/A/dubbo"},
		gray:  suite.Request{Path: "/A/dubbo", Query: map[string][]string{"name": {"xiaoming"}}},
		share: share, qps: qps, span: span,
	}
}

// The time of these tests is synctest's: a busy machine changes no count.

func TestTrafficKeepsRateAndShare(t *testing.T) { synctest.Test(t, testTrafficKeepsRateAndShare) }

func testTrafficKeepsRateAndShare(t *testing.T) {
	for _, share := range []float64{0, 0.2, 1} {
		var out bytes.Buffer
		total := traffic(t.Context(), &chain{}, plan(200, share, 1200*time.Millisecond), newTable(&out))
		want := 200 * 1.2
		if n := float64(total.requests); math.Abs(n-want) > want/4 {
			t.Errorf("share %g: %d requests, want about %g", share, total.requests, want)
		}
		if got, want := float64(total.gray), share*float64(total.requests); math.Abs(got-want) > 1.5 {
			t.Errorf("share %g: %d of %d gray", share, total.gray, total.requests)
		}
		if total.hops[seen{"a", "gray"}] != total.gray || total.hops[seen{"b", ""}] != total.requests || total.hops[seen{"a", ""}] != total.requests-total.gray {
			t.Errorf("share %g: hops %v of %d requests, %d gray", share, total.hops, total.requests, total.gray)
		}
		if total.errors != 0 || !strings.Contains(out.String(), "requests in 1.2 s") {
			t.Errorf("share %g: %d errors, output\n%s", share, total.errors, out.String())
		}
	}
}

func TestTrafficCountsErrors(t *testing.T) { synctest.Test(t, testTrafficCountsErrors) }

func testTrafficCountsErrors(t *testing.T) {
	var out bytes.Buffer
	total := traffic(t.Context(), &chain{fail: func(n int64) error {
		if n%10 == 0 {
			return errors.New("b is away")
		}
		return nil
	}}, plan(200, 0, 500*time.Millisecond), newTable(&out))
	if total.errors == 0 || total.errors != total.requests/10 || total.lastError != "b is away" {
		t.Errorf("%d errors of %d requests, last %q", total.errors, total.requests, total.lastError)
	}
	if len(total.latencies) != total.requests-total.errors {
		t.Errorf("%d latencies of %d good requests", len(total.latencies), total.requests-total.errors)
	}
}

// TestTrafficIsBounded: a chain that hangs gets no more than maxInFlight requests, and the rest is counted.
func TestTrafficIsBounded(t *testing.T) { synctest.Test(t, testTrafficIsBounded) }

func testTrafficIsBounded(t *testing.T) {
	var out bytes.Buffer
	c := &chain{block: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	total := traffic(ctx, c, plan(2000, 0, time.Minute), newTable(&out))
	if n := c.n.Load(); n != maxInFlight {
		t.Errorf("%d requests under way, want %d", n, maxInFlight)
	}
	if total.left == 0 || total.requests != 0 || total.errors != 0 {
		t.Errorf("%d left out, %d requests, %d errors", total.left, total.requests, total.errors)
	}
}

func TestTableOnATerminal(t *testing.T) {
	var out bytes.Buffer
	table := newTable(&out)
	table.live = true
	w := newWindow()
	w.span, w.requests, w.gray = time.Second, 10, 2
	w.hops = map[seen]int{{"a", ""}: 8, {"a", "gray"}: 2, {"b", ""}: 10}
	table.show(w, time.Second)
	table.show(w, 2*time.Second)
	lines := strings.Split(out.String(), "\n")
	for _, want := range []string{"baseline         gray", "A                   8.0          2.0", "B                  10.0          0.0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !strings.HasPrefix(lines[4], "\x1b[4A") {
		t.Errorf("the second table isn't drawn over the first: %q", lines[4])
	}
}

func TestPercentile(t *testing.T) {
	var list []time.Duration
	for i := range 100 {
		list = append(list, time.Duration(i+1))
	}
	for p, want := range map[float64]time.Duration{0: 1, 50: 50, 95: 95, 99: 99, 100: 100} {
		if got := percentile(list, p); got != want {
			t.Errorf("p%g = %d, want %d", p, got, want)
		}
	}
	if percentile(nil, 50) != 0 || percentile(list[:1], 99) != 1 {
		t.Error("of none and of one")
	}
}

func TestOnlyLoopbackGetsTraffic(t *testing.T) {
	for url, want := range map[string]bool{"http://127.0.0.1:20000": true, "http://[::1]:2": true, "http://10.0.0.1:20000": false, "http://example.com": false, "": false} {
		if got := isLoopback(url); got != want {
			t.Errorf("isLoopback(%q) = %v", url, got)
		}
	}
}
