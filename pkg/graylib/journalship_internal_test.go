package graylib

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestJournalOutlastsRefusals: answers that say nothing of the events (a login, a wrong address) lose none.
func TestJournalOutlastsRefusals(t *testing.T) {
	o := newFakeObserver(t)
	statuses := []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed}
	o.answer = func(post int) (int, string) {
		if post <= len(statuses) {
			return statuses[post-1], "not here"
		}
		return http.StatusOK, ""
	}
	j := mustJournal(t, t.TempDir(), o.URL, wide())
	j.Report(journalled("e1"))
	within(t, "it is shipped", func() bool { return o.known() == 1 })
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if s := j.Status(); s.Refused != 0 || s.Lost != 0 || s.Backlog != 0 {
		t.Errorf("status %+v, want nothing refused, lost or left", s)
	}
	o.once(t, []string{"e1"})
}

// impatient gives up after 300 ms what is longer than 2000 bytes, and nothing else.
func impatient(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.ContentLength <= 2000 {
			return next.RoundTrip(r)
		}
		ctx, cancel := context.WithTimeout(r.Context(), 300*time.Millisecond)
		defer cancel()
		return next.RoundTrip(r.WithContext(ctx))
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestJournalHalves: what is too large for the observer, or takes it too long, is posted in smaller parts; a line that is too
// large by itself is refused alone.
func TestJournalHalves(t *testing.T) {
	for name, slow := range map[string]bool{"too large": false, "too slow": true} {
		t.Run(name, func(t *testing.T) {
			o := newFakeObserver(t)
			var mu sync.Mutex
			var lengths []int64
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock() // one that was given up may still be ending when the next one comes
				lengths = append(lengths, r.ContentLength)
				mu.Unlock()
				switch {
				case r.ContentLength <= 2000:
					o.ServeHTTP(w, r)
				case slow:
					_, _ = io.Copy(io.Discard, r.Body) // else the server doesn't see that the client goes
					<-r.Context().Done()
				default:
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				}
			}))
			t.Cleanup(front.Close)
			dir := t.TempDir()
			ids := numbered(0, 40)
			leftOver(t, dir, "old", "", ids)
			j := mustJournal(t, dir, "", wide())
			defer func() { _ = j.Close() }()
			p, err := newPoster(front.URL)
			if err != nil {
				t.Fatal(err)
			}
			p.client.Timeout = time.Minute
			if slow {
				p.client.Transport = impatient(p.client.Transport)
			}
			s := &shipper{j: j, poster: p, closing: make(chan struct{}), block: shipBytes}
			j.ship = s
			defer func() { j.ship = nil }()
			if !slow {
				e := journalled("huge")
				e.Reason = strings.Repeat("x", 3000)
				j.Report(e)
			}
			s.leftOvers(t.Context())
			s.own(t.Context())
			o.once(t, ids)
			if want := int64(1); !slow && j.refused.Load() != want || slow && j.refused.Load() != 0 {
				t.Errorf("%d lines refused, want the huge one alone", j.refused.Load())
			}
			mu.Lock()
			defer mu.Unlock()
			t.Logf("posts of %v bytes", lengths)
		})
	}
}

// TestFirstLines: whatever the lines and the bound, the parts are whole lines, within the bound where more than one, and together
// all of them.
func TestFirstLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var body strings.Builder
		for i := range rapid.IntRange(1, 20).Draw(t, "lines") {
			fmt.Fprintln(&body, i, strings.Repeat("x", rapid.IntRange(0, 50).Draw(t, "length")))
		}
		most := rapid.IntRange(1, 200).Draw(t, "most")
		rest := body.String()
		for rest != "" {
			n := firstLines([]byte(rest), most)
			if n <= 0 || n > len(rest) || rest[n-1] != '\n' || n > most && strings.Count(rest[:n], "\n") > 1 {
				t.Fatalf("%d bytes of %q, bound %d", n, rest, most)
			}
			rest = rest[n:]
		}
	})
}
