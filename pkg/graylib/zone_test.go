package graylib_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

func inZones(tag graylib.Tag, prefix string, zones ...string) []graylib.Instance {
	var out []graylib.Instance
	for i, z := range zones {
		out = append(out, graylib.Instance{Addr: prefix + string(rune('1'+i)), Tag: tag, Zone: z})
	}
	return out
}

func TestZonePreference(t *testing.T) {
	for name, tc := range map[string]struct {
		own       string
		instances []graylib.Instance
		tag       graylib.Tag
		reason    graylib.Reason
		want      []string // where first tries go
	}{
		"no zone":                    {"", inZones("", "b", "x", "y"), "", graylib.ReasonBaseline, []string{"b1", "b2"}},
		"own zone":                   {"x", inZones("", "b", "x", "y", "x", "y"), "", graylib.ReasonBaseline, []string{"b1", "b3"}},
		"nobody there":               {"z", inZones("", "b", "x", "y"), "", graylib.ReasonBaseline, []string{"b1", "b2"}},
		"too few":                    {"x", inZones("", "b", "x", "y", "y", "y", "y"), "", graylib.ReasonBaseline, []string{"b1", "b2", "b3", "b4", "b5"}},
		"just enough":                {"x", inZones("", "b", "x", "y", "y", "y"), "", graylib.ReasonBaseline, []string{"b1"}},
		"unknown zones":              {"x", inZones("", "b", "x", "", ""), "", graylib.ReasonBaseline, []string{"b1"}},
		"the lane comes first":       {"x", append(inZones("", "b", "x", "x"), inZones("gray", "g", "y")...), "gray", graylib.ReasonLane, []string{"g1"}},
		"within the lane":            {"x", append(inZones("", "b", "x"), inZones("gray", "g", "y", "x")...), "gray", graylib.ReasonLane, []string{"g2"}},
		"the baseline of a fallback": {"x", inZones("", "b", "y", "x"), "gray", graylib.ReasonNoInstance, []string{"b2"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := inZone(t, tc.own, tc.instances...)
			b.wantGoes(tc.tag, tc.reason, tc.want...)
		})
	}
}

func inZone(t *testing.T, own string, instances ...graylib.Instance) *ejecting {
	b := newEjecting(t, graylib.Ejection{}, instances...)
	b.table = graylib.NewTable("b")
	b.rt = newRuntime(t, baselineSelf, graylib.WithZone(own), graylib.WithRegistry(oneTable{table: b.table}),
		graylib.WithLogger(slog.New(slog.DiscardHandler)))
	if _, err := b.rt.Table(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	b.store(instances...)
	b.table.SetProbe(func(context.Context, string) error { return graylib.ErrNoSign })
	return b
}

// Within a call, other zones come before the baseline; each instance once.
func TestOtherZonesAreTriedWithinTheCall(t *testing.T) {
	b := inZone(t, "x", append(inZones("", "b", "y", "x"), inZones("gray", "g", "y", "x")...)...)
	_, call := b.rt.Depart(graylib.WithTag(t.Context(), "gray"), "b", nil)
	var got []string
	for {
		in, _, err := call.Next(b.table)
		if err != nil {
			break
		}
		got = append(got, in.Addr)
	}
	if diff := cmp.Diff([]string{"g2", "g1", "b2", "b1"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A zone whose instances are ejected below half of its share is no longer preferred.
func TestZoneOfEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inZone(t, "x", inZones("", "b", "x", "x", "x", "y", "y", "y", "y", "y")...)
		b.wantGoes("", graylib.ReasonBaseline, "b1", "b2", "b3")
		b.timeOut("", "b1", 5)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b2", "b3")
		b.timeOut("", "b2", 5)
		synctest.Wait()
		b.wantGoes("", graylib.ReasonBaseline, "b3", "b4", "b5", "b6", "b7", "b8")
		b.close()
	})
}

type registering struct {
	graylib.Registry
	got chan graylib.Registration
}

func (r registering) Register(_ context.Context, reg graylib.Registration) error {
	r.got <- reg
	return nil
}

func TestZoneIsRegistered(t *testing.T) {
	for name, opt := range map[string]graylib.Option{
		"option": graylib.WithZone("x"), "environment": graylib.WithConfig(graylib.Config{Zone: "x"}),
	} {
		reg := registering{got: make(chan graylib.Registration, 1)}
		rt := newRuntime(t, baselineSelf, graylib.WithRegistry(reg), opt)
		own := map[string]string{"k": "v"}
		rt.Announce(graylib.Registration{Service: "a", Addr: "h:1", Metadata: own})
		if diff := cmp.Diff(map[string]string{"k": "v", "gray_zone": "x"}, (<-reg.got).Metadata); diff != "" {
			t.Errorf("%s: metadata (-want +got):\n%s", name, diff)
		}
		if len(own) != 1 {
			t.Error("the caller's metadata were changed")
		}
	}
}
