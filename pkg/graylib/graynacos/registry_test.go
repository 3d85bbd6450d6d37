package graynacos

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
)

func host(ip string, tag string) model.Instance {
	h := model.Instance{Ip: ip, Port: 80, Weight: 1, Healthy: true, Enable: true, Metadata: map[string]string{}}
	if tag != "" {
		h.Metadata[graylib.MetadataTag] = tag
	}
	return h
}

func inTable(t *graylib.Table) []string { return addrs(t.Load().Instances()) }

// reconnect is the line that the stock client logs after a reconnect.
func reconnect() {
	sdk.Infof("%s success to connect a server %+v, connectionId=%s", "5f1e", "{nacos 8848 9848}", "1")
}

// states collects what a registry says of its components.
type states struct {
	mu sync.Mutex
	m  map[string]string
}

func (s *states) set(component, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[string]string{}
	}
	s.m[component] = why
}

func (s *states) get(component string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	why, ok := s.m[component]
	return why, ok
}

func TestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		f.hosts["b"] = []model.Instance{host("10.0.0.1", ""), host("10.0.0.2", "gray"), host("10.0.0.3", "GRAY")}
		r, log := newFakeRegistry(f, graylib.Identity{Service: "a"})
		defer r.Close()
		table, err := r.Table(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"10.0.0.1:80", "10.0.0.2:80"}, inTable(table)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if lane := table.Load().Lane("gray"); lane == nil || lane.Len() != 1 {
			t.Error("lane gray has not its one instance")
		}
		again, err := r.Table(t.Context(), "b")
		if again != table || err != nil {
			t.Errorf("a second call returned another table, or %v", err)
		}
		f.push("b", host("10.0.0.3", "GRAY"))
		f.push("b")
		if got := inTable(table); len(got) != 0 {
			t.Errorf("the last instance went, and %v stays", got)
		}
		if n := strings.Count(log.String(), "is registered with a malformed tag"); n != 1 {
			t.Errorf("the malformed tag was logged %d times, want once:\n%s", n, log)
		}
	})
}

func TestTableWithNacosAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		f.away = true
		f.hosts["b"] = []model.Instance{host("10.0.0.1", "")}
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "a"})
		defer r.Close()
		for range 2 {
			table, err := r.Table(t.Context(), "b")
			if !errors.Is(err, ErrUnreachable) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want one line that wraps ErrUnreachable", err)
			}
			if table == nil || len(inTable(table)) != 0 {
				t.Fatal("want an empty table beside the error")
			}
		}
		time.Sleep(time.Minute)
		f.setAway(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		table, err := r.Table(t.Context(), "b")
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"10.0.0.1:80"}, inTable(table)); diff != "" {
			t.Errorf("2 s after Nacos's return (-want +got):\n%s", diff)
		}
		if n := len(f.callbacks["b"]); n != 1 {
			t.Errorf("%d callbacks, want one", n)
		}
	})
}

func TestTableWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, _ := newLog()
		hang := make(chan struct{})
		f := newFakeNaming()
		r := newRegistry(fakeCluster(), graylib.Identity{Service: "a"}, log, newOptions(nil),
			func() (namingClient, error) { <-hang; return f, nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		table, err := r.Table(ctx, "b")
		if !errors.Is(err, context.DeadlineExceeded) || table == nil {
			t.Errorf("table %v, error %v; want an empty table and the context's error", table, err)
		}
		close(hang)
		f.push("b", host("10.0.0.1", ""))
		time.Sleep(time.Second)
		synctest.Wait()
		if got, err := r.Table(t.Context(), "b"); got != table || err != nil || len(inTable(table)) != 1 {
			t.Errorf("table %v, error %v; want the same table, filled", inTable(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if got, err := r.Table(t.Context(), "b"); got != table || !errors.Is(err, ErrClosed) {
			t.Errorf("once it is closed: table %p, want %p, and %v, want ErrClosed", got, table, err)
		}
	})
}

func TestTableSurvivesAListFromAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		f.push("b", host("10.0.0.1", "")) // in the client's cache before the callback is there
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "a"})
		defer r.Close()
		table, err := r.Table(t.Context(), "b")
		if err != nil || len(inTable(table)) != 1 {
			t.Errorf("table %v, error %v; want one instance", inTable(table), err)
		}
	})
}

func TestReconnect(t *testing.T) {
	t.Run("away", func(t *testing.T) { testReconnect(t, func(f *fakeNaming, on bool) { f.away = on }) })
	t.Run("refusing", func(t *testing.T) { testReconnect(t, func(f *fakeNaming, on bool) { f.refuse = on }) })
}

