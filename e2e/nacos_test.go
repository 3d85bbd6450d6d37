package e2e

import (
	"context"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// ownServers starts a suite with servers of its own, for tests that hurt them, with the baseline. bin holds the services;
// empty = they are built.
func ownServers(t *testing.T, bin string) (*suite.Suite, *localinfra.Server) {
	t.Helper()
	needServers(t)
	dir, err := os.MkdirTemp("", "graychain-e2e-nacos-") //nolint:usetesting // it is kept where the test fails
	if err != nil {
		t.Fatal(err)
	}
	options := suite.Options{
		State: dir, Bin: bin, Ports: suite.Ports{Gateway: 22000, A: 22001, B: 22002, C: 22003, BRPC: 22082, CRPC: 22083},
		Infra: suite.LocalInfra{Options: localinfra.Options{
			ReadyLimit: 3 * time.Minute, // twice as long as Nacos needed on two cores with a load of 50
			Nacos:      localinfra.Port{Number: 28848}, Namesrv: localinfra.Port{Number: 29876}, Broker: localinfra.Port{Number: 30911},
		}},
	}
	s, err := suite.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("the suite did not stop cleanly: %v", err)
		}
		if t.Failed() {
			t.Logf("logs and state are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	if err := s.Add(t.Context(), suite.Baseline); err != nil {
		t.Fatal(err)
	}
	return s, s.Servers().(suite.LocalServers).Nacos
}

// G7 and G8 on a server of its own: whatever happens to Nacos and its document, no request fails and none reaches a wrong
// place, and what was published last is in force everywhere once Nacos can tell.
func TestNacosFaults(t *testing.T) {
	s, nacos := ownServers(t, "")
	perSecond, away, changes := 50, 3*time.Second, 12
	if full() {
		perSecond, away, changes = 100, 40*time.Second, 50
	}
	listLanes(t, s, red)
	laneFor(t, s, red, "a", "c")
	load := &traffic{PerSecond: perSecond, Tags: []graylib.Tag{graylib.Untagged, red}, Place: fixed("a", "c")}
	step := func(name string, test func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			_, failed, wrong := load.count()
			test(t)
			sent, failedNow, wrongNow := load.count()
			t.Logf("%s: %d requests so far, %d failed and %d misplaced in this step", name, sent, failedNow-failed, wrongNow-wrong)
			if failedNow > failed || wrongNow > wrong {
				t.Errorf("broke G8 fail-static: %d requests failed, %d reached a wrong place meanwhile", failedNow-failed, wrongNow-wrong)
			}
		})
	}
	load.start(s)
	defer load.end(t)

	step("a row of changes", func(t *testing.T) {
		began := time.Now()
		var revision int64
		var at time.Time
		for n := range changes {
			revision, at = publishChange(t, s, changeValue+"row-"+strconv.Itoa(n))
		}
		took := reached(t, s, revision, at)
		t.Logf("%d changes in %v; every instance is on the last revision, %d, after %v", changes, at.Sub(began).Round(time.Millisecond), revision, took)
	})

	step("killed and restarted", func(t *testing.T) {
		if err := nacos.Kill(); err != nil {
			t.Fatal(err)
		}
		fresh := startAway(t, s, func() error { return s.AddLane(t.Context(), red+"-new", "b") }, "b-red-new", "none")
		hold(t, away)
		back := restart(t, nacos)
		fresh(back)
		whole(t, s, back)
		revision, at := publishChange(t, s, changeValue+"after-kill")
		t.Logf("a change after the return: %v", reached(t, s, revision, at))
		if err := s.RemoveLane(t.Context(), red+"-new"); err != nil {
			t.Error(err)
		}
	})
	if full() {
		step("stopped and restarted", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := nacos.Stop(ctx); err != nil {
				t.Fatal(err)
			}
			hold(t, away)
			back := restart(t, nacos)
			whole(t, s, back)
			revision, at := publishChange(t, s, changeValue+"after-stop")
			t.Logf("a change after the return: %v", reached(t, s, revision, at))
		})
	}

	for _, broken := range []struct{ name, content, refusal string }{
		{"deleted", "", "the document is empty or was deleted"},
		{"emptied", "# nothing\n", "the document is empty"},
		{"broken", "lanes: [\n", "line "},
		{"without a lane", "revision: NEXT\n", "lane red is missing"},
		{"with an old revision", "SAME", "not higher than the last good document's"},
	} {
		step(broken.name, func(t *testing.T) {
			store, err := s.Store(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			good, _, err := store.Get(t.Context())
			if err != nil || len(good) == 0 {
				t.Fatalf("the good document: %q, %v", good, err)
			}
			doc, err := rules.Parse(good)
			if err != nil {
				t.Fatal(err)
			}
			content := strings.Replace(broken.content, "NEXT", strconv.FormatInt(doc.Revision+1, 10), 1)
			if content == "SAME" {
				content = changed.ReplaceAllString(string(good), `"`+changeValue+`by-hand"`)
			}
			at := time.Now()
			put(t, store, content)
			t.Logf("every instance refuses it after %v", refused(t, s, broken.refusal, at))
			for _, i := range s.Instances() {
				if st, err := i.Status(t.Context()); err != nil || !st.Ready || !strings.Contains(st.Rules.Refusal, "stays in force") {
					t.Errorf("%s: %v, ready %v, refusal %q; want ready, and what stays in force", i.Name, err, st.Ready, st.Rules.Refusal)
				}
			}
			at = time.Now()
			put(t, store, string(good))
			t.Logf("with the good one back nobody refuses anything after %v", refused(t, s, "", at))
		})
	}
	load.end(t)

	if full() {
		t.Run("a service with rules on its disk starts with Nacos away", func(t *testing.T) {
			b := s.Instance("b")
			if err := nacos.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := b.Kill(); err != nil {
				t.Fatal(err)
			}
			again := startAway(t, s, func() error { return b.Start(t.Context()) }, "b", "disk")
			back := restart(t, nacos)
			again(back)
			whole(t, s, back)
		})
	}
}

