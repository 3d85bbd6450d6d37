package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/handoffbench"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
)

// TestMessagesAreMeasured measures little on a real broker: all parts but the handoffs, which have a test of their own.
func TestMessagesAreMeasured(t *testing.T) {
	b, err := newMessageBench(t.Context(), testenv.Namesrv(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.api.Close() }()
	e := messageEffort{rounds: 1, span: 50 * time.Millisecond, backlog: 400}
	sending, err := b.sending(t.Context(), 64, e)
	if err != nil {
		t.Fatal(err)
	}
	taking, err := b.taking(t.Context(), 64, time.Millisecond, true, e)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range []sized{sending, taking} {
		if want := 3 + 2*i; len(s.by) != want { // two of those that take are there for comparison
			t.Fatalf("%d contestants, want %d: %+v", len(s.by), want, s)
		}
		for _, c := range s.by {
			if len(c.slices) != 1 || c.slices[0].perSecond <= 0 || c.slices[0].cpu <= 0 {
				t.Errorf("%s: %+v, want one slice with figures", c.name, c.slices)
			}
		}
	}
	shares, err := b.pulledShares(t.Context(), e.backlog)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shares {
		// Of the topic every fourth message is the lane's; the others are a little smaller, for they bear no tag.
		low, high := 1.0, 1.0005
		if s.filter == graylib.FilterClient {
			low, high = 1, 1+float64(s.others)
		}
		if r := s.ratio(); s.handled == 0 || r < low || r > high {
			t.Errorf("filter %s: pulled %d for %d of its own, %.3f, want %.2f to %.2f", s.filter, s.pulled, s.handled, r, low, high)
		}
	}
}

func TestMessagesPage(t *testing.T) {
	load := func(name string, perSecond float64) chainResult {
		r := chainResult{name: name, goal: strings.HasPrefix(name, "gray") || name == "lane"}
		for range 5 {
			r.slices = append(r.slices, throughput{perSecond, 1e9 / perSecond})
		}
		return r
	}
	f := messageFigures{
		effort:  quickMessages,
		sending: []sized{{size: 128, by: []chainResult{load("bare", 1000), load("gray", 980), load("gray tagged", 900)}}},
		taking:  []sized{{size: 128, work: time.Millisecond, by: []chainResult{load("bare", 1000), load("gray", 1000), load("lane", 960), load("floor", 900)}}},
		pulled:  []pulledShare{{graylib.FilterServer, 1000, 1000, 3}, {graylib.FilterClient, 4000, 1000, 3}},
		handoffs: handoffbench.Result{Config: handoffbench.Defaults(), Lost: 1, Handoffs: []handoffbench.Handoff{
			{Kind: handoffbench.Stop, First: 10 * time.Millisecond}, {Kind: handoffbench.Crash, First: 51 * time.Millisecond},
			{Kind: handoffbench.Return, First: 10 * time.Millisecond},
		}},
	}
	var words []string
	for _, g := range f.goals() {
		words = append(words, g.word())
	}
	if got, want := strings.Join(words, " "), "met MISSED met MISSED met met MISSED met MISSED"; got != want {
		t.Errorf("goals %q, want %q:\n%v", got, want, f.goals())
	}
	once := withMessages([]byte("# Page\n\ntext\n"), f)
	if again := withMessages(once, f); !bytes.Equal(once, again) {
		t.Errorf("the part is there twice:\n%s", again)
	}
	for _, want := range []string{"# Page\n\ntext\n\n## Messages\n", "| 128 bytes, handlers of 1ms | lane |", "| `client` | 4000 | 1000 | 4.000 |", "| kill -9 | 1 | 51.0 ms |"} {
		if !strings.Contains(string(once), want) {
			t.Errorf("%q is not in\n%s", want, once)
		}
	}
}