func testReconnect(t *testing.T, starting func(f *fakeNaming, on bool)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		f.hosts["b"] = []model.Instance{host("10.0.0.1", "")}
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "a"})
		defer r.Close()
		table, err := r.Table(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Register(t.Context(), graylib.Registration{Service: "a", Addr: "10.0.0.9:80"}); err != nil {
			t.Fatal(err)
		}
		registers, subscribes := f.calls("register a"), f.calls("subscribe b")
		f.mu.Lock()
		clear(f.registered)
		starting(f, true) // the server is still starting: what the client repeats is refused
		f.mu.Unlock()
		reconnect()
		sdk.Infof("%s success to connect a server %+v, connectionId=%s", "config-0-5f1e", "{nacos 8848 9848}", "2")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if diff := cmp.Diff([]string{"10.0.0.1:80"}, inTable(table)); diff != "" {
			t.Errorf("broke G8 fail-static: while the server starts (-want +got):\n%s", diff)
		}
		f.mu.Lock()
		starting(f, false)
		f.hosts["b"] = []model.Instance{host("10.0.0.1", ""), host("10.0.0.2", "gray")}
		f.mu.Unlock()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := f.registered["a"]; !ok {
			t.Error("not registered again after a reconnect")
		}
		if diff := cmp.Diff([]string{"10.0.0.1:80", "10.0.0.2:80"}, inTable(table)); diff != "" {
			t.Errorf("after a reconnect (-want +got):\n%s", diff)
		}
		if n := len(f.callbacks["b"]); n != 1 {
			t.Errorf("%d callbacks, want one", n)
		}
		if f.calls("register a") <= registers+1 || f.calls("subscribe b") <= subscribes+1 {
			t.Error("a refused attempt after a reconnect was not repeated")
		}
	})
}

func TestRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, st := newFakeNaming(), &states{}
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "b", Tag: "gray", Instance: "b-gray-1"}, WithOnState(st.set))
		reg := graylib.Registration{Service: "b.rpc", Addr: "10.0.0.1:12080",
			Metadata: map[string]string{"k": "v", graylib.MetadataTag: "blue", graylib.MetadataService: "x"}}
		if err := r.Register(t.Context(), reg); err != nil {
			t.Fatal(err)
		}
		p := f.registered["b.rpc"]
		if p.Ip != "10.0.0.1" || p.Port != 12080 || p.Weight != 1 || !p.Enable || !p.Healthy || !p.Ephemeral || p.GroupName != "DEFAULT_GROUP" {
			t.Errorf("registered %+v", p)
		}
		want := map[string]string{"k": "v", graylib.MetadataTag: "gray", graylib.MetadataService: "b", graylib.MetadataInstance: "b-gray-1"}
		if diff := cmp.Diff(want, p.Metadata); diff != "" {
			t.Errorf("metadata (-want +got):\n%s", diff)
		}
		if why, ok := st.get("registration b.rpc"); !ok || why != "" {
			t.Errorf("state %q, %v; want ready", why, ok)
		}
		if err := r.Register(t.Context(), reg); err != nil || f.calls("register b.rpc") != 1 {
			t.Errorf("the same registration again: %v, %d requests", err, f.calls("register b.rpc"))
		}
		other := reg
		other.Addr = "10.0.0.1:12081"
		if err := r.Register(t.Context(), other); !errors.Is(err, ErrRegistration) {
			t.Errorf("a second address of one service: error %v, want ErrRegistration", err)
		}
		reg.Weight = 5
		if err := r.Register(t.Context(), reg); err != nil || f.registered["b.rpc"].Weight != 5 {
			t.Errorf("another weight: %v, %+v", err, f.registered["b.rpc"])
		}
		if err := r.Deregister(t.Context(), other); err != nil || len(f.registered) != 1 {
			t.Errorf("taking back what isn't registered: %v, %d left", err, len(f.registered))
		}
		if err := r.Deregister(t.Context(), reg); err != nil || len(f.registered) != 0 {
			t.Errorf("deregister: %v, %d left", err, len(f.registered))
		}
		if why, _ := st.get("registration b.rpc"); why == "" {
			t.Error("deregistered, and still ready")
		}
		if err := r.Close(); err != nil || !f.closed {
			t.Errorf("close: %v, client closed: %v", err, f.closed)
		}
		if err := r.Register(t.Context(), reg); !errors.Is(err, ErrClosed) {
			t.Errorf("register after close: %v", err)
		}
	})
}

