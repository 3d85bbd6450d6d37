package graylib_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestConsumptionMode(t *testing.T) {
	all, ignore, auto := graylib.ModeAll, graylib.ModeIgnore, graylib.ModeAuto
	tests := []struct {
		name       string
		c          graylib.Consumption
		gray, blue graylib.Mode
	}{
		{"all", graylib.Consumption{Baseline: all, Default: all}, all, all},
		{"auto", graylib.Consumption{Baseline: auto, Default: all}, auto, auto},
		{"ignore gray", graylib.Consumption{Baseline: ignore, Ignore: []graylib.Tag{"gray"}, Default: all}, ignore, all},
		{"ignore gray, else auto", graylib.Consumption{Baseline: ignore, Ignore: []graylib.Tag{"red", "gray"}, Default: auto}, ignore, auto},
		{"ignore nobody", graylib.Consumption{Baseline: ignore, Default: auto}, auto, auto},
		{"a list without ignore", graylib.Consumption{Baseline: all, Ignore: []graylib.Tag{"gray"}, Default: auto}, all, all},
	}
	for _, tt := range tests {
		if gray, blue := tt.c.Mode("gray"), tt.c.Mode("blue"); gray != tt.gray || blue != tt.blue {
			t.Errorf("%s: gray %s, blue %s; want %s, %s", tt.name, gray, blue, tt.gray, tt.blue)
		}
	}
}

func TestNoRules(t *testing.T) {
	r := graylib.NoRules
	if _, ok := r.Colour("a", noRequest{}); ok {
		t.Error("colours")
	}
	if _, ok := r.Mark("c", "t", noRequest{}); ok {
		t.Error("marks")
	}
	if _, ok := r.Lane("gray"); ok || len(r.Lanes()) > 0 || r.Revision() != 0 {
		t.Error("lists a lane")
	}
	if got := r.Consumption("a", "g", "t").Mode("gray"); got != graylib.ModeAuto {
		t.Errorf("mode %s without an entry, want auto", got)
	}
	source := graylib.StaticRules(r)
	source.Watch(func(graylib.Rules) { t.Error("static rules changed") })()
	if diff := cmp.Diff(graylib.RulesStatus{Origin: "static"}, source.Status()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if err := source.Close(); err != nil {
		t.Error(err)
	}
}

func TestSetReady(t *testing.T) {
	rt := newRuntime(t, graySelf)
	if s := rt.Status(); !s.Ready || s.Service != "a" || s.Tag != "gray" || s.Instance != "a-gray-1" || s.Addr != "h:1" || s.Started.IsZero() {
		t.Errorf("status %+v", s)
	}
	rt.SetReady("registration a", "not registered yet")
	rt.SetReady("consumer test-a", "no broker")
	rt.SetReady("other", "")
	want := []string{"consumer test-a: no broker", "registration a: not registered yet"}
	if s := rt.Status(); s.Ready || cmp.Diff(want, s.NotReady) != "" {
		t.Errorf("ready %v, because %v", s.Ready, s.NotReady)
	}
	rt.SetReady("registration a", "")
	rt.SetReady("consumer test-a", "")
	if s := rt.Status(); !s.Ready || len(s.NotReady) > 0 {
		t.Errorf("ready %v, because %v", s.Ready, s.NotReady)
	}
}
