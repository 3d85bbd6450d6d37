package graynacos

import (
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func list(addrs ...string) []graylib.Instance {
	out := make([]graylib.Instance, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, graylib.Instance{ID: a, Addr: a, Weight: 1})
	}
	return out
}

func addrs(list []graylib.Instance) []string {
	out := make([]string, 0, len(list))
	for _, in := range list {
		out = append(out, in.Addr)
	}
	return out
}

func wantAddrs(t *testing.T, what string, got []graylib.Instance, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, addrs(got)); diff != "" {
		t.Errorf("%s: in force (-want +got):\n%s", what, diff)
	}
}

func TestHoldback(t *testing.T) {
	none := map[string]struct{}{}
	h := holdback{window: 30 * time.Second}
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }

	wantAddrs(t, "first list", h.list(at(0), list("a", "b", "c")), "a", "b", "c")
	wantAddrs(t, "shrunk without a reconnect", h.list(at(1), list("a", "b")), "a", "b")
	wantAddrs(t, "grown", h.list(at(2), list("a", "b", "c", "d")), "a", "b", "c", "d")

	h.reconnected(at(10))
	wantAddrs(t, "empty after a reconnect", h.list(at(11), nil), "a", "b", "c", "d")
	wantAddrs(t, "one is back", h.list(at(12), list("a")), "a", "b", "c", "d")
	if !h.check(at(13), map[string]struct{}{"c": {}}) {
		t.Error("c refuses connections: nothing changed")
	}
	wantAddrs(t, "c refuses", h.inForce(), "a", "b", "d")
	wantAddrs(t, "a was listed since, and leaves", h.list(at(14), list("b")), "b", "d")
	if h.check(at(15), none) {
		t.Error("nothing refuses, within the window: something changed")
	}
	if !h.check(at(40), none) {
		t.Error("the window ended: d stays")
	}
	wantAddrs(t, "after the window", h.inForce(), "b")
	wantAddrs(t, "shrunk after the window", h.list(at(41), nil))
}

func TestHoldbackTakesTheListsForm(t *testing.T) {
	h := holdback{window: 30 * time.Second}
	h.list(t0, []graylib.Instance{{Addr: "a", Tag: "gray", Weight: 1}})
	h.reconnected(t0)
	h.list(t0, nil)
	got := h.list(t0.Add(time.Second), []graylib.Instance{{Addr: "a", Weight: 1}})
	if diff := cmp.Diff([]graylib.Instance{{Addr: "a", Weight: 1}}, got); diff != "" {
		t.Errorf("an address came back under another tag (-want +got):\n%s", diff)
	}
}

func TestHoldbackForgetsWithEachReconnect(t *testing.T) {
	h := holdback{window: 30 * time.Second}
	h.list(t0, list("a"))
	h.reconnected(t0)
	h.list(t0.Add(time.Second), list("a"))
	h.reconnected(t0.Add(2 * time.Second))
	wantAddrs(t, "listed after the first reconnect, not after the second", h.list(t0.Add(3*time.Second), nil), "a")
}

func TestHoldbackOff(t *testing.T) {
	var h holdback
	h.list(t0, list("a"))
	h.reconnected(t0)
	wantAddrs(t, "no window", h.list(t0, nil))
}

func TestRefusing(t *testing.T) {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	shut := graylibtest.ReserveAddr(t)
	got := refusing(t.Context(), list(open.Addr().String(), shut), 10*time.Second)
	if diff := cmp.Diff(map[string]struct{}{shut: {}}, got); diff != "" {
		t.Errorf("refusing (-want +got):\n%s", diff)
	}
}