func TestRegisterWithNacosAway(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f, st := newFakeNaming(), &states{}
			f.away, f.refuse = !refuse, refuse
			want := ErrUnreachable
			if refuse {
				want = ErrRefused
			}
			r, log := newFakeRegistry(f, graylib.Identity{Service: "a"})
			defer r.Close()
			reg := graylib.Registration{Service: "a", Addr: "10.0.0.1:80"}
			for range 3 { // as Runtime.Announce does
				if err := r.Register(t.Context(), reg); !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
			}
			r.OnState(st.set)
			if why, _ := st.get("registration a"); !strings.Contains(why, want.Error()) {
				t.Errorf("state %q, want why it isn't registered", why)
			}
			if table, err := r.Table(t.Context(), "b"); !errors.Is(err, want) || table == nil {
				t.Errorf("table: error %v, want %v", err, want)
			}
			time.Sleep(time.Minute)
			f.mu.Lock()
			f.away, f.refuse = false, false
			f.mu.Unlock()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if len(f.registered) != 1 {
				t.Error("not registered 2 s after Nacos's return")
			}
			if why, _ := st.get("registration a"); why != "" {
				t.Errorf("state %q, want ready", why)
			}
			if n := strings.Count(log.String(), "can't register yet"); n != 1 {
				t.Errorf("logged %d times, want once:\n%s", n, log)
			}
		})
	}
}

func TestDeregisterWithNacosAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "a"})
		reg := graylib.Registration{Service: "a", Addr: "10.0.0.1:80"}
		if err := r.Register(t.Context(), reg); err != nil {
			t.Fatal(err)
		}
		f.setAway(true)
		began := time.Now()
		if err := r.Deregister(t.Context(), reg); err == nil {
			t.Error("no error without an acknowledgement")
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("tried for %v, want the timeout of one request", took)
		}
		reg.Service = "never"
		if err := r.Register(t.Context(), reg); err == nil {
			t.Error("registered with Nacos away")
		}
		began = time.Now()
		if err := r.Deregister(t.Context(), reg); err != nil || time.Since(began) > 0 {
			t.Errorf("taking back what was never registered: %v after %v, want nil at once", err, time.Since(began))
		}
		r.Close()
	})
}

func TestDeregisterComesAfterARegistrationUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		f.slow = time.Second
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "a"})
		defer r.Close()
		reg := graylib.Registration{Service: "a", Addr: "10.0.0.1:80"}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := r.Register(ctx, reg); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("register: %v, want the context's error", err)
		}
		if err := r.Deregister(t.Context(), reg); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(f.registered) != 0 {
			t.Error("registered after it was taken back")
		}
	})
}

func TestReconnectOfTheConfigClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "a"})
		defer r.Close()
		if err := r.Register(t.Context(), graylib.Registration{Service: "a", Addr: "10.0.0.1:80"}); err != nil {
			t.Fatal(err)
		}
		sdk.Infof("%s success to connect a server %+v, connectionId=%s", "config-0-5f1e", "{nacos 8848 9848}", "2")
		time.Sleep(10 * time.Second)
		if n := f.calls("register a"); n != 1 {
			t.Errorf("registered %d times, want once: the registry's connection was not lost", n)
		}
	})
}

func TestRegisterRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "a"})
		defer r.Close()
		for _, reg := range []graylib.Registration{
			{Addr: "10.0.0.1:80"},
			{Service: "a b", Addr: "10.0.0.1:80"},
			{Service: "a@@b", Addr: "10.0.0.1:80"},
			{Service: "a", Addr: "10.0.0.1"},
			{Service: "a", Addr: ":80"},
			{Service: "a", Addr: "10.0.0.1:0"},
			{Service: "a", Addr: "0.0.0.0:80"},
			{Service: "a", Addr: "[::]:80"},
			{Service: "a", Addr: "10.0.0.1:80", Weight: -1},
			{Service: "a", Addr: "10.0.0.1:80", Weight: 10001},
		} {
			if err := r.Register(t.Context(), reg); !errors.Is(err, ErrRegistration) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%+v: error %v, want one line that wraps ErrRegistration", reg, err)
			}
		}
		if len(f.log) != 0 {
			t.Errorf("requests were made: %v", f.log)
		}
	})
}

func TestCloseTakesBackWhatIsRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeNaming()
		r, _ := newFakeRegistry(f, graylib.Identity{Service: "b"})
		for _, s := range []string{"b", "b.rpc"} {
			if err := r.Register(t.Context(), graylib.Registration{Service: s, Addr: "10.0.0.1:80"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		if len(f.registered) != 0 || !f.closed {
			t.Errorf("%d left registered, client closed: %v", len(f.registered), f.closed)
		}
		if _, err := r.Table(t.Context(), "c"); !errors.Is(err, ErrClosed) {
			t.Errorf("a table after close: %v", err)
		}
	})
}
