package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
)

// A rolling restart of a, b and c, two instances each, and of one of two gateways, under 200 requests a second: no request
// fails. In full every instance of a pair is restarted, the gateway that stays excepted.
func TestRollingRestart(t *testing.T) {
	s := chain(t)
	listLanes(t, s, red)
	second := []string{"gateway-2", "a-2", "b-2", "c-2"}
	if err := s.Add(t.Context(), suite.Baseline); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := s.Remove(ctx, second...); err != nil {
			t.Errorf("the second instances did not go: %v", err)
		}
	})
	balancer := newBalancer(t, s)
	load := &traffic{PerSecond: 200, Tags: []graylib.Tag{graylib.Untagged, red}, Place: fixed(), Gateways: balancer.ready}
	load.start(s)
	defer load.end(t)
	names := second
	if full() {
		names = []string{"a", "a-2", "b", "b-2", "c", "c-2", "gateway-2"}
	}
	for _, name := range names {
		before, failed, wrong := load.count()
		began := time.Now()
		if err := s.Instance(name).Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		sent, failedNow, wrongNow := load.count()
		t.Logf("%s restarted in %v: %d requests meanwhile, %d failed, %d with a wrong hop", name, time.Since(began).Round(time.Millisecond),
			sent-before, failedNow-failed, wrongNow-wrong)
	}
	load.end(t)
}

// balancer is what stands in front of several gateways: it asks each whether it is ready, as load balancers do, every 100 ms, well
// below the second for which a gateway that stops goes on serving.
type balancer struct {
	mu   sync.Mutex
	urls []string
}

func newBalancer(t *testing.T, s *suite.Suite) *balancer {
	b := &balancer{}
	client := &http.Client{Timeout: 2 * time.Second}
	look := func() {
		var urls []string
		for _, i := range s.Instances() {
			if i.Service != "gateway" {
				continue
			}
			resp, err := client.Get("http://" + i.HTTP + graylib.ReadyPath)
			if err != nil {
				continue
			}
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				urls = append(urls, "http://"+i.HTTP)
			}
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.urls = urls
	}
	look()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended; client.CloseIdleConnections() })
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look()
			}
		}
	}()
	return b
}

func (b *balancer) ready() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.urls
}

// Two lanes at once whose instances come and go: no request fails, none reaches another lane, and what is left over is
// routed exactly. In full the services are built with the race detector, and none of them reports a race.
func TestLanesComeAndGo(t *testing.T) {
	span, perSecond := 12*time.Second, 50
	if full() {
		span, perSecond = 60*time.Second, 50
	}
	var s *suite.Suite
	if full() {
		s, _ = ownServers(t, racedServices(t)) // the shared suite's instances are in the shared registry
	} else {
		s = chain(t)
	}
	listLanes(t, s, red, blue)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		for _, tag := range []graylib.Tag{red, blue} {
			if slices.ContainsFunc(s.Instances(), func(i *suite.Instance) bool { return i.Tag == tag }) {
				if err := s.RemoveLane(ctx, tag); err != nil {
					t.Errorf("lane %s did not go: %v", tag, err)
				}
			}
		}
	})
	load := &traffic{PerSecond: perSecond, Tags: []graylib.Tag{graylib.Untagged, red, blue}}
	load.start(s)
	defer load.end(t)
	came, went := 0, 0
	for deadline := time.Now().Add(span); time.Now().Before(deadline); {
		var here []string
		for _, i := range s.Instances() {
			if i.Tag == red || i.Tag == blue {
				here = append(here, i.Name)
			}
		}
		if n := len(here); n < 2 || n < 5 && rand.N(2) == 0 {
			tag, service := []graylib.Tag{red, blue}[rand.N(2)], suite.Laned[rand.N(len(suite.Laned))]
			if err := s.AddLane(t.Context(), tag, service); err != nil {
				t.Fatal(err)
			}
			came++
			continue
		}
		if err := s.Remove(t.Context(), here[rand.N(len(here))]); err != nil {
			t.Fatal(err)
		}
		went++
	}
	load.end(t)
	t.Logf("%d instances came, %d went", came, went)

	// Now that nothing moves, every request goes where it must.
	live := map[graylib.Tag][]string{}
	for _, i := range s.Instances() {
		live[i.Tag] = append(live[i.Tag], i.Service)
	}
	after := &traffic{PerSecond: perSecond, Tags: load.Tags, Place: func(tag graylib.Tag) placement { return fixed(live[tag]...)(tag) }}
	after.start(s)
	eventually(t, patience, "some requests", func() bool { sent, _, _ := after.count(); return sent >= 60 })
	after.end(t)
	if full() {
		races(t, s)
	}
}

// racedServices builds the services with the race detector.
func racedServices(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	if out, err := exec.Command("go", "build", "-race", "-o", bin+string(filepath.Separator), "../services/...").CombinedOutput(); err != nil {
		t.Fatalf("building with the race detector: %v\n%s", err, out)
	}
	return bin
}
