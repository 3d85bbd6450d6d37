package observer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/pkg/graylib"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var base = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func event(kind graylib.EventKind, id string, change func(*graylib.Event)) graylib.Event {
	e := graylib.Event{V: 1, Kind: kind, EventID: id, Time: base, Service: "a", Instance: "a-1"}
	if change != nil {
		change(&e)
	}
	return e
}

func chain(eventID, requestID string, messages ...string) graylib.Event {
	return event(graylib.EventChain, eventID, func(e *graylib.Event) {
		e.RequestID = requestID
		for _, m := range messages {
			e.Messages = append(e.Messages, graylib.Message{ID: m, Topic: "TEST_MQ", Tag: "gray"})
		}
	})
}

func finished(eventID, id, requestID, result string) graylib.Event {
	return event(graylib.EventFinished, eventID, func(e *graylib.Event) {
		e.ID, e.RequestID, e.Result, e.Topic, e.MessageTag = id, requestID, result, "TEST_MQ", "gray"
	})
}

func lines(events ...graylib.Event) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		_ = enc.Encode(e)
	}
	return b.String()
}

// serve starts a server on loopback with its own client, so that no connection outlives the test.
func serve(t *testing.T, s *observer.Store) (string, *http.Client) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := observer.Serve(ln, observer.Handler(s))
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return srv.URL(), client
}

func post(t *testing.T, client *http.Client, url, body string) (int, observer.Posted) {
	t.Helper()
	resp, err := client.Post(url+graylib.ObserverPath, "application/x-ndjson", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var out observer.Posted
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, out
}

func TestPostKeepsGoodLinesAndNamesBadOnes(t *testing.T) {
	s := observer.NewStore(0, 0)
	url, client := serve(t, s)
	body := lines(chain("e1", "r1", "m1")) +
		"{\"v\":1,\n" + // line 2: broken JSON
		"\n" + // empty lines are none
		lines(finished("e2", "m1", "r1", "success")) +
		`{"v":2,"kind":"chain","eventId":"x","time":"2026-11-22T10:00:00Z","requestId":"r"}` + "\n" + // line 5
		`{"v":1,"kind":"eaten","eventId":"x","time":"2026-11-22T10:00:00Z"}` + "\n" + // line 6
		strings.Repeat("y", observer.MaxLine+100) + "\n" + // line 7
		lines(finished("e3", "m2", "", "retry"))
	status, got := post(t, client, url, strings.TrimSuffix(body, "\n"))
	if status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", status)
	}
	var bad []int
	for _, b := range got.Refused {
		bad = append(bad, b.Line)
	}
	if diff := cmp.Diff([]int{2, 5, 6, 7}, bad); diff != "" {
		t.Errorf("refused lines (-want +got):\n%s", diff)
	}
	if got.Accepted != 3 || got.RefusedTotal != 4 {
		t.Errorf("accepted %d, refused %d, want 3 and 4", got.Accepted, got.RefusedTotal)
	}
	status, got = post(t, client, url, lines(chain("e1", "r1", "m1"), finished("e2", "m1", "r1", "success")))
	if status != http.StatusOK || got.Accepted != 0 || got.Repeated != 2 {
		t.Errorf("posted again: status %d, %+v, want 200, 0 accepted, 2 repeated", status, got)
	}
	loop, known := s.Loop("r1")
	if !known || len(loop.Messages) != 1 || len(loop.Messages[0].Handled()) != 1 {
		t.Errorf("loop r1 = %+v, want one message, handled once", loop)
	}
}

func TestValidate(t *testing.T) {
	for _, tc := range []struct {
		name  string
		event graylib.Event
		want  string
	}{
		{"no event id", event(graylib.EventChain, "", nil), "eventId is missing"},
		{"no time", event(graylib.EventChain, "e", func(e *graylib.Event) { e.Time = time.Time{} }), "time is missing"},
		{"a chain without request", event(graylib.EventChain, "e", nil), "requestId is missing"},
		{"a message without id", event(graylib.EventBegun, "e", nil), "id is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := observer.Validate(tc.event)
			if !errors.Is(err, observer.ErrInvalidEvent) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that contains %q", err, tc.want)
			}
		})
	}
	if err := observer.Validate(chain("e", "r")); err != nil {
		t.Errorf("a good event: %v", err)
	}
}

