package grayrocketmq

import (
	"sync"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestFirstOffsets(t *testing.T) {
	for _, tc := range []struct {
		name string
		from consumer.ConsumeFromWhere
		old  int // times that messages from before the first start are handled
	}{
		{"from last", consumer.ConsumeFromLastOffset, 0},
		{"from first", consumer.ConsumeFromFirstOffset, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
			w.createTopic(4)
			p := w.producer("")
			oldPlain, oldGray := w.send(p, "", 12), w.send(p, "gray", 12)
			base, gray := newSink(), newSink()
			client := []consumer.Option{consumer.WithConsumeFromWhere(tc.from)}
			start(t, w.open("", base, nil, client))
			// The lane begins where <group> did, though its instances come later.
			between := w.send(p, "gray", 12)
			start(t, w.open("gray", gray, nil, client))
			plain, tagged := w.send(p, "", 12), w.send(p, "gray", 12)
			eventually(t, "the new ones are handled", func() bool {
				return base.all(plain) && gray.all(tagged) && gray.all(between) && (tc.old == 0 || base.all(oldPlain) && gray.all(oldGray))
			})
			base.exactly(t, "baseline, old", oldPlain, tc.old)
			gray.exactly(t, "lane, old", oldGray, tc.old)
			base.exactly(t, "baseline, new", plain, 1)
			gray.exactly(t, "lane, between", between, 1)
			gray.exactly(t, "lane, new", tagged, 1)
		})
	}
}

func TestMembersStartAtOnce(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	w.createTopic(8)
	p := w.producer("")
	plain, tagged := w.send(p, "", 40), w.send(p, "gray", 40)
	base, gray := newSink(), newSink()
	var wg sync.WaitGroup
	var all []*Consumer
	for i := range 6 {
		tag, s := graylib.Untagged, base
		if i%2 == 1 {
			tag, s = "gray", gray
		}
		c := w.open(tag, s, nil, []consumer.Option{consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)})
		all = append(all, c)
		wg.Go(func() {
			if err := c.Start(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, "all are handled", func() bool { return base.all(plain) && gray.all(tagged) })
	// They take queues from each other meanwhile.
	base.exactly(t, "baseline, untagged", plain, 1)
	base.exactly(t, "baseline, gray", tagged, 0)
	gray.exactly(t, "lane, gray", tagged, 1)
	gray.exactly(t, "lane, untagged", plain, 0)
	for _, c := range all {
		w.shutdown(c)
	}
	again := newSink()
	w.consumer("", again)
	w.consumer("gray", again)
	more := append(w.send(p, "", 16), w.send(p, "gray", 16)...)
	eventually(t, "the next are handled", func() bool { return again.all(more) })
	again.exactly(t, "after the restart", append(plain, tagged...), 0)
}

func TestQueuesAdded(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	w.createTopic(2)
	s := newSink()
	first := w.consumer("", s)
	early := w.send(w.producer(""), "", 8)
	eventually(t, "the first are handled", func() bool { return s.all(early) })
	w.shutdown(first)
	w.createTopic(6)
	more := w.send(w.producer(""), "", 24)
	w.consumer("", s)
	eventually(t, "those on the new queues too", func() bool { return s.all(more) })
	s.exactly(t, "before", early, 1)
	s.exactly(t, "after", more, 1)
}
