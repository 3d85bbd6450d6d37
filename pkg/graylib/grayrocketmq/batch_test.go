package grayrocketmq

import (
	"fmt"
	"slices"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/graychain/graychain/pkg/graylib"
)

func one(id string, sub *subscription, tag string, v verdict) delivery {
	d := delivery{msg: &primitive.MessageExt{MsgId: id}, sub: sub, v: v}
	if tag != "" {
		d.msg.WithProperty(graylib.MessageKeys.Tag, tag)
	}
	return d
}

func TestSplit(t *testing.T) {
	s, other := &subscription{topic: "s"}, &subscription{topic: "other"}
	take, skip := verdict{handle: true}, verdict{}
	list := []delivery{
		one("1", s, "", take), one("2", s, "gray", take), one("3", s, "", take), one("4", s, "", skip), one("5", other, "", take), one("6", s, "gray", take),
	}
	for _, tc := range []struct {
		ordered bool
		want    [][]string
	}{
		{false, [][]string{{"1", "3"}, {"2", "6"}, {"4"}, {"5"}}},
		{true, [][]string{{"1"}, {"2"}, {"3"}, {"4"}, {"5"}, {"6"}}},
	} {
		var got [][]string
		for _, b := range split(list, tc.ordered) {
			got = append(got, ids(b))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("ordered %v (-want +got):\n%s", tc.ordered, diff)
		}
	}
}

// TestSplitKeepsAll: each message is in one batch, with its like alone, and in the order in which it came.
func TestSplitKeepsAll(t *testing.T) {
	subs := []*subscription{{topic: "s"}, {topic: "t"}}
	rapid.Check(t, func(t *rapid.T) {
		ordered := rapid.Bool().Draw(t, "ordered")
		var list []delivery
		for i := range rapid.IntRange(1, 20).Draw(t, "n") {
			list = append(list, one(fmt.Sprint(i), rapid.SampledFrom(subs).Draw(t, "sub"),
				rapid.SampledFrom([]string{"", "gray", "blue"}).Draw(t, "tag"), verdict{handle: rapid.Bool().Draw(t, "handle")}))
		}
		var flat []delivery
		for _, b := range split(list, ordered) {
			for i, d := range b {
				if !d.alike(b[0]) {
					t.Fatalf("%v has messages that are not alike", ids(b))
				}
				if i > 0 && slices.Index(list, b[i-1]) >= slices.Index(list, d) {
					t.Fatalf("%v is out of order", ids(b))
				}
			}
			flat = append(flat, b...)
		}
		if !ordered {
			slices.SortFunc(flat, func(a, b delivery) int { return slices.Index(list, a) - slices.Index(list, b) })
		}
		if !slices.Equal(flat, list) {
			t.Fatalf("%v became %v", ids(list), ids(flat))
		}
	})
}
