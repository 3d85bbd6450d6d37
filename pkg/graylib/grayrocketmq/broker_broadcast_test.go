package grayrocketmq

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"

	judging "github.com/graychain/graychain/internal/verdict"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// hearer is an instance of service a that broadcasts, in a registry in memory.
type hearer struct {
	*sink
	c *Consumer
}

func (w *world) hearer(reg *graylibtest.Registry, tag graylib.Tag, n int, opts ...graylib.Option) *hearer {
	w.t.Helper()
	id := graylib.Identity{Service: "a", Tag: tag, Addr: fmt.Sprint("127.0.0.1:", n)}
	rt, err := graylib.New(id, append([]graylib.Option{graylib.WithRules(w.source), graylib.WithRegistry(reg.As(id)),
		graylib.WithConfig(graylib.Config{NamesrvAddr: w.namesrv})}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { // runs after the shutdown: the client's files, in the home directory by the time when the process began
		home, err := os.UserHomeDir()
		if err == nil {
			err = errors.Join(os.RemoveAll(filepath.Join(home, ".rocketmq_client_go", w.group)),
				os.RemoveAll(filepath.Join(home, ".rocketmq_client_go", graylib.LaneGroup(w.group, "gray"))))
		}
		if err != nil {
			w.t.Error(err)
		}
	})
	b := &hearer{sink: newSink()}
	b.c = w.open(tag, b.sink, nil, []consumer.Option{
		consumer.WithConsumerModel(consumer.BroadCasting), consumer.WithInstance(fmt.Sprint("i", n)),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, WithConsumerRuntime(rt))
	start(w.t, b.c)
	return b
}

func (b *hearer) register(reg *graylibtest.Registry) {
	id := b.c.rt.Identity()
	reg.Put(graylib.Instance{Service: "a", Addr: id.Addr, Tag: id.Tag})
}

// TestBroadcasting: each live instance of a lane gets the lane's messages, each of the baseline's the untagged ones, and a
// tag's while the registry shows no instance of its lane; strays are the baseline's.
func TestBroadcasting(t *testing.T) {
	for _, filter := range []graylib.Filter{graylib.FilterServer, graylib.FilterClient} {
		t.Run(string(filter), func(t *testing.T) {
			rules := func(mode graylib.Mode) *graylibtest.Rules {
				r := listed(mode, "gray")
				r.Consume.Filter = filter
				return r
			}
			w := newWorld(t, rules(graylib.ModeAuto))
			w.createTopic(2)
			reg := graylibtest.NewRegistry()
			base := []*hearer{w.hearer(reg, "", 1), w.hearer(reg, "", 2)}
			for _, b := range base {
				b.register(reg)
			}
			p := w.producer("")
			seenBy := func(list []*hearer, ids ...[]string) {
				t.Helper()
				eventually(t, "all instances handle them", func() bool {
					return !slices.ContainsFunc(list, func(b *hearer) bool { return !b.all(slices.Concat(ids...)) })
				})
				for _, b := range list {
					b.exactly(t, "broadcast", slices.Concat(ids...), 1)
				}
			}
			none := func(list []*hearer, ids []string) {
				t.Helper()
				for _, b := range list {
					b.exactly(t, "not its own", ids, 0)
				}
			}
			seenBy(base, w.send(p, "", 5), w.send(p, "gray", 5), w.send(p, "red", 5)) // nobody answers to the tags

			lane := []*hearer{w.hearer(reg, "gray", 3), w.hearer(reg, "gray", 4)}
			for _, b := range lane {
				b.register(reg)
			}
			w.nextMillisecond() // what is stored in this one may be the baseline's too
			tagged, plain := w.send(p, "gray", 10), w.send(p, "", 10)
			seenBy(lane, tagged)
			seenBy(base, plain)
			none(base, tagged)
			none(lane, plain)

			w.source.put(rules(graylib.ModeAll))
			tagged = w.send(p, "gray", 10)
			seenBy(lane, tagged)
			seenBy(base, tagged)
			w.source.put(rules(graylib.ModeAuto))

			for _, b := range lane {
				reg.Remove("a", b.c.rt.Identity().Addr)
				stop(t, b.c)
			}
			tagged = w.send(p, "gray", 10)
			seenBy(base, tagged)
			if got := base[0].tag(tagged[0]); got != "gray" {
				t.Errorf("the baseline's context has tag %q, want gray", got)
			}
			w.source.put(rules(graylib.ModeIgnore))
			tagged, plain = w.send(p, "gray", 10), w.send(p, "", 10)
			seenBy(base, plain)
			none(base, tagged)
		})
	}
}

// nextMillisecond waits until messages get a later store time, as far as that tells.
func (w *world) nextMillisecond() {
	now := time.Now() // the broker stands on this machine
	eventually(w.t, "the next millisecond", func() bool { return time.Since(now) > 2*time.Millisecond })
}

// TestBroadcastingGoesOn: an instance that starts again goes on where it was, by the client's file of offsets.
func TestBroadcastingGoesOn(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(2)
	reg := graylibtest.NewRegistry()
	p := w.producer("")
	first := w.hearer(reg, "", 1)
	before := w.send(p, "", 20)
	eventually(t, "they are handled", func() bool { return first.all(before) })
	stop(t, first.c)
	while := w.send(p, "", 20)
	again := w.hearer(reg, "", 1)
	after := w.send(p, "", 20)
	eventually(t, "what came meanwhile is handled", func() bool { return again.all(while) && again.all(after) })
	again.exactly(t, "handled before the restart", before, 0)
	again.exactly(t, "sent meanwhile and after", append(while, after...), 1)
}

// TestBroadcastingIsJudged: the journals of instances that broadcast are judged as what they are: each instance has each message
// once, the baseline has tagged ones in its own group, and in mode all beside the lane; nothing is broken or unjudged.
func TestBroadcastingIsJudged(t *testing.T) {
	w := newWorld(t, listed(graylib.ModeAuto, "gray"))
	w.createTopic(2)
	dir := t.TempDir()
	reg := graylibtest.NewRegistry()
	var journals []*graylib.Journal
	reporting := func(service, instance string, tag graylib.Tag) *graylib.Journal {
		j := w.journal(dir, service, tag, instance)
		journals = append(journals, j)
		return j
	}
	instance := func(tag graylib.Tag, n int) *hearer {
		b := w.hearer(reg, tag, n, graylib.WithReporter(reporting("a", fmt.Sprint("a-", n), tag)))
		b.register(reg)
		return b
	}
	base := []*hearer{instance("", 1), instance("", 2)}
	p := w.producer("", WithProducerRuntime(w.runtime("c", "", reporting("c", "c-1", ""))))
	everyone := func(list []*hearer, ids ...[]string) {
		t.Helper()
		for _, b := range list {
			eventually(t, "each instance handles them", func() bool { return b.all(slices.Concat(ids...)) })
		}
	}
	everyone(base, w.send(p, "", 5), w.send(p, "gray", 5))
	lane := []*hearer{instance("gray", 3), instance("gray", 4)}
	w.nextMillisecond()
	everyone(lane, w.send(p, "gray", 5))
	w.source.put(listed(graylib.ModeAll, "gray"))
	everyone(slices.Concat(base, lane), w.send(p, "gray", 5))
	for _, b := range slices.Concat(base, lane) {
		stop(t, b.c)
	}
	for _, j := range journals {
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	h, err := judging.ReadHistory([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	a := h.Ledger.Judge(judging.LedgerOptions{Groups: []string{w.group}})
	if len(a.Broken) > 0 || len(a.Unjudged) > 0 || a.Sent != 20 || a.Handled[w.group] != 20 || a.Repeats != 0 {
		t.Errorf("%+v: want 20 sent and handled, and nothing broken, repeated or unjudged", a)
	}
}
