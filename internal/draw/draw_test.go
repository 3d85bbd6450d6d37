package draw

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/muesli/termenv"

	"github.com/graychain/graychain/internal/observer"
	"github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
)

var update = flag.Bool("update", false, "write the golden files")

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func world(mode graylib.Mode, live ...string) verdict.World {
	lane := verdict.Lane{Listed: true, Mode: mode, Live: map[string]bool{}}
	for _, s := range live {
		lane.Live[s] = true
	}
	return verdict.World{
		Lanes:    map[graylib.Tag]verdict.Lane{"gray": lane},
		Consumer: verdict.Consumer{Service: "a", Group: "test-a"},
	}
}

var ports = map[string]string{"a": "1", "b": "2", "c": "3"}

func hop(w verdict.World, service string, tag graylib.Tag, protocol graylib.Protocol) graylib.Hop {
	own := w.Instance(service, tag)
	h := graylib.Hop{Service: service, Tag: own, RequestTag: tag, Protocol: protocol, Reason: graylib.ReasonBaseline, Addr: "127.0.0.1:2000" + ports[service]}
	switch {
	case tag != "" && own == tag:
		h.Reason, h.Addr = graylib.ReasonLane, "127.0.0.1:2010"+ports[service]
	case tag != "":
		h.Reason = graylib.ReasonNoInstance
	}
	return h
}

func picture(w verdict.World, request string, tag graylib.Tag) Picture {
	const id = "7F000001ABCD18B4AAC29C3D5E6F0001"
	m := observer.Message{ID: id, Topic: "TEST_MQ", Tag: tag}
	m.Produced = []graylib.Event{{ID: id, MessageTag: tag, Topic: "TEST_MQ", Queue: "broker-a/3", Time: start}}
	for i, c := range w.Consumptions(tag) {
		first := hop(w, "a", tag, graylib.ProtocolMQ)
		if first.Tag != c.Tag {
			first.Tag, first.Reason, first.Addr = c.Tag, graylib.ReasonNoInstance, "127.0.0.1:20001"
		}
		group := c.Group
		if group == "" {
			group = "test-a__tagged"
		}
		m.Finished = append(m.Finished, graylib.Event{
			EventID: "f" + string(rune('0'+i)), Service: "a", Tag: c.Tag, Group: group, MessageTag: tag,
			Result: graylib.ResultSuccess, Time: start.Add(31 * time.Millisecond),
			Hops: []graylib.Hop{first, hop(w, "b", tag, graylib.ProtocolHTTP), hop(w, "c", tag, graylib.ProtocolHTTP)},
		})
	}
	chain := graylib.Event{Status: 200, Hops: []graylib.Hop{
		{Service: "gateway", Addr: "127.0.0.1:20000", Protocol: graylib.ProtocolHTTP},
		hop(w, "a", tag, graylib.ProtocolHTTP), hop(w, "b", tag, graylib.ProtocolRPC), hop(w, "c", tag, graylib.ProtocolRPC),
	}}
	return Picture{
		Request: request, Tag: tag, Took: 12 * time.Millisecond,
		Loop: observer.Loop{RequestID: "5f1c0a3b9d8e7f60", Chain: &chain, Messages: []observer.Message{m}},
	}
}

func judged(p Picture, w verdict.World, path string) Picture {
	p.Verdict = verdict.Judge(p.Loop, verdict.ForPath(path, p.Tag), w, 10*time.Second)
	return p
}