// hold lets the traffic go on for a while: what must not happen needs a span of attempts.
func hold(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// restart starts the server again and returns when it was back.
func restart(t *testing.T, server *localinfra.Server) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	began := time.Now()
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s is back after %v", server.Name(), time.Since(began).Round(time.Millisecond))
	return time.Now()
}

// whole waits until Nacos lists all instances again, each reads the rules from it again, and knows all the others.
func whole(t *testing.T, s *suite.Suite, back time.Time) {
	t.Helper()
	if err := s.WaitRouted(t.Context()); err != nil {
		t.Fatal(err)
	}
	listed := time.Since(back)
	var took times
	for _, i := range s.Instances() {
		eventually(t, 40*time.Second, i.Name+" reads the rules again", func() bool {
			st, err := i.Status(t.Context())
			return err == nil && st.Rules.Origin == "nacos" && st.Rules.ReadAt.After(back)
		})
		took = append(took, time.Since(back))
	}
	t.Logf("after its return: all instances are listed and known after %v, all read the rules again after %v", listed.Round(time.Millisecond), took.quantile(1))
}

// put writes a text by hand; "" deletes the document.
func put(t *testing.T, store rules.Store, content string) {
	t.Helper()
	eventually(t, changeLimit, "a document by hand", func() bool {
		if content == "" {
			return store.(*graynacos.Client).Delete(t.Context()) == nil
		}
		_, sum, err := store.Get(t.Context())
		return err == nil && store.Publish(t.Context(), []byte(content), sum) == nil
	})
}

// refused waits until all live instances say that they refuse the document with a reason, or with "" that they refuse none.
func refused(t *testing.T, s *suite.Suite, reason string, since time.Time) times {
	t.Helper()
	var took times
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, i := range s.Instances() {
		all.Go(func() {
			var refusal string
			for time.Since(since) < changeLimit {
				if st, err := i.Status(t.Context()); err == nil {
					refusal = st.Rules.Refusal
					if reason == "" && refusal == "" || reason != "" && strings.Contains(refusal, reason) {
						mu.Lock()
						took = append(took, time.Since(since))
						mu.Unlock()
						return
					}
				}
				select {
				case <-t.Context().Done():
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
			t.Errorf("broke G8 fail-static: %s refuses %q after %v, want %q", i.Name, refusal, changeLimit, reason)
		})
	}
	all.Wait()
	return took
}

// startAway starts an instance while Nacos is away: its process starts, isn't ready and says why, and knows the rules from
// origin. The function that it returns is called when Nacos is back: the instance is ready, and the chain works through its
// service, within 5 s; it prints when.
func startAway(t *testing.T, s *suite.Suite, start func() error, name, origin string) (back func(time.Time)) {
	t.Helper()
	result := make(chan error, 1)
	go func() { result <- start() }()
	var st graylib.Status
	eventually(t, 20*time.Second, name+" says that Nacos is away", func() bool {
		i := s.Instance(name)
		if i == nil {
			return false
		}
		var err error
		st, err = i.Status(t.Context())
		return err == nil && strings.Contains(strings.Join(st.NotReady, " "), "can't be reached")
	})
	if st.Ready || st.Rules.Origin != origin {
		t.Errorf("%s with Nacos away: ready %v, rules from %s; want not ready, rules from %s", name, st.Ready, st.Rules.Origin, origin)
	}
	t.Logf("%s with Nacos away: rules from %s, revision %d, not ready: %s", name, st.Rules.Origin, st.Rules.Revision, strings.Join(st.NotReady, "; "))
	if code := readyCode(t, s, name); code != http.StatusServiceUnavailable {
		t.Errorf("%s with Nacos away: %s answers %d, want 503", name, graylib.ReadyPath, code)
	}
	return func(since time.Time) {
		t.Helper()
		eventually(t, 30*time.Second, name+" is ready", func() bool { return readyCode(t, s, name) == http.StatusOK })
		ready := time.Since(since)
		eventually(t, 30*time.Second, "the chain after Nacos's return", func() bool {
			a, err := s.Send(t.Context(), suite.Request{Path: "/A/stream"})
			return err == nil && a.Status == http.StatusOK
		})
		served := time.Since(since)
		t.Logf("after Nacos's return %s is ready after %v, and the chain answers after %v", name, ready.Round(time.Millisecond), served.Round(time.Millisecond))
		if served > 5*time.Second && full() {
			t.Errorf("%s served %v after Nacos's return, want 5s at most", name, served)
		}
		if err := <-result; err != nil {
			t.Errorf("starting %s: %v", name, err)
		}
	}
}

// readyCode returns what an instance answers to a probe, 0 where it doesn't.
func readyCode(t *testing.T, s *suite.Suite, name string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Instance(name).HTTP+graylib.ReadyPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
