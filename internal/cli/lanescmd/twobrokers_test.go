package lanescmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/internal/cli/doctorcmd"
	"github.com/graychain/graychain/internal/cli/target"
	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/pkg/graylib"
)

func TestMain(m *testing.M) {
	proc.GuardMain() // the test binary guards the servers that a test starts
	os.Exit(m.Run())
}

// doctor runs `graychain doctor` on the world, and returns its lines about brokers, topics and groups.
func (w *world) doctor() (lines []string, err error) {
	cmd := doctorcmd.New(deps(w.centre, w.namesrv))
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs([]string{"--output", "json"})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(w.Context())
	var report struct {
		Findings []struct{ Level, Check, Text string }
	}
	if decodeErr := json.Unmarshal(out.Bytes(), &report); decodeErr != nil {
		w.Fatalf("%v in\n%s", decodeErr, out.String())
	}
	for _, f := range report.Findings {
		if strings.Contains(f.Check, "broker") || strings.Contains(f.Check, "topic") || f.Check == "clocks" || f.Check == "groups" || f.Check == "members" || f.Check == "name server" {
			line := f.Level + " " + f.Check + ": " + f.Text
			line = strings.NewReplacer(w.group, "G", w.topic, "T", string(w.tag), "gray", w.instances[0].Addr, "HERE").Replace(line)
			lines = append(lines, line)
		}
	}
	return lines, err
}

// look runs `graychain lanes --output json`, and returns its view of the lane's group.
func (w *world) look() (v view, g group, err error) {
	out, _, err := run(w.Context(), w.centre, w.namesrv, "--output", "json")
	if decodeErr := json.Unmarshal([]byte(out), &v); decodeErr != nil {
		w.Fatalf("%v in\n%s", decodeErr, out)
	}
	for _, l := range v.Lanes {
		for _, g := range l.Groups {
			if g.Name == graylib.LaneGroup(w.group, w.tag) {
				return v, g, err
			}
		}
	}
	return v, group{}, err
}

// ownedOn counts the queues of the topic that have an owner, by broker.
func (w *world) ownedOn(g group) map[string]int {
	n := make(map[string]int)
	for _, o := range g.Owned {
		if broker, _, _ := strings.Cut(o.Queue, "/"); o.Topic == w.topic && o.State == graylib.QueueOwned && o.Role == graylib.RoleStandIn {
			n[broker]++
		}
	}
	return n
}

// behindOn adds up what isn't committed, by broker.
func behindOn(g group) map[string]int64 {
	n := make(map[string]int64)
	for _, q := range g.Queues {
		n[q.Broker] += q.Behind
	}
	return n
}

