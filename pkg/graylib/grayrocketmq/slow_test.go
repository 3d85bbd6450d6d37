package grayrocketmq

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// TestSlowHandlersAreCountedOnce: whoever runs longer than the limit, in whichever order handlers end, and nobody else.
func TestSlowHandlersAreCountedOnce(t *testing.T) {
	rt := unitRuntime(t, graylib.Untagged, &graylibtest.Rules{})
	const limit = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		tally := &groupTally{}
		m := &worker{c: &Consumer{rt: rt}, tally: tally}
		s := &slowWatch{limit: limit}
		begin := func() *watched {
			return s.begin(context.Background(), m, []delivery{{msg: &primitive.MessageExt{MsgId: "id"}}})
		}
		check := func(want int64) {
			t.Helper()
			synctest.Wait()
			if got := tally.slow.Load(); got != want {
				t.Errorf("%d handlers count as slow, want %d", got, want)
			}
		}
		first := begin()
		time.Sleep(limit / 2)
		second, third := begin(), begin()
		s.end(second)
		time.Sleep(limit / 2)
		check(1)
		fourth := begin()
		s.end(first)
		time.Sleep(limit / 2)
		check(2)
		s.end(third)
		s.end(fourth)
		time.Sleep(2 * limit)
		check(2)
		s.end(begin()) // after all had ended
		fifth := begin()
		time.Sleep(limit)
		check(3)
		s.end(fifth)
		if s.first != nil || s.last != nil {
			t.Error("a handler that has ended is watched still")
		}
	})
}
