package graynacos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/internal/testenv"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// The tests in this file run against a real server, see package testenv.

// unique makes a name that no other test uses.
func unique(name string) string { return fmt.Sprintf("%s-%d-%x", name, os.Getpid(), rand.Uint32()) }

// eventually polls until check returns nil.
func eventually(t *testing.T, within time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", within, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// throughout fails when check does so at any time of a span.
func throughout(t *testing.T, span time.Duration, check func() error) {
	t.Helper()
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err := check(); err != nil {
			t.Fatal(err)
		}
	}
}

func tableIs(table *graylib.Table, want ...string) func() error {
	return func() error {
		got := inTable(table)
		if !sameSet(got, want) {
			return fmt.Errorf("%s: instances %v, want %v", table.Service(), got, want)
		}
		return nil
	}
}

func sameSet(a, b []string) bool {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// live is one process's connection to the server.
type live struct {
	registry *Registry
	rules    *Rules
}

// lives are the connections of one test. They end together: all reading before the first connection, see closeConfig.
type lives struct {
	addr string
	all  []live
}

func newLives(t *testing.T, addr string) *lives {
	ls := &lives{addr: addr}
	t.Cleanup(func() {
		for _, l := range ls.all {
			l.rules.stop()
		}
		for _, l := range ls.all {
			if err := errors.Join(l.registry.Close(), l.rules.Close()); err != nil {
				t.Logf("close: %v", err)
			}
		}
	})
	return ls
}

func (ls *lives) open(t *testing.T, id graylib.Identity, opts ...Option) live {
	t.Helper()
	all := append([]Option{WithStateDir(t.TempDir()), WithRulesDocument(graylib.RulesDataID, unique("GROUP"))}, opts...)
	registry, source, err := Open(id, graylib.Config{NacosAddr: ls.addr}, slog.New(slog.DiscardHandler), all...)
	if err != nil {
		t.Fatal(err)
	}
	l := live{registry.(*Registry), source.(*Rules)}
	ls.all = append(ls.all, l)
	return l
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestLiveRegistry(t *testing.T) {
	addr := testenv.Nacos(t)
	ls := newLives(t, addr)
	service := unique("b")
	caller := ls.open(t, graylib.Identity{Service: "a", Instance: "a-1"})
	table, err := caller.registry.Table(within(t, 30*time.Second), service)
	if err != nil || len(inTable(table)) != 0 {
		t.Fatalf("a service that nobody offers: instances %v, error %v; want none, and no error", inTable(table), err)
	}
	base := ls.open(t, graylib.Identity{Service: "b", Instance: "b-1"})
	gray := ls.open(t, graylib.Identity{Service: "b", Instance: "b-2", Tag: "gray"})
	baseReg := graylib.Registration{Service: service, Addr: "127.0.0.1:31001"}
	grayReg := graylib.Registration{Service: service, Addr: "127.0.0.1:31002", Weight: 2}
	if err := errors.Join(base.registry.Register(within(t, 30*time.Second), baseReg),
		gray.registry.Register(within(t, 30*time.Second), grayReg)); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, tableIs(table, "127.0.0.1:31001", "127.0.0.1:31002"))
	lane := table.Load().Lane("gray")
	if lane == nil {
		t.Fatal("lane gray has no instance")
	}
	want := []graylib.Instance{{ID: "b-2", Service: service, Addr: "127.0.0.1:31002", Tag: "gray", Weight: 2}}
	if diff := cmp.Diff(want, lane.Instances()); diff != "" {
		t.Errorf("lane gray (-want +got):\n%s", diff)
	}

	began := time.Now()
	if err := gray.registry.Deregister(within(t, 30*time.Second), grayReg); err != nil {
		t.Fatal(err)
	}
	acked := time.Since(began)
	eventually(t, 30*time.Second, tableIs(table, "127.0.0.1:31001"))
	t.Logf("deregistered in %v, gone from the caller's table after %v", acked, time.Since(began))
	if err := base.registry.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, tableIs(table)) // the last one goes too
}