// TestTwoBrokers: lanes and doctor show owners, lag and checks of both brokers; with one of them killed, or frozen, both say so
// and show the other, and no lane is retired or forgotten as if nothing were there.
func TestTwoBrokers(t *testing.T) {
	if os.Getenv("GRAYCHAIN_E2E_FULL") != "1" {
		t.Skip("starts servers of its own: make check-full-lanes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	servers, err := localinfra.Start(ctx, localinfra.Options{
		State: t.TempDir(), Discard: true, ReadyLimit: 4 * time.Minute,
		Nacos: localinfra.Port{Number: 24948}, Namesrv: localinfra.Port{Number: 24976}, Broker: localinfra.Port{Number: 25011},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = servers.Stop(ctx)
	})
	second, err := servers.AddBroker(ctx, "broker-b", localinfra.Port{Number: 25031}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldAt(t, servers.NamesrvAddr())
	w.dies = func(string) bool { return false }

	// Nobody may have the lane's messages: they wait on both brokers, for the owner that comes with mode auto.
	w.eventually("the lane's group has both brokers' queues", func() bool { _, g, _ := w.look(); return len(g.Queues) == 8 })
	ids := w.send(16)
	_, g, err := w.look()
	if behind := behindOn(g); err != nil || g.Waiting.N != 16 || behind["broker-a"] == 0 || behind["broker-b"] == 0 || g.who(w.tag) != "nobody: mode ignore" {
		t.Errorf("%v: %d wait, behind %v, %s; want 16 on both brokers, for nobody", err, g.Waiting.N, behind, g.who(w.tag))
	}
	auto := strings.NewReplacer("revision: 3", "revision: 4", "{consumer: a, baseline: ignore, ignore: ["+string(w.tag)+"]}", "{consumer: a, baseline: auto}").Replace(w.text())
	if err := w.Publish(ctx, []byte(auto), sum(w.text())); err != nil {
		t.Fatal(err)
	}
	w.eventually("a stand-in has every queue of both brokers", func() bool {
		_, g, _ := w.look()
		return cmp.Equal(map[string]int{"broker-a": 4, "broker-b": 4}, w.ownedOn(g))
	})
	w.eventually("what waited is committed on both", func() bool {
		_, g, _ := w.look()
		return g.Waiting.N == 0 && cmp.Equal(map[string]int64{"broker-a": 0, "broker-b": 0}, behindOn(g))
	})
	w.exactly(ids, func(int) int { return 1 })
	first, other := "at "+servers.BrokerAddr(), "at "+second.Addr()
	checks := func(name, at string) []string {
		return []string{"ok broker " + name + ": " + at + " filters by property", "ok clocks: broker " + name + " agrees with this machine within 5s"}
	}
	good := slices.Concat([]string{"ok name server: reachable, 2 brokers"}, checks("broker-a", first), checks("broker-b", other),
		[]string{"ok topic: T of G: 8 queues on 2 brokers", "ok groups: G, G__tagged, G_gray", "ok members: 6 members in the groups of G, all with the groups' filters"})
	got, err := w.doctor()
	if diff := cmp.Diff(good, got); diff != "" || err != nil {
		t.Errorf("doctor of both: %v (-want +got):\n%s", err, diff)
	}

	// One is killed: the name server forgets it at once, the instances don't.
	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	away := "broker broker-b isn't registered at the name server, and a " + w.instances[0].Addr + " had queues of it"
	w.eventually("lanes says that a broker is away", func() bool {
		v, g, err := w.look()
		return errors.Is(err, target.ErrReported) && strings.Contains(strings.Join(v.Problems, "\n"), away) && len(g.Queues) == 4 && w.ownedOn(g)["broker-a"] == 4
	})
	got, err = w.doctor()
	want := "failed broker broker-b: isn't registered at the name server, and a HERE had queues of it"
	if !errors.Is(err, target.ErrReported) || !slices.Contains(got, want) || !slices.Contains(got, "ok topic: T of G: 4 queues on 1 broker") {
		t.Errorf("doctor without broker-b: %v\n%s", err, strings.Join(got, "\n"))
	}
	out, err := w.lanes("retire", "gray", "--wait", "3s")
	if !errors.Is(err, errBrokerAway) || strings.Contains(out, "nothing is left") {
		t.Errorf("retire without broker-b: %v\n%s", err, out)
	}
	before := w.text()
	if out, err = w.lanes("forget", "gray"); !errors.Is(err, errBrokerAway) || !strings.HasPrefix(err.Error(), "nothing was changed: ") || w.text() != before {
		t.Errorf("forget without broker-b: %v\n%s", err, out)
	}
	t.Logf("without broker-b: %v", err)
	if err := second.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	w.eventually("all is well again", func() bool {
		_, _, err := w.look()
		lines, doctorErr := w.doctor()
		return err == nil && doctorErr == nil && slices.Contains(lines, "ok topic: T of G: 8 queues on 2 brokers")
	})
	if out, err = w.lanes("retire", "gray", "--wait", "60s"); err != nil || !strings.Contains(out, "nothing is left of lane gray") {
		t.Errorf("retire with both: %v\n%s", err, out)
	}

	// One is frozen: the name server lists it on.
	if err := second.Pause(); err != nil {
		t.Fatal(err)
	}
	v, g, err := w.look()
	if problems := strings.Join(v.Problems, "\n"); !errors.Is(err, target.ErrReported) || !strings.Contains(problems, `queues and messages: broker "broker-b": `) || len(g.Queues) != 4 {
		t.Errorf("lanes with broker-b frozen: %v, %d queues, problems:\n%s", err, len(g.Queues), problems)
	}
	got, err = w.doctor()
	frozen := func(l string) bool { return strings.HasPrefix(l, "failed broker broker-b: "+other) }
	if !errors.Is(err, target.ErrReported) || !slices.ContainsFunc(got, frozen) || !slices.Contains(got, "not checked topics, groups: broker broker-b can't be asked") ||
		!slices.Contains(got, "ok groups: G, G__tagged, G_gray") {
		t.Errorf("doctor with broker-b frozen: %v\n%s", err, strings.Join(got, "\n"))
	}
	t.Logf("with broker-b frozen: %q, %q", v.Problems, got)
}
