package graylib

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// fakeObserver is a real HTTP server that keeps events as an observer does: each eventId once.
type fakeObserver struct {
	*httptest.Server

	mu     sync.Mutex
	posts  int
	answer func(post int) (status int, body string) // nil = 200; post counts from 1
	keep   bool                                     // keep events also where the answer isn't 200
	ids    map[string]int                           // eventId -> times
	last   Event
	bad    []string
}

func newFakeObserver(t *testing.T) *fakeObserver {
	o := &fakeObserver{ids: map[string]int{}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *fakeObserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.posts++
	if r.Method != http.MethodPost || r.URL.Path != ObserverPath || r.Header.Get("Content-Type") != "application/x-ndjson" {
		o.bad = append(o.bad, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type"))
	}
	status, body := http.StatusOK, ""
	if o.answer != nil {
		status, body = o.answer(o.posts)
	}
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			o.bad = append(o.bad, lines.Text())
			continue
		}
		if status == http.StatusOK || o.keep {
			o.ids[e.EventID]++
			o.last = e
		}
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func (o *fakeObserver) known() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.ids)
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func testReporter(t *testing.T, base string, closeWait time.Duration) *HTTPReporter {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	r, err := newHTTPReporter(base, time.Millisecond, closeWait)
	if err != nil {
		t.Fatal(err)
	}
	r.client.Timeout = time.Minute // nothing is under way yet; an answer that comes too late would have it post again
	t.Cleanup(func() {
		_ = r.Close()
		// The server's own goroutine for the connection ends a moment after the client has closed it.
		within(t, "no goroutine left", func() bool { return goleak.Find(ignore) == nil })
	})
	return r
}

func event(i int) Event { return Event{V: EventVersion, Kind: EventChain, EventID: fmt.Sprint("e", i)} }

func TestReporterHandsOnEverything(t *testing.T) {
	o := newFakeObserver(t)
	r := testReporter(t, o.URL+"/", time.Minute)
	const goroutines, each = 4, 500
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				r.Report(event(g*each + i))
			}
		})
	}
	wg.Wait()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if o.known() != goroutines*each || r.Dropped() != 0 {
		t.Errorf("%d of %d events arrived, %d dropped", o.known(), goroutines*each, r.Dropped())
	}
	if len(o.bad) > 0 {
		t.Errorf("the observer refuses: %v", o.bad)
	}
}

func TestReporterSendsALoneEventAtOnce(t *testing.T) {
	o := newFakeObserver(t)
	r := testReporter(t, o.URL, time.Minute)
	rt, err := New(Identity{Service: "a", Tag: "gray", Instance: "a-1"}, WithReporter(r))
	if err != nil {
		t.Fatal(err)
	}
	rt.Report(Event{Kind: EventProduced, ID: "m1", Queue: "broker-a/3", Tag: "blue"})
	within(t, "the event", func() bool { return o.known() == 1 })
	got := o.last
	if time.Since(got.Time) > time.Minute || len(got.EventID) != 32 {
		t.Errorf("time %v, event id %q", got.Time, got.EventID)
	}
	got.Time, got.EventID = time.Time{}, ""
	want := Event{V: 1, Kind: EventProduced, Service: "a", Instance: "a-1", Tag: "gray", ID: "m1", Queue: "broker-a/3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

func TestReporterTriesAgain(t *testing.T) {
	o := newFakeObserver(t)
	o.keep = true // the answer of a post that was taken gets lost: it is posted again, and known by its id
	o.answer = func(post int) (int, string) {
		return []int{http.StatusServiceUnavailable, http.StatusTooManyRequests, http.StatusRequestTimeout, http.StatusOK}[min(post-1, 3)], ""
	}
	r := testReporter(t, o.URL, time.Minute)
	r.Report(event(1))
	_ = r.Close()
	if o.ids["e1"] != 4 || r.Dropped() != 0 {
		t.Errorf("posted %d times, dropped %d; want the fourth try to succeed", o.ids["e1"], r.Dropped())
	}
}

func TestReporterGivesUp(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		body    string
		posts   int
		dropped int64
	}{
		{"after four tries", http.StatusInternalServerError, "", 4, 1},
		{"where it is refused", http.StatusRequestEntityTooLarge, "too large", 1, 1},
		{"where it is refused line by line", http.StatusUnprocessableEntity, `{"refusedTotal":1}`, 1, 1},
		{"where nobody takes events", http.StatusNotFound, "no such page", 4, 1},
		{"where the answer counts wrong", http.StatusBadRequest, `{"refusedTotal":7}`, 1, 1},
		{"where a redirection leads nowhere", http.StatusNotModified, "", 4, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := newFakeObserver(t)
			o.answer = func(int) (int, string) { return tt.status, tt.body }
			r := testReporter(t, o.URL, time.Minute)
			r.Report(event(1))
			_ = r.Close()
			if o.posts != tt.posts || r.Dropped() != tt.dropped {
				t.Errorf("%d posts, %d dropped; want %d and %d", o.posts, r.Dropped(), tt.posts, tt.dropped)
			}
		})
	}
}

