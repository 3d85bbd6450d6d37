package grayrocketmq

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// onlyInFull skips a test in make check that starts servers of its own.
func onlyInFull(t *testing.T) {
	t.Helper()
	if os.Getenv("GRAYCHAIN_E2E_FULL") != "1" {
		t.Skip("starts servers of its own: make check-full-messages-faults")
	}
}

// ownServers starts servers that the test may kill or configure.
func ownServers(t *testing.T, o localinfra.Options) (context.Context, *localinfra.Servers) {
	t.Helper()
	testenv.Namesrv(t) // skips where Java is missing
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	t.Cleanup(cancel)
	if o.State == "" {
		o.State = t.TempDir()
	}
	o.NoNacos, o.Discard, o.ReadyLimit = true, true, 4*time.Minute // beside other tests
	o.Namesrv, o.Broker = localinfra.Port{Number: 23876}, localinfra.Port{Number: 23911}
	if o.BrokerConfig == nil {
		o.BrokerConfig = make(map[string]string)
	}
	o.BrokerConfig["messageDelayLevel"] = "1s 1s 1s 1s 1s 2s 2s 2s 2s 2s 3s 3s 3s 3s 3s 5s 5s 5s"
	servers, err := localinfra.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = servers.Stop(ctx)
	})
	return ctx, servers
}

// TestBrokerKilledAndRestarted kills a broker of its own under load and starts it again, in each round while a lane has its
// queues; then the lane stops, or its process is killed. What was acknowledged is handled, and repeated is at most what is in the
// spans and what was handled after the broker had last written the offsets to its disk, which it does every 5 s, and first 10 s
// after its start.
func TestBrokerKilledAndRestarted(t *testing.T) {
	const queues = 4
	state := t.TempDir()
	ctx, servers := ownServers(t, localinfra.Options{State: state})
	w := newWorldAt(t, listed(graylib.ModeAuto, "gray"), servers.NamesrvAddr(), primitive.Credentials{})
	w.createTopic(queues)
	w.mayFail.Store(true)
	y := newTally()
	standIn := w.consumer("", y.handler("standin"))
	l := w.load(w.producer(""), "gray", 200)
	written := func() (at time.Time) { // the zero time: never
		if info, err := os.Stat(filepath.Join(state, localinfra.Broker, "store", "config", "consumerOffset.json")); err == nil {
			at = info.ModTime()
		}
		return at
	}
	spans, unwritten := 0, 0
	var times []time.Duration
	for i := range rounds() {
		who := fmt.Sprintf("lane-%02d", i)
		var end func()
		if i%2 == 0 {
			end = w.child("gray", y, who)
			spans += queues * ownership.DefaultSpan
		} else {
			lane := w.consumer("gray", y.handler(who))
			end = func() { stop(t, lane) }
		}
		eventually(t, "the lane handles messages", func() bool { return y.count(who) > 50 })
		if came := time.Now(); i%2 == 1 { // else the broker is too young to have written any
			eventually(t, "the broker has written offsets", func() bool { return written().After(came) })
		}
		before := written().Add(-time.Second) // what is written is composed a little earlier
		if err := servers.Broker.Kill(); err != nil {
			t.Fatal(err)
		}
		unwritten += y.since(before)
		spans += queues * ownership.DefaultSpan
		if err := servers.Broker.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		y.arm()
		eventually(t, "messages are handled again", func() bool { _, ok := y.took(""); return ok })
		times = append(times, time.Since(began))
		eventually(t, "the lane handles messages again", func() bool { _, ok := y.took(who); return ok })
		end()
		y.arm()
		sent := l.sent()
		if !reached(within, func() bool { _, ok := y.took("standin"); return ok }) {
			t.Fatalf("round %d: the stand-in handles nothing within %v of the lane's end, %d sent meanwhile; its groups: %+v", i, within, l.sent()-sent, standIn.State().Groups)
		}
	}
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return y.has(ids) })
	lost, repeated := y.judge(ids)
	if lost != 0 || repeated > spans+unwritten {
		t.Errorf("broke G5 or G6: lost %d, repeated %d of %d; want 0 and at most %d in spans and %d whose offsets the broker hadn't written",
			lost, repeated, len(ids), spans, unwritten)
	}
	t.Logf("%d times: lost %d, repeated %d of %d; %d were handled after the broker had last written offsets", rounds(), lost, repeated, len(ids), unwritten)
	figures(t, "broker killed, from its being back", times)
}

// TestBrokerFrozen freezes a broker of its own while a lane's instance has lost its connection, for longer than one request may
// take. The instance's tries leave no member behind that nobody is: when it has come back and stops, the stand-in goes on at once,
// not when the broker drops members that say nothing, after two minutes.
func TestBrokerFrozen(t *testing.T) {
	onlyInFull(t)
	_, servers := ownServers(t, localinfra.Options{})
	w := newWorldAt(t, listed(graylib.ModeAuto, "gray"), servers.NamesrvAddr(), primitive.Credentials{})
	w.createTopic(4)
	w.mayFail.Store(true)
	y := newTally()
	w.consumer("", y.handler("standin"))
	l := w.load(w.producer(""), "gray", 100)
	const times = 3
	for i := range times {
		who := fmt.Sprintf("lane-%d", i)
		lane := w.consumer("gray", y.handler(who))
		eventually(t, "the lane handles messages", func() bool { return y.count(who) > 50 })
		if err := servers.Broker.Pause(); err != nil {
			t.Fatal(err)
		}
		lane.mu.Lock()
		for _, j := range lane.joined {
			if m, ok := j.(*laneMember); ok {
				m.closeSessions()
			}
		}
		lane.mu.Unlock()
		for frozen := time.Now(); time.Since(frozen) < 3*remoting.DefaultTimeout; { // the freeze itself
			time.Sleep(100 * time.Millisecond)
		}
		if err := servers.Broker.Resume(); err != nil {
			t.Fatal(err)
		}
		y.arm()
		eventually(t, "the lane handles messages again", func() bool { _, ok := y.took(who); return ok })
		stop(t, lane)
		y.arm()
		stopped := time.Now()
		eventually(t, "the stand-in goes on", func() bool { _, ok := y.took("standin"); return ok })
		t.Logf("the stand-in goes on %v after the lane's end", time.Since(stopped).Round(time.Millisecond))
	}
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return y.has(ids) })
	lost, repeated := y.judge(ids)
	if most := times * 4 * ownership.DefaultSpan; lost != 0 || repeated > most {
		t.Errorf("broke G5 or G6: lost %d, repeated %d of %d; want 0 and at most %d", lost, repeated, len(ids), most)
	}
	t.Logf("frozen %d times: lost %d, repeated %d of %d", times, lost, repeated, len(ids))
}
