package graylib

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func drawHop(t *rapid.T) Hop {
	text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,20}`), rapid.String())
	tag := rapid.SampledFrom([]Tag{"", "gray", "v-2"})
	return Hop{
		Service: text.Draw(t, "service"), Tag: tag.Draw(t, "tag"), Instance: text.Draw(t, "instance"), Addr: text.Draw(t, "addr"),
		RequestTag: tag.Draw(t, "request tag"), Protocol: Protocol(text.Draw(t, "protocol")), Reason: Reason(text.Draw(t, "reason")),
	}
}

// headerSafe tells whether every carrier can bear s.
func headerSafe(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return len(s) <= maxReturnBytes
}

func TestHopsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hops := rapid.SliceOfN(rapid.Custom(drawHop), 0, 5).Draw(t, "hops")
		s := EncodeHops(hops)
		if !headerSafe(s) {
			t.Fatalf("not fit for a header: %q", s)
		}
		back, err := DecodeHops(s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(hops, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("hops (-sent +got):\n%s", diff)
		}
		if len(hops) == 0 {
			return
		}
		// encoding/json, which others read it with, sees the same.
		var others []Hop
		if err := json.Unmarshal([]byte(s), &others); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", s, err)
		}
		if diff := cmp.Diff(hops, others); diff != "" {
			t.Fatalf("hops by encoding/json (-sent +got):\n%s", diff)
		}
	})
}

func TestMessagesRoundTrip(t *testing.T) {
	text := rapid.String()
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Message {
			return Message{ID: text.Draw(t, "id"), Topic: text.Draw(t, "topic"), Tag: rapid.SampledFrom([]Tag{"", "gray"}).Draw(t, "tag")}
		}), 1, 5).Draw(t, "messages")
		s := EncodeMessages(messages)
		back, err := DecodeMessages(s)
		if err != nil || !headerSafe(s) {
			t.Fatalf("%q: %v", s, err)
		}
		if diff := cmp.Diff(messages, back); diff != "" {
			t.Fatalf("messages (-sent +got):\n%s", diff)
		}
		var others []Message
		if err := json.Unmarshal([]byte(s), &others); err != nil || !cmp.Equal(messages, others) {
			t.Fatalf("encoding/json reads %q as %v: %v", s, others, err)
		}
	})
}

func TestHopsLimits(t *testing.T) {
	many := make([]Hop, maxHops+10)
	for i := range many {
		many[i].Service = fmt.Sprint("s", i)
	}
	back, err := DecodeHops(EncodeHops(many))
	if err != nil || len(back) != maxHops || back[maxHops-1].Service != "s63" {
		t.Errorf("of %d hops %d come back, error %v; want the first %d", len(many), len(back), err, maxHops)
	}

	large := make([]Hop, 20)
	for i := range large {
		large[i].Instance = strings.Repeat("ä", 200) // 1200 bytes each
	}
	s := EncodeHops(large)
	back, err = DecodeHops(s)
	if err != nil || len(s) > maxReturnBytes || len(back) < 10 || len(back) > 13 {
		t.Errorf("%d bytes, %d hops, error %v; want as many hops as %d bytes hold", len(s), len(back), err, maxReturnBytes)
	}
	if s := EncodeHops([]Hop{{Service: strings.Repeat("a", maxReturnBytes)}}); s != "" {
		t.Errorf("a hop that is too large gives %d bytes", len(s))
	}
	// Around the limit to the byte.
	empty := len(EncodeHops([]Hop{{}}))
	for _, n := range []int{-1, 0, 1} {
		s := EncodeHops([]Hop{{Service: strings.Repeat("a", maxReturnBytes-empty+n)}})
		if (len(s) > 0) != (n <= 0) {
			t.Errorf("a list of the limit%+d bytes is encoded as %d", n, len(s))
		}
	}
	if s := EncodeHops(nil); s != "" {
		t.Errorf("no hops are %q", s)
	}
	if s := EncodeHops([]Hop{{Service: "a\xffb"}}); !utf8.ValidString(s) || !strings.Contains(s, `a\ufffdb`) {
		t.Errorf("what isn't UTF-8 is encoded as %q", s)
	}
}

func TestDecodeHopsRefuses(t *testing.T) {
	good := EncodeHops([]Hop{{Service: "a", Tag: "gray"}})
	for name, s := range map[string]string{
		"no JSON": "hops", "object": "{}", "unfinished": good[:len(good)-1], "trailing": good + "x", "number": `[{"service":1}]`,
		"long": "[" + strings.Repeat(" ", maxReturnBytes) + "]", "deep": strings.Repeat("[", 10000),
		"comma": good[:len(good)-1] + ",]",
	} {
		if hops, err := DecodeHops(s); err == nil {
			t.Errorf("%s: %v without an error", name, hops)
		} else if len(err.Error()) > 500 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	for _, s := range []string{
		strings.Replace(good, "gray", "Gray", 1),
		strings.Replace(good, `"requestTag":""`, `"requestTag":"baseline"`, 1),
	} {
		if _, err := DecodeHops(s); !errors.Is(err, ErrMalformedTag) {
			t.Errorf("%s: %v, want ErrMalformedTag", s, err)
		}
	}
}

// decodeAgrees compares the reading by hand with encoding/json: it may leave a list to it, but never read another one.
func decodeAgrees[T any](t *testing.T, s string, readOne func(*listReader, *T) bool, encode func([]T) string, decode func(string) ([]T, error)) {
	if fast, ok := readList(s, readOne); ok {
		var want []T
		if err := json.Unmarshal([]byte(s), &want); err != nil {
			t.Fatalf("read by hand: %q; encoding/json: %v", s, err)
		}
		if diff := cmp.Diff(want, fast); diff != "" {
			t.Fatalf("%q (-encoding/json +by hand):\n%s", s, diff)
		}
	}
	list, err := decode(s)
	if err != nil {
		return
	}
	again := encode(list)
	if !headerSafe(again) {
		t.Fatalf("%q goes on as %q", s, again)
	}
	back, err := decode(again)
	if err != nil {
		t.Fatalf("%q goes on as %q: %v", s, again, err)
	}
	if diff := cmp.Diff(list[:len(back)], back, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%q goes on as %q (-got +read again):\n%s", s, again, diff)
	}
}

func FuzzDecodeHops(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) { decodeAgrees(t, s, readHop, EncodeHops, DecodeHops) })
}

func FuzzDecodeMessages(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) { decodeAgrees(t, s, readMessage, EncodeMessages, DecodeMessages) })
}