func TestLoopOutOfOrder(t *testing.T) {
	s := observer.NewStore(0, 0)
	for _, e := range []graylib.Event{
		finished("e3", "m1", "r1", "success"),
		event(graylib.EventProduced, "e2", func(e *graylib.Event) {
			e.ID, e.RequestID, e.MessageTag, e.Topic = "m1", "r1", "gray", "TEST_MQ"
		}),
		chain("e1", "r1", "m1", "m2"),
		finished("e4", "m1", "r1", "skipped"),
	} {
		if _, err := s.Add(e, 100); err != nil {
			t.Fatal(err)
		}
	}
	l, _ := s.Loop("r1")
	if l.Chain == nil || len(l.Messages) != 2 {
		t.Fatalf("loop = %+v, want a chain and two messages", l)
	}
	if m := l.Messages[0]; m.ID != "m1" || len(m.Produced) != 1 || len(m.Handled()) != 1 || len(m.Skipped()) != 1 {
		t.Errorf("first message = %+v", m)
	}
	if m := l.Messages[1]; m.ID != "m2" || m.Tag != "gray" || m.Topic != "TEST_MQ" {
		t.Errorf("a message that only the chain names = %+v, want m2, TEST_MQ, gray", m)
	}
}

func TestWaitSeesWhatComesLater(t *testing.T) {
	s := observer.NewStore(0, 0)
	url, client := serve(t, s)
	got := make(chan observer.Loop, 1)
	go func() {
		defer close(got)
		resp, err := client.Get(url + "/v1/loops/r1?wait=20s")
		if err != nil {
			return
		}
		defer func() { _ = resp.Body.Close() }()
		var l observer.Loop
		if json.NewDecoder(resp.Body).Decode(&l) == nil {
			got <- l
		}
	}()
	if _, err := s.Add(finished("e1", "m1", "r1", "success"), 10); err != nil {
		t.Fatal(err)
	}
	select {
	case l := <-got:
		t.Fatalf("answered %+v before the chain was known", l)
	case <-time.After(50 * time.Millisecond):
	}
	if _, err := s.Add(chain("e2", "r1", "m1"), 10); err != nil {
		t.Fatal(err)
	}
	l, ok := <-got
	if !ok || l.Chain == nil || len(l.Messages) != 1 {
		t.Errorf("loop = %+v, want a chain and a message", l)
	}
}

func TestWaitInVain(t *testing.T) {
	s := observer.NewStore(0, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := s.WaitLoop(ctx, "r1", func(l observer.Loop) bool { return l.Chain != nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a deadline exceeded", err)
	}
	url, client := serve(t, s)
	for path, want := range map[string]int{
		"/v1/loops/r1":             http.StatusNotFound,
		"/v1/messages/m1?wait=1ms": http.StatusNotFound,
		"/v1/loops/r1?wait=soon":   http.StatusBadRequest,
		"/v1/loops/r1?wait=2h":     http.StatusBadRequest,
		"/v1/counts":               http.StatusOK,
	} {
		resp, err := client.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("GET %s: status %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestTheServicesReporterIsUnderstood(t *testing.T) {
	s := observer.NewStore(0, 0)
	url, _ := serve(t, s)
	r, err := graylib.NewHTTPReporter(url)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		r.Report(chain(fmt.Sprint("e", i), fmt.Sprint("r", i)))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if c := s.Counts(); c.Accepted != 1000 || c.Refused != 0 {
		t.Errorf("counts %+v, want 1000 accepted", c)
	}
}

// TestBounds: whatever comes, the store holds no more than it may, and exactly the newest events.
func TestBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxEvents := rapid.IntRange(1, 20).Draw(t, "maxEvents")
		maxBytes := rapid.IntRange(10, 500).Draw(t, "maxBytes")
		s := observer.NewStore(maxEvents, maxBytes)
		type held struct {
			id   string
			size int
		}
		var model []held
		n := rapid.IntRange(1, 100).Draw(t, "n")
		for i := range n {
			id := fmt.Sprint("e", i)
			size := rapid.IntRange(1, 100).Draw(t, "size")
			request := fmt.Sprint("r", rapid.IntRange(0, 5).Draw(t, "request"))
			var e graylib.Event
			if rapid.Bool().Draw(t, "chain") {
				e = chain(id, request)
			} else {
				e = finished(id, fmt.Sprint("m", rapid.IntRange(0, 5).Draw(t, "message")), request, "success")
			}
			if _, err := s.Add(e, size); err != nil {
				t.Fatal(err)
			}
			model = append(model, held{id, size})
			for total := sum(model, func(h held) int { return h.size }); len(model) > 1 && (len(model) > maxEvents || total > maxBytes); {
				total -= model[0].size
				model = model[1:]
			}
		}
		var want, got []string
		for _, h := range model {
			want = append(want, h.id)
		}
		live := map[string]bool{}
		for _, e := range s.Events(nil) {
			got = append(got, e.EventID)
			live[e.RequestID] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("events held (-want +got):\n%s", diff)
		}
		for i := range 6 {
			id := fmt.Sprint("r", i)
			if _, known := s.Loop(id); known != live[id] {
				t.Fatalf("request %s known %v, has events %v", id, known, live[id])
			}
		}
	})
}

func sum[T any](list []T, f func(T) int) int {
	n := 0
	for _, v := range list {
		n += f(v)
	}
	return n
}
