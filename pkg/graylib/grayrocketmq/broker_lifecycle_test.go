package grayrocketmq

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

func TestSuspend(t *testing.T) {
	for _, tag := range []graylib.Tag{graylib.Untagged, "gray"} {
		t.Run("tag "+tag.String(), func(t *testing.T) {
			w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
			s := newSink()
			c := w.consumer(tag, s)
			p := w.producer("")
			before := w.send(p, tag, 8)
			eventually(t, "it runs", func() bool { return s.all(before) })
			c.Suspend()
			held := w.send(p, tag, 8)
			probe := w.group + "-probe" // a second group shows that the messages are there to be had
			other := newSink()
			c2 := w.open(tag, other, nil, []consumer.Option{consumer.WithGroupName(probe), consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)})
			start(t, c2)
			eventually(t, "another group has them", func() bool { return other.all(held) })
			s.exactly(t, "suspended", held, 0)
			c.Resume()
			eventually(t, "they come after Resume", func() bool { return s.all(held) })
			s.exactly(t, "resumed", held, 1)
		})
	}
}

func TestShutdownRepeatsNothing(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	w.createTopic(4)
	s := newSink()
	s.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult {
		time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond) // work, of uneven length
		return consumer.ConsumeSuccess
	}
	c := w.consumer("", s)
	p := w.producer("")
	ctx, stop := context.WithCancel(t.Context())
	var ids []string
	var sending sync.WaitGroup
	sending.Go(func() {
		for ctx.Err() == nil {
			r, err := p.SendSync(t.Context(), primitive.NewMessage(w.topic, []byte("x")))
			if err != nil {
				t.Error(err)
				return
			}
			ids = append(ids, r.MsgID)
		}
	})
	for range 5 {
		n := s.size()
		eventually(t, "some are handled", func() bool { return s.size() > n+100 })
		w.shutdown(c)
		c = w.consumer("", s)
	}
	stop()
	sending.Wait()
	eventually(t, "all are handled", func() bool { return s.all(ids) })
	s.exactly(t, "over five restarts", ids, 1)
	t.Logf("%d messages", len(ids))
}

func TestShutdownPastDrain(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	s := newSink()
	hang := make(chan struct{})
	defer close(hang)
	s.act = func(context.Context, *primitive.MessageExt) consumer.ConsumeResult {
		<-hang
		return consumer.ConsumeSuccess
	}
	c := w.consumer("", s, WithDrain(50*time.Millisecond))
	ids := w.send(w.producer(""), "", 1)
	eventually(t, "the handler runs", func() bool { return s.all(ids) })
	eventually(t, "it is counted as slow", func() bool {
		return slices.ContainsFunc(c.State().Tallies, func(g graylib.GroupTally) bool { return g.Group == w.group && g.Slow == 1 })
	})
	if err := c.Shutdown(); !errors.Is(err, ErrDrain) {
		t.Errorf("Shutdown gave %v, want ErrDrain", err)
	}
	again := newSink()
	w.consumer("", again)
	eventually(t, "the message comes again", func() bool { return again.all(ids) })
}

func TestBackgroundStart(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	addr := graylibtest.ReserveAddr(t) // nobody there yet

	s := newSink()
	failing := w.open("", s, nil, []consumer.Option{consumer.WithNameServer([]string{addr})})
	if err := failing.Start(); !errors.Is(err, remoting.ErrUnreachable) {
		t.Errorf("Start gave %v, want ErrUnreachable", err)
	}
	c := w.open("", s, nil, []consumer.Option{consumer.WithNameServer([]string{addr})}, WithBackgroundStart())
	start(t, c)
	st := c.rt.Status()
	if st.Ready || len(st.NotReady) != 1 || !strings.Contains(st.NotReady[0], addr) {
		t.Errorf("status is ready %v, %v: want not ready, because of %s", st.Ready, st.NotReady, addr)
	}
	forward(t, addr, w.namesrv)
	eventually(t, "it is ready", func() bool { return c.rt.Status().Ready })
	ids := w.send(w.producer(""), "", 4)
	eventually(t, "it serves", func() bool { return s.all(ids) })
}

// forward is a name server's stand-in at another address.
func forward(t *testing.T, addr, to string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
}

func TestWithoutCreation(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeIgnore, "gray"))
	c := w.open("", newSink(), nil, nil, WithoutCreation())
	if err := c.Start(); !errors.Is(err, ErrNoTopics) || !strings.Contains(err.Error(), w.topic) {
		t.Errorf("Start gave %v, want ErrNoTopics with the topic", err)
	}
}