func TestLiveRules(t *testing.T) {
	addr := testenv.Nacos(t)
	group := WithRulesDocument(graylib.RulesDataID, unique("GROUP"))
	ctx := within(t, time.Minute)
	client, err := Dial(ctx, graylib.Config{NacosAddr: addr}, slog.New(slog.DiscardHandler), group)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if content, md5, err := client.Get(ctx); content != nil || md5 != "" || err != nil {
		t.Fatalf("no document: got %q, %q, %v", content, md5, err)
	}
	s := newLives(t, addr).open(t, graylib.Identity{Service: "a"}, group).rules
	wantStatus(t, s, 0, originNone)

	first := []byte(doc(1, "gray"))
	if err := client.Publish(ctx, first, ""); err != nil {
		t.Fatal(err)
	}
	if err := client.Publish(ctx, first, ""); !errors.Is(err, rules.ErrConflict) {
		t.Errorf("created twice: error %v, want ErrConflict", err)
	}
	if err := client.Publish(ctx, []byte(doc(2, "gray")), sum("another")); !errors.Is(err, rules.ErrConflict) {
		t.Errorf("published over another document: error %v, want ErrConflict", err)
	}
	var md5 string
	eventually(t, 30*time.Second, func() error {
		content, sum, err := client.Get(ctx)
		if err == nil && string(content) != string(first) {
			err = fmt.Errorf("read %q, want %q", content, first)
		}
		md5 = sum
		return err
	})
	revisionIs := func(want int64) func() error {
		return func() error {
			if got := s.Rules().Revision(); got != want {
				return fmt.Errorf("revision %d in force, want %d", got, want)
			}
			return nil
		}
	}
	eventually(t, 30*time.Second, revisionIs(1))
	var slowest time.Duration
	for i := int64(2); i <= 6; i++ {
		text := doc(int(i), "gray")
		if err := client.Publish(ctx, []byte(text), md5); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		md5 = sum(text)
		eventually(t, 30*time.Second, revisionIs(i))
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("5 changes, each in effect after %v at most", slowest)
	wantStatus(t, s, 6, originNacos)

	if err := client.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() error {
		if st := s.Status(); !strings.Contains(st.Refusal, "deleted") || st.Revision != 6 {
			return fmt.Errorf("status %+v, want revision 6 and a refusal of the deletion", st)
		}
		return nil
	})
	// From its disk a second start knows the last good document at once, and the server's deletion doesn't take it away.
	if content, err := s.disk.load(); err != nil || string(content) != doc(6, "gray") {
		t.Errorf("on disk: %q, %v", content, err)
	}
}

// TestLiveConnectionLoss is run anew without the race detector where it is on: the stock client (2.3.5) reads its current
// connection and its status without the lock or the atomics that it writes them with, so that each reconnect is a race of
// its own. What this package does then is run under the detector by the tests with a fake client.
func TestLiveConnectionLoss(t *testing.T) {
	addr := testenv.Nacos(t)
	if raceEnabled {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-race=false", "-count=1", "-v", "-run", "^"+t.Name()+"$", ".")
		out, err := cmd.CombinedOutput()
		if t.Logf("without the race detector:\n%s", out); err != nil {
			t.Errorf("without the race detector: %v", err)
		}
		return
	}
	t.Run("away at the start", func(t *testing.T) { testAwayAtTheStart(t, addr) })
	t.Run("reconnect", func(t *testing.T) { testLostConnections(t, addr) })
}

func testAwayAtTheStart(t *testing.T, addr string) {
	p := newProxy(t, addr)
	service := unique("c")
	group := WithRulesDocument(graylib.RulesDataID, unique("GROUP"))
	client, err := Dial(within(t, 30*time.Second), graylib.Config{NacosAddr: addr}, slog.New(slog.DiscardHandler), group)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Publish(within(t, 30*time.Second), []byte(doc(1, "gray")), ""); err != nil {
		t.Fatal(err)
	}
	st := &states{}
	began := time.Now()
	l := newLives(t, addr).open(t, graylib.Identity{Service: "c", Instance: "c-1"}, group, p.option(), WithOnState(st.set))
	t.Logf("opened after %v with Nacos away", time.Since(began))
	reg := graylib.Registration{Service: service, Addr: "127.0.0.1:31003"}
	if err := l.registry.Register(within(t, 30*time.Second), reg); !errors.Is(err, ErrUnreachable) {
		t.Errorf("register: %v, want ErrUnreachable", err)
	}
	table, err := l.registry.Table(within(t, 30*time.Second), service)
	if !errors.Is(err, ErrUnreachable) || len(inTable(table)) != 0 {
		t.Errorf("table: %v, %v; want an empty one and ErrUnreachable", inTable(table), err)
	}
	if why, _ := st.get("registration " + service); why == "" {
		t.Error("ready with Nacos away")
	}
	wantStatus(t, l.rules, 0, originNone)

	p.up(t)
	began = time.Now()
	eventually(t, 30*time.Second, tableIs(table, reg.Addr))
	eventually(t, 30*time.Second, func() error {
		if why, _ := st.get("registration " + service); why != "" {
			return fmt.Errorf("not ready: %s", why)
		}
		if got := l.rules.Status(); got.Origin != originNacos || got.Revision != 1 {
			return fmt.Errorf("rules %+v, want revision 1 from nacos", got)
		}
		return nil
	})
	t.Logf("registered, found and ruled %v after Nacos's return", time.Since(began))
}

