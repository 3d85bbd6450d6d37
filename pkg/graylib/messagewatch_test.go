package graylib_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestWatchMessages(t *testing.T) {
	var outer, inner []string
	ctx := graylib.WatchMessages(t.Context(), func(m graylib.Message) { outer = append(outer, m.ID) })
	graylib.RecordMessage(ctx, graylib.Message{ID: "m1"}) // outside of an arrival
	rt := newRuntime(t, baselineSelf)
	arrived, _ := rt.Arrive(ctx, graylib.ProtocolHTTP, graylib.HTTPKeys, graylib.MapCarrier{})
	graylib.RecordMessage(graylib.WatchMessages(arrived, func(m graylib.Message) { inner = append(inner, m.ID) }), graylib.Message{ID: "m2"})
	graylib.RecordMessage(t.Context(), graylib.Message{ID: "m3"})
	if diff := cmp.Diff([][]string{{"m1", "m2"}, {"m2"}}, [][]string{outer, inner}); diff != "" {
		t.Errorf("told to the outer and the inner watch (-want +got):\n%s", diff)
	}
	if _, messages := graylib.Chain(arrived); len(messages) != 1 || messages[0].ID != "m2" {
		t.Errorf("the chain's messages %v", messages)
	}
}
