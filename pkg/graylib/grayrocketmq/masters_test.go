package grayrocketmq

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// TestMasterThatMoves: an address that failed is asked for again; while nothing better is known it is tried on.
func TestMasterThatMoves(t *testing.T) {
	away, bad := errors.New("name server is away"), errors.New("no answer")
	routes, failing, asked := map[string]string{"b": "h:1"}, error(nil), 0
	b := &masters{route: func(_ context.Context, topic string) (remoting.Route, error) {
		asked++
		if topic != "T" {
			t.Errorf("asked for topic %q, want T", topic)
		}
		return remoting.Route{Brokers: routes}, failing
	}}
	ask := func(answer error) string {
		t.Helper()
		var got string
		if err := b.ask(t.Context(), "b", "T", func(addr string) error { got = addr; return answer }); !errors.Is(err, answer) {
			t.Errorf("gave %v, want %v", err, answer)
		}
		return got
	}
	expect := func(what, got, want string, times int) {
		t.Helper()
		if got != want || asked != times {
			t.Errorf("%s: %s after %d routes, want %s after %d", what, got, asked, want, times)
		}
	}
	expect("first", ask(nil), "h:1", 1)
	expect("known", ask(nil), "h:1", 1)
	routes = map[string]string{"b": "h:2"}
	expect("it fails", ask(bad), "h:1", 1)
	failing, routes = away, nil
	expect("without a name server", ask(bad), "h:1", 2)
	failing = nil
	expect("without a master", ask(bad), "h:1", 3)
	routes = map[string]string{"b": "h:2"}
	expect("moved", ask(nil), "h:2", 4)
	expect("and known", ask(nil), "h:2", 4)
	b.set(map[string]string{"b": "h:3", "c": "h:0"})
	expect("joined anew", ask(nil), "h:3", 4)
	if diff := cmp.Diff([]string{"h:0", "h:3"}, b.addresses()); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if err := b.ask(t.Context(), "d", "T", func(string) error { t.Error("asked nobody"); return nil }); !errors.Is(err, errNoMaster) {
		t.Errorf("a broker without a master: %v, want errNoMaster", err)
	}
	failing = away
	if err := b.ask(t.Context(), "d", "T", func(string) error { t.Error("asked nobody"); return nil }); !errors.Is(err, away) {
		t.Errorf("without a name server: %v", err)
	}
}