func TestReporterCountsRefusedLines(t *testing.T) {
	r, err := newHTTPReporter("http://127.0.0.1:1", time.Millisecond, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close() // from here on send is called by hand
	o := newFakeObserver(t)
	o.answer = func(int) (int, string) { return http.StatusBadRequest, `{"accepted":2,"refusedTotal":1}` }
	r.url = o.URL + ObserverPath
	beyond := event(4)
	beyond.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) // can't be written as RFC 3339
	r.send(t.Context(), []Event{event(1), event(2), event(3), beyond})
	r.client.CloseIdleConnections()
	if o.posts != 1 || r.Dropped() != 2 {
		t.Errorf("%d posts, %d dropped; want 1 post, and one refused and one unwritable event", o.posts, r.Dropped())
	}
}

// A flood on an observer that hangs blocks nobody; what doesn't fit is counted, and Close ends in time with the rest.
func TestReporterWithAHangingObserver(t *testing.T) {
	release := make(chan struct{})
	posted := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case posted <- struct{}{}:
		default:
		}
		<-release
	}))
	defer server.Close()
	defer close(release)
	r := testReporter(t, server.URL, 50*time.Millisecond)
	r.Report(event(0))
	<-posted // the first batch is under way
	const flood = reporterQueue + 100
	start := time.Now()
	for i := range flood {
		r.Report(event(1 + i))
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("reporting took %v", took)
	}
	if got := r.Dropped(); got != flood-reporterQueue {
		t.Errorf("%d dropped, want the %d that the queue doesn't hold", got, flood-reporterQueue)
	}
	start = time.Now()
	_ = r.Close()
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("closing took %v with a limit of 50 ms", took)
	}
	if got := r.Dropped(); got != 1+flood {
		t.Errorf("%d counted as dropped, want all %d", got, 1+flood)
	}
	r.Report(event(0))
	if got := r.Dropped(); got != 2+flood {
		t.Errorf("an event after Close isn't counted: %d", got)
	}
	_ = r.Close()
}

// Events that are reported while the reporter closes are sent or counted, none is neither. Meant for -race.
func TestReporterClosesUnderReports(t *testing.T) {
	o := newFakeObserver(t)
	r := testReporter(t, o.URL, time.Minute)
	const goroutines, each = 4, 400
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				r.Report(event(g*each + i))
				if g == 0 && i == each/2 {
					_ = r.Close()
				}
			}
		})
	}
	wg.Wait()
	_ = r.Close()
	if got := int64(o.known()) + r.Dropped(); got != goroutines*each {
		t.Errorf("%d arrived, %d dropped of %d", o.known(), r.Dropped(), goroutines*each)
	}
}

func TestReporterWithoutObserver(t *testing.T) {
	r := testReporter(t, "http://127.0.0.1:1", time.Minute)
	r.Report(event(1))
	within(t, "the event is dropped", func() bool { return r.Dropped() == 1 })
}

func TestNewHTTPReporterRefuses(t *testing.T) {
	for _, base := range []string{"", "127.0.0.1:20099", "ftp://h", "http://", "http://h?x=1", "http://h#x", "http://h:x", "\x00"} {
		r, err := NewHTTPReporter(base)
		if !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%q: error %v", base, err)
		}
		if r != nil {
			_ = r.Close()
		}
	}
}

func TestReporterLeavesOthersConnections(t *testing.T) {
	o := newFakeObserver(t)
	if r := testReporter(t, o.URL, time.Minute); r.client.Transport == nil || r.client.Transport == http.DefaultTransport {
		t.Error("Close closes idle connections of the default transport")
	}
}
