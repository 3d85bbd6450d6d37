package grayrocketmq

import (
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// TestOffsetsAreReset: an operator sets offsets back while members run; what lies behind is handled again, once.
func TestOffsetsAreReset(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.reset(t)
}

// reset sets the offsets of <group> and of a lane's group back to the beginning, as mqadmin resetOffsetByTime does.
func (w *world) reset(t *testing.T) {
	t.Helper()
	route := w.createTopic(2)
	p := w.producer("")
	for _, tag := range []graylib.Tag{graylib.Untagged, "gray"} {
		s := newSink()
		c := w.open(tag, s, nil, []consumer.Option{consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)})
		start(t, c)
		ids := w.send(p, tag, 20)
		eventually(t, "all are handled", func() bool { return s.all(ids) })
		s.exactly(t, "before the reset", ids, 1)
		group := w.group
		if tag != graylib.Untagged {
			group = graylib.LaneGroup(group, tag)
		}
		for _, addr := range route.Brokers {
			// INVOKE_BROKER_TO_RESET_OFFSET, all queues
			ext := map[string]string{"topic": w.topic, "group": group, "timestamp": "0", "isForce": "true", "queueId": "-1", "offset": "-1"}
			if a, err := w.api.Invoke(t.Context(), addr, remoting.Command{Code: 222, Ext: ext}); err != nil || a.Code != 0 {
				t.Fatalf("reset: %v, code %d %s", err, a.Code, a.Remark)
			}
		}
		later := w.send(p, tag, 8) // a broker that hands the reset out with a pull does so with the next that it answers
		eventually(t, "all are handled again, and later ones", func() bool {
			for _, id := range ids {
				if s.times(id) < 2 {
					return false
				}
			}
			return s.all(later)
		})
		s.exactly(t, "after the reset", ids, 2)
		w.shutdown(c)
	}
}