func testLostConnections(t *testing.T, addr string) {
	ls := newLives(t, addr)
	service := unique("d")
	provider, caller := newProxy(t, addr), newProxy(t, addr)
	provider.up(t)
	caller.up(t)
	endpoint, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer endpoint.Close()
	alive, dead := endpoint.Addr().String(), "127.0.0.1:1" // nothing listens on port 1
	for i, at := range []string{alive, dead} {
		l := ls.open(t, graylib.Identity{Service: "d", Instance: fmt.Sprint("d-", i)}, provider.option())
		if err := l.registry.Register(within(t, 30*time.Second), graylib.Registration{Service: service, Addr: at}); err != nil {
			t.Fatal(err)
		}
	}
	l := ls.open(t, graylib.Identity{Service: "a", Instance: "a-1"}, caller.option())
	table, err := l.registry.Table(within(t, 30*time.Second), service)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, tableIs(table, alive, dead))

	// The server loses its providers and its caller, as when it is restarted, and the caller is back first.
	caller.down()
	provider.down()
	throughout(t, 2*time.Second, tableIs(table, alive, dead)) // G8 fail-static
	caller.up(t)
	eventually(t, 30*time.Second, tableIs(table, alive)) // the list is empty; one of them refuses connections
	throughout(t, 3*time.Second, tableIs(table, alive))
	provider.up(t)
	began := time.Now()
	eventually(t, 30*time.Second, tableIs(table, alive, dead))
	t.Logf("registered again %v after Nacos's return", time.Since(began))
}

func TestDialFailsFast(t *testing.T) {
	addr := graylibtest.ReserveAddr(t)
	began := time.Now()
	_, err := Dial(t.Context(), graylib.Config{NacosAddr: addr}, nil, WithGRPCPortOffset(0))
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v, want one line that wraps ErrUnreachable and names %s", err, addr)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// A server that takes connections and never answers holds up neither the start nor the end.
func TestHangingServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr := l.Addr().String()
	const patient = 10 * time.Second // a busy machine's; the client's own limits come to 1 s at most
	step := func(what string, limit time.Duration, fn func()) {
		t.Helper()
		began := time.Now()
		if fn(); time.Since(began) > limit {
			t.Errorf("%s took %v, want at most %v", what, time.Since(began), limit)
		}
	}
	var registry graylib.Registry
	var source graylib.RulesSource
	step("Open", patient, func() {
		registry, source, err = Open(graylib.Identity{Service: "a"}, graylib.Config{NacosAddr: addr}, slog.New(slog.DiscardHandler),
			WithGRPCPortOffset(0), WithStateDir(t.TempDir()), WithStartWait(100*time.Millisecond), WithTimeout(500*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
	})
	step("Register", patient, func() {
		err := registry.Register(within(t, 100*time.Millisecond), graylib.Registration{Service: "a", Addr: "127.0.0.1:31004"})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("register: %v", err)
		}
	})
	step("Table", patient, func() {
		if table, err := registry.Table(within(t, 100*time.Millisecond), "b"); table == nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("table: %v, %v", table, err)
		}
	})
	step("Close", patient, func() {
		_ = registry.Close() // what the server never heard of needs no acknowledgement, and what it might have gets none
		if err := source.Close(); err != nil {
			t.Error(err)
		}
	})
}
