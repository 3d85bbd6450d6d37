package graylib_test

import (
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

func newRuntime(t testing.TB, id graylib.Identity, opts ...graylib.Option) *graylib.Runtime {
	t.Helper()
	rt, err := graylib.New(id, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// testRules are rules that a test writes down: by callee the decision, and the lanes.
type testRules struct {
	graylib.Rules
	colour map[string]graylib.Decision
	lanes  []graylib.Lane
}

func (r testRules) Colour(callee string, _ graylib.Request) (graylib.Decision, bool) {
	d, ok := r.colour[callee]
	return d, ok
}

func (r testRules) Lane(tag graylib.Tag) (graylib.Lane, bool) {
	for _, l := range r.lanes {
		if l.Tag == tag {
			return l, true
		}
	}
	return graylib.Lane{}, false
}

func (r testRules) option() graylib.Option {
	if r.Rules == nil {
		r.Rules = graylib.NoRules
	}
	return graylib.WithRules(graylib.StaticRules(r))
}

// noRequest is a request that shows nothing.
type noRequest struct{}

func (noRequest) Value(graylib.From, string, int) (string, bool) { return "", false }
func (noRequest) Body() []byte                                   { return nil }

// eventually polls until ok, or fails after ten seconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
