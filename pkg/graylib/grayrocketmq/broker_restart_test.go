package grayrocketmq

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/pkg/graylib"
)

// ownServers starts servers that the test may kill or configure, in the full run alone.
func ownServers(t *testing.T, o localinfra.Options) (context.Context, *localinfra.Servers) {
	t.Helper()
	if os.Getenv("GRAYCHAIN_E2E_FULL") != "1" {
		t.Skip("starts servers of its own: make check-full-messages-faults")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	if o.State == "" {
		o.State = t.TempDir()
	}
	o.Discard, o.ReadyLimit = true, 4*time.Minute // beside other tests
	o.Nacos, o.Namesrv, o.Broker = localinfra.Port{Number: 23848}, localinfra.Port{Number: 23876}, localinfra.Port{Number: 23911}
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

// TestBrokerKilledAndRestarted kills a broker of its own under load and starts it again: what was acknowledged is handled.
// A broker that is killed loses the offsets of its last 5 s, so that much may be repeated.
func TestBrokerKilledAndRestarted(t *testing.T) {
	ctx, servers := ownServers(t, localinfra.Options{})
	w := newWorldAt(t, listed(graylib.ModeAuto, "gray"), servers.NamesrvAddr(), primitive.Credentials{})
	w.createTopic(4)
	y := newTally()
	w.consumer("", y.handler("standin"))
	w.consumer("gray", y.handler("lane"))
	l := w.load(w.producer(""), "gray", 200)
	for range 2 {
		y.arm()
		eventually(t, "the lane handles messages", func() bool { _, ok := y.took("lane"); return ok })
		w.mayFail.Store(true)
		if err := servers.Broker.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := servers.Broker.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		y.arm()
		eventually(t, "messages are handled again", func() bool { _, ok := y.took(""); return ok })
		t.Logf("the broker being back, the first message is handled after %v", time.Since(began))
	}
	eventually(t, "the lane handles messages again", func() bool { _, ok := y.took("lane"); return ok })
	ids := l.stop(t)
	eventually(t, "all are handled", func() bool { return y.has(ids) })
	lost, repeated := y.judge(ids)
	if lost != 0 {
		t.Errorf("lost %d of %d", lost, len(ids))
	}
	t.Logf("lost %d, repeated %d of %d", lost, repeated, len(ids))
}
