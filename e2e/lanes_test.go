package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/suite"
	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

// G1, G2, G3 and G4 over every protocol of the chain, for lanes of every shape.
func TestLanes(t *testing.T) {
	s := chain(t)
	for _, services := range [][]string{nil, {"a", "c"}, {"a"}, {"c"}, {"a", "b", "c"}} {
		name := strings.Join(services, ",")
		if name == "" {
			name = "none"
		}
		t.Run(name, func(t *testing.T) {
			demo := withLane(t, s, gray, services...)
			for _, path := range []string{"/A/dubbo", "/A/rpc"} {
				a, _ := closes(t, s, request(t, path), graylib.Untagged)
				if want := text(a.Hops); a.Text != want || a.Tag != graylib.Untagged {
					t.Errorf("%s answers %q with tag %s, its hops are %q", path, a.Text, a.Tag, want)
				}
			}
			a, j := closes(t, s, request(t, "/A/dubbo?name="+demo.Name), gray)
			if want := text(a.Hops); a.Text != want || a.Tag != gray {
				t.Errorf("answer %q with tag %s, its hops are %q", a.Text, a.Tag, want)
			}
			if got := plain(t, s, "/A/dubbo?name="+demo.Name); !expectedText(services).MatchString(got) {
				t.Errorf("text answer %q, want %s", got, expectedText(services))
			}
			logLine(t, s, j)
			// The rules pick /dubbo alone: everything else is untagged, and sends nothing.
			for _, path := range []string{"/A/stream", "/A/a", "/B/b", "/C/c", "/A/stream?name=" + demo.Name} {
				closes(t, s, request(t, path), graylib.Untagged)
			}
		})
	}
}

// Streams and plain HTTP carry the tag like RPC does.
func TestEveryProtocolCarriesTheTag(t *testing.T) {
	s := chain(t)
	withLane(t, s, gray, "a", "c")
	publishEntries(t, s, "/stream", "/a")
	for _, path := range []string{"/A/stream?name=carry", "/A/a?name=carry"} {
		closes(t, s, request(t, path), gray)
	}
}

// 200 requests of each kind, 20 at once: no hop in a wrong place, every message consumed by whom it should be, once.
func TestManyAtOnce(t *testing.T) {
	s := chain(t)
	demo := withLane(t, s, gray, "a", "c")
	const each, atOnce = 200, 20
	world, err := s.World(t.Context()) // once: Nacos's client allows five reads a second
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	hops, messages := 0, 0
	var work sync.WaitGroup
	jobs := make(chan int)
	for range atOnce {
		work.Go(func() {
			for i := range jobs {
				r, tag := request(t, "/A/dubbo"), graylib.Untagged
				if i%2 == 1 {
					r, tag = request(t, "/A/dubbo?name="+demo.Name), gray
				}
				a, err := s.Send(t.Context(), r)
				if err != nil {
					t.Errorf("%s: %v", r, err)
					continue
				}
				loop, v, err := s.JudgeBy(t.Context(), a.RequestID, world, patience,
					func(observer.Loop) verdict.Want { return verdict.ForPath(r.Path, tag) })
				if err != nil || !v.Closed {
					t.Errorf("%s: %v %s\nanswer: %d %s %s", r, err, v, a.Status, a.Text, a.Error)
				}
				mu.Lock()
				if loop.Chain != nil {
					hops += len(loop.Chain.Hops)
				}
				for _, m := range loop.Messages {
					messages++
					for _, e := range m.Finished {
						hops += len(e.Hops)
					}
				}
				mu.Unlock()
			}
		})
	}
	for i := range 2 * each {
		jobs <- i
	}
	close(jobs)
	work.Wait()
	if messages != 2*each {
		t.Errorf("%d requests caused %d messages", 2*each, messages)
	}
	t.Logf("%d requests, %d at once: %d hops and %d messages judged", 2*each, atOnce, hops, messages)
}

// expectedText is the answer of /A/dubbo for a gray request, as DESIGN.md writes it.
func expectedText(services []string) *regexp.Regexp {
	var parts []string
	for _, service := range []string{"a", "b", "c"} {
		tag := ""
		for _, s := range services {
			if s == service {
				tag = string(gray)
			}
		}
		parts = append(parts, strings.ToUpper(service)+tag+`\[127\.0\.0\.1:\d+\]`)
	}
	return regexp.MustCompile("^" + strings.Join(parts, " -> ") + `\n?$`)
}

// plain fetches a path as a person with curl would.
func plain(t *testing.T, s *suite.Suite, target string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.GatewayURL()+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// logLine looks for the promised line of every consumption in its consumer's log, and for C's line about the send.
func logLine(t *testing.T, s *suite.Suite, j suite.Judged) {
	t.Helper()
	for _, m := range j.Loop.Messages {
		hops := j.Loop.Chain.Hops
		c := hops[len(hops)-1]
		for _, e := range m.Handled() {
			want := fmt.Sprintf("topic:%s,producer:%s,invoke result:%s", m.Topic, text([]graylib.Hop{c}), text(e.Hops))
			inLog(t, s, e.Instance, `"msg":`+quoted(want))
		}
		inLog(t, s, c.Instance, `"id":"`+m.ID+`"`, `"topic":"`+m.Topic+`"`, `"messageTag":"`+string(m.Tag)+`"`, quoted(text([]graylib.Hop{c})))
	}
}

// publishEntries adds an entry for a further path of a to the lane.
func publishEntries(t *testing.T, s *suite.Suite, paths ...string) {
	t.Helper()
	_, err := s.Publish(t.Context(), func(current []byte) ([]byte, error) {
		before, lane, found := strings.Cut(string(current), "tag: "+string(gray))
		head, after, entries := strings.Cut(lane, "entries: [")
		if !found || !entries {
			return nil, fmt.Errorf("no entries of lane %s in\n%s", gray, current)
		}
		before += "tag: " + string(gray) + head
		var added strings.Builder
		for _, p := range paths {
			if name := "carry" + strings.ReplaceAll(p, "/", "-"); !strings.Contains(after, name) {
				fmt.Fprintf(&added, "{name: %s, service: a, path: %s, when: [{from: query, key: name, op: \"==\", value: carry}]}, ", name, p)
			}
		}
		return []byte(before + "entries: [" + added.String() + after), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