func pictures() map[string]Picture {
	const path, xiaoming = "/A/dubbo", "GET /A/dubbo?name=xiaoming"
	ignore, all := world(graylib.ModeIgnore, "a", "c"), world(graylib.ModeAll, "a", "c")
	onlyB := world(graylib.ModeAll, "b")
	out := map[string]Picture{
		"baseline":    judged(picture(ignore, "GET /A/dubbo", ""), ignore, path),
		"gray-ignore": judged(picture(ignore, xiaoming, "gray"), ignore, path),
		"gray-all":    judged(picture(all, xiaoming, "gray"), all, path),
		"gray-b":      judged(picture(onlyB, xiaoming, "gray"), onlyB, path),
	}
	skipped := picture(ignore, xiaoming, "gray")
	skipped.Loop.Messages[0].Finished = append(skipped.Loop.Messages[0].Finished, graylib.Event{
		EventID: "s", Service: "a", Group: "test-a__tagged", Result: "skipped", Reason: "mode ignore",
	})
	out["gray-skipped"] = judged(skipped, ignore, path)

	wrong := picture(ignore, xiaoming, "gray")
	wrong.Loop.Chain.Hops[1] = hop(ignore, "a", "", graylib.ProtocolHTTP)
	wrong.Loop.Chain.Hops[1].RequestTag = "gray"
	wrong.Loop.Messages[0].Finished = nil
	out["wrong"] = judged(wrong, ignore, path)

	nothing := picture(ignore, xiaoming, "gray")
	nothing.Loop = observer.Loop{RequestID: "5f1c0a3b9d8e7f60"}
	out["nothing"] = judged(nothing, ignore, path)

	dead := world(graylib.ModeIgnore, "c")
	out["waits"] = judged(picture(dead, xiaoming, "gray"), dead, path)

	long := picture(ignore, "GET /A/dubbo?name=xiaoming&"+strings.Repeat("x=y&", 40), "gray")
	long.Tag = "a-lane-with-a-name-of-32-letters"
	for i := range long.Loop.Chain.Hops {
		h := &long.Loop.Chain.Hops[i]
		h.RequestTag, h.Addr = long.Tag, "192.168.100.100:20001"
		if h.Tag != "" {
			h.Tag = long.Tag
		}
	}
	long.Loop.Chain.Hops = append(long.Loop.Chain.Hops, long.Loop.Chain.Hops...)
	out["long"] = judged(long, ignore, path)
	return out
}

func TestGolden(t *testing.T) {
	for name, pic := range pictures() {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Loop(&b, &Painter{}, pic); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
				t.Errorf("drawing (-want +got), go test -update writes it anew:\n%s", diff)
			}
			for i, line := range strings.Split(b.String(), "\n") {
				if n := utf8.RuneCountInString(line); n > Width {
					t.Errorf("line %d is %d columns wide, at most %d are: %s", i+1, n, Width, line)
				}
			}
		})
	}
}

// TestColourIsOnlyAddition: without the escape sequences a coloured drawing is the plain one.
func TestColourIsOnlyAddition(t *testing.T) {
	for name, pic := range pictures() {
		var plain, coloured bytes.Buffer
		if err := Loop(&plain, nil, pic); err != nil {
			t.Fatal(err)
		}
		if err := Loop(&coloured, newPainter(&coloured, termenv.ANSI256), pic); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(coloured.String(), "\x1b[") {
			t.Errorf("%s: no colour", name)
		}
		if diff := cmp.Diff(plain.String(), escapes(coloured.String())); diff != "" {
			t.Errorf("%s (-plain +coloured):\n%s", name, diff)
		}
	}
}

// escapes takes the SGR sequences off s.
func escapes(s string) string {
	var sb strings.Builder
	for {
		before, after, found := strings.Cut(s, "\x1b[")
		sb.WriteString(before)
		if !found {
			return sb.String()
		}
		_, s, _ = strings.Cut(after, "m")
	}
}

func TestNoColourOffATerminal(t *testing.T) {
	var b bytes.Buffer
	if p := NewPainter(&b); p.Good("x") != "x" {
		t.Errorf("a buffer gets colours: %q", p.Good("x"))
	}
}

func TestWrapAndClip(t *testing.T) {
	got := wrap("one two three four "+strings.Repeat("z", 30), 10)
	want := []string{"one two", "three four", "zzzzzzzzz…"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wrap (-want +got):\n%s", diff)
	}
	for n, want := range map[int]string{0: "", 1: "…", 3: "ab…", 4: "abcd", 9: "abcd"} {
		if got := clip("abcd", n); got != want {
			t.Errorf("clip(abcd, %d) = %q, want %q", n, got, want)
		}
	}
}
