package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// laneHeader picks the lane of a request in the tests that judge traffic under load, whatever its path.
const laneHeader = "X-Lane"

// changeHeader picks the lane by a value that tests change, which begins with changeValue.
const (
	changeHeader = "X-Change"
	changeValue  = "change-"
)

// listLanes lists lanes that a request's header picks, where they aren't listed yet. Everything else of the document stays.
func listLanes(t *testing.T, s *suite.Suite, tags ...graylib.Tag) {
	t.Helper()
	_, err := s.Publish(t.Context(), func(current []byte) ([]byte, error) {
		if len(current) == 0 {
			current = []byte("# of the end-to-end tests\n")
		}
		for _, tag := range tags {
			if doc, err := rules.Parse(current); err == nil && slices.ContainsFunc(doc.Lanes, func(l rules.Lane) bool { return l.Tag == tag }) {
				continue
			}
			entry := func(name, key, value string) rules.Entry {
				return rules.Entry{Name: name + "-" + string(tag), Service: "a", When: []rules.Condition{
					{From: graylib.FromHeader, Key: key, Op: rules.OpEqual, Value: rules.Value{value}},
				}}
			}
			entries := []rules.Entry{entry("header", laneHeader, string(tag))}
			if tag == red { // what publishChange changes stands once in the document
				entries = append(entries, entry("change", changeHeader, changeValue+"none"))
			}
			next, err := rules.AddLane(current, rules.Lane{Tag: tag, Entries: entries})
			if err != nil {
				return nil, err
			}
			current = next
		}
		return current, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// placement is where a request must go: the own tag of the instance in each service.
type placement map[string]graylib.Tag

// traffic is a steady stream of requests, each judged by its hops.
type traffic struct {
	PerSecond int
	Tags      []graylib.Tag // of the requests, in turn; Untagged is one of them
	// Place returns where a request with the tag must go, from what the test knows at this moment. nil allows each service's
	// instance to be of the lane or of the baseline: while instances come and go either may be right. Never of another lane.
	Place func(tag graylib.Tag) placement
	// Gateways returns the base URLs to send to, in turn; nil = the suite's.
	Gateways func() []string

	suite  *suite.Suite
	client *http.Client
	stop   chan struct{}
	ended  sync.WaitGroup

	mu     sync.Mutex
	sent   int
	failed []string
	wrong  []string
	slow   time.Duration
}

// paths are the chain over HTTP, over streams, and over RPC with a message, by how often each is asked for: a message makes a
// chain of its own.
var paths = []string{"/A/a", "/A/stream", "/A/a", "/A/stream", "/A/dubbo"}

// start begins the stream; end ends it.
func (f *traffic) start(s *suite.Suite) {
	f.suite, f.stop = s, make(chan struct{})
	f.client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512}}
	if f.Gateways == nil {
		f.Gateways = func() []string { return []string{s.GatewayURL()} }
	}
	f.ended.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(f.PerSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				f.ended.Go(func() { f.send(n) })
			case <-f.stop:
				return
			}
		}
	})
}

func (f *traffic) send(n int) {
	tag := f.Tags[n%len(f.Tags)]
	r := suite.Request{Path: paths[(n/len(f.Tags))%len(paths)], Header: http.Header{}}
	if tag != graylib.Untagged {
		r.Header.Set(laneHeader, string(tag))
	}
	var want placement
	if f.Place != nil {
		want = f.Place(tag)
	}
	gateways := f.Gateways()
	if len(gateways) == 0 {
		f.note(&f.failed, fmt.Sprintf("%s tagged %s: no gateway is ready", r, tag))
		return
	}
	began := time.Now()
	a, err := suite.Do(context.Background(), f.client, gateways[rand.N(len(gateways))], r)
	took := time.Since(began)
	what := fmt.Sprintf("%s %s tagged %s, after %v: ", began.Format("15:04:05.000"), r, tag, took.Round(time.Millisecond))
	f.mu.Lock()
	f.sent++
	f.slow = max(f.slow, took)
	f.mu.Unlock()
	switch {
	case err != nil:
		f.note(&f.failed, what+err.Error())
	case a.Status != http.StatusOK:
		f.note(&f.failed, what+fmt.Sprintf("status %d: %s", a.Status, a.Error))
	default:
		if bad := misplaced(a.Hops, tag, want); bad != "" {
			f.note(&f.wrong, what+bad)
		}
	}
}

// misplaced says which hop is in a wrong place; "" = none.
func misplaced(hops []graylib.Hop, tag graylib.Tag, want placement) string {
	var services []string
	for _, h := range hops {
		if h.Service == "gateway" {
			continue
		}
		services = append(services, h.Service)
		switch exact, known := want[h.Service]; {
		case h.RequestTag != tag:
			return fmt.Sprintf("broke G3 propagation: %s saw tag %s: %s", h.Service, h.RequestTag, text(hops))
		case h.Tag != graylib.Untagged && tag == graylib.Untagged:
			return fmt.Sprintf("broke G2 isolation: an untagged request reached %s of lane %s: %s", h.Service, h.Tag, text(hops))
		case h.Tag != graylib.Untagged && h.Tag != tag:
			return fmt.Sprintf("broke G1 routing: it reached %s of lane %s: %s", h.Service, h.Tag, text(hops))
		case known && h.Tag != exact:
			return fmt.Sprintf("broke G1 routing: it reached %s of %s (%s), want %s: %s", h.Service, h.Tag, h.Reason, exact, text(hops))
		}
	}
	if strings.Join(services, ",") != "a,b,c" {
		return fmt.Sprintf("its hops are %v, want a, b and c", services)
	}
	return ""
}

func (f *traffic) note(list *[]string, what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*list = append(*list, what)
}

// count returns how many requests were sent, failed and misplaced so far.
func (f *traffic) count() (sent, failed, wrong int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent, len(f.failed), len(f.wrong)
}

// end ends the stream, and fails the test where a request failed or went to a wrong place.
func (f *traffic) end(t *testing.T) {
	t.Helper()
	select {
	case <-f.stop:
		return
	default:
		close(f.stop)
	}
	f.ended.Wait()
	f.client.CloseIdleConnections()
	sent, failed, wrong := f.count()
	for _, list := range [][]string{f.failed, f.wrong} {
		for _, what := range list[:min(len(list), 10)] {
			t.Error(what)
		}
	}
	if failed+wrong > 0 || sent == 0 {
		t.Errorf("of %d requests %d failed, %d went to a wrong place", sent, failed, wrong)
	}
	t.Logf("%d requests (%d/s wanted), %d failed, %d with a wrong hop, slowest %v", sent, f.PerSecond, failed, wrong, f.slow.Round(time.Millisecond))
}

// fixed is a placement that doesn't change: lane instances of the services, baseline elsewhere.
func fixed(services ...string) func(graylib.Tag) placement {
	return func(tag graylib.Tag) placement {
		p := placement{"a": graylib.Untagged, "b": graylib.Untagged, "c": graylib.Untagged}
		for _, s := range services {
			p[s] = tag
		}
		return p
	}
}

// times are measured durations.
type times []time.Duration

// quantile returns the value that the share q of all don't exceed.
func (d times) quantile(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Round(time.Millisecond)
}

func (d times) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, slowest %v of %d", d.quantile(0.5), d.quantile(0.99), d.quantile(1), len(d))
}
