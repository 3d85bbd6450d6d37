package suite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/proc"
	"github.com/graychain/graychain/pkg/graylib"
)

// TestMain makes of the test program a service where it is called by a service's name: one that answers what a suite asks,
// and nothing else.
func TestMain(m *testing.M) {
	proc.GuardMain()
	if name := filepath.Base(os.Args[0]); slices.Contains(Services, name) {
		os.Exit(fakeService(name))
	}
	os.Exit(m.Run())
}

func fakeService(name string) int {
	fmt.Println("this is", name, "tag", os.Getenv("GRAY_TAG"))
	switch os.Getenv("FAKE") {
	case "die":
		fmt.Println("no reason to live")
		return 3
	case "unready":
		fmt.Println("waiting for a better world")
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("BIND"), os.Getenv("HTTP_PORT")))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	mux := http.NewServeMux()
	mux.HandleFunc(graylib.ReadyPath, func(w http.ResponseWriter, _ *http.Request) {
		if os.Getenv("FAKE") == "unready" {
			http.Error(w, "consumer test-a: no broker", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc(graylib.StatusPath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(graylib.Status{Service: name, Tag: graylib.Tag(os.Getenv("GRAY_TAG"))})
	})
	go func() { _ = http.Serve(ln, mux) }()
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	<-end
	return 0
}

// fakeBin is a folder in which each service is the test program.
func fakeBin(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, s := range Services {
		if err := os.Symlink(self, filepath.Join(dir, s)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// testPorts lie below those that the kernel gives to the connections of other tests.
var testPorts = Ports{Gateway: 26010, A: 26011, B: 26012, C: 26013, BRPC: 26014, CRPC: 26015}

func start(t *testing.T, o Options) *Suite {
	t.Helper()
	if o.State == "" {
		o.State = t.TempDir()
	}
	if o.Bin == "" {
		o.Bin = fakeBin(t)
	}
	nacos := httptest.NewServer(http.NotFoundHandler()) // one that can't list instances
	t.Cleanup(nacos.Close)
	o.NacosAddr, o.NamesrvAddr, o.Ports = nacos.Listener.Addr().String(), "127.0.0.1:1", testPorts
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return s
}

func TestLanesComeAndGo(t *testing.T) {
	s := start(t, Options{})
	ctx := t.Context()
	if err := s.Add(ctx, Baseline, Lane{"gray", []string{"a", "c"}}); err != nil {
		t.Fatal(err)
	}
	names := func() string {
		var out []string
		for _, i := range s.Instances() {
			out = append(out, i.Name)
		}
		return strings.Join(out, " ")
	}
	if got := names(); got != "gateway a b c a-gray c-gray" {
		t.Errorf("instances: %s", got)
	}
	st, err := s.Instance("c-gray").Status(ctx)
	if err != nil || st.Tag != "gray" || st.Service != "c" {
		t.Errorf("status of c-gray: %+v, %v", st, err)
	}
	if err := s.AddLane(ctx, "gray", "a"); err != nil { // a second instance of a
		t.Fatal(err)
	}
	second := s.Instance("a-gray-2")
	if second == nil || !second.Live() || second.HTTP == s.Instance("a-gray").HTTP {
		t.Fatalf("second instance %+v", second)
	}
	if err := second.Kill(); err != nil {
		t.Fatal(err)
	}
	if second.Live() || !s.live()["gray"]["a"] {
		t.Error("after one of two is killed the lane should live, and that one not")
	}
	if err := second.Start(ctx); err != nil || !second.Live() {
		t.Errorf("started again: live %v, %v", second.Live(), err)
	}
	if err := second.Start(ctx); err == nil {
		t.Error("started twice")
	}
	if err := s.RemoveLane(ctx, "gray"); err != nil {
		t.Fatal(err)
	}
	if got := names(); got != "gateway a b c" {
		t.Errorf("instances after removal: %s", got)
	}
	if err := s.RemoveLane(ctx, "gray"); !errors.Is(err, ErrNoLane) {
		t.Errorf("removed twice: %v", err)
	}
	info, err := Find(s.State())
	if err != nil || info.PID != os.Getpid() || len(info.Instances) != 4 || info.Gateway != "http://"+addr(testPorts.Gateway) {
		t.Errorf("Find: %+v, %v", info, err)
	}
	client := NewClient(info)
	defer client.Close()
	if info, err = client.Info(ctx); err != nil || len(info.Instances) != 4 {
		t.Errorf("Info of another process: %+v, %v", info, err)
	}
}

func TestTakenPortsMoveTheGroup(t *testing.T) {
	ln, err := net.Listen("tcp", addr(testPorts.B))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	s := start(t, Options{})
	if err := s.Add(t.Context(), Baseline); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Instance("gateway").HTTP, addr(testPorts.Gateway+10); got != want {
		t.Errorf("gateway at %s, want %s", got, want)
	}
	fixed := start(t, Options{FixedPorts: true})
	err = fixed.Add(t.Context(), Baseline)
	if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), fmt.Sprint(testPorts.B, " of b (HTTP)")) {
		t.Errorf("fixed ports: %v", err)
	}
}

func TestDeadServiceIsNamed(t *testing.T) {
	s := start(t, Options{ServiceEnv: map[string]map[string]string{"b": {"FAKE": "die"}}})
	err := s.Add(t.Context(), Baseline)
	if err == nil || !strings.Contains(err.Error(), "service b") || !strings.Contains(err.Error(), "no reason to live") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v, want one that names b, its status, and the end of its log", err)
	}
	if n := len(s.Instances()); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}

func TestUnreadyServiceIsNamed(t *testing.T) {
	s := start(t, Options{ReadyLimit: 10 * time.Second, ServiceEnv: map[string]map[string]string{"a": {"FAKE": "unready"}}})
	err := s.Add(t.Context(), Baseline)
	for _, want := range []string{"service a", "consumer test-a: no broker", "waiting for a better world"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

func TestDeathIsReported(t *testing.T) {
	s := start(t, Options{})
	if err := s.Add(t.Context(), Baseline); err != nil {
		t.Fatal(err)
	}
	c := s.Instance("c")
	if err := syscall.Kill(c.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case exit := <-s.Deaths():
		if exit.Name != ServicePrefix+"c" || !strings.Contains(exit.Error(), "this is c") {
			t.Errorf("death %v", exit)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no death was reported")
	}
	if c.Live() {
		t.Error("c counts as live")
	}
}

func TestASecondSuiteIsTold(t *testing.T) {
	s := start(t, Options{})
	_, err := Start(t.Context(), Options{State: s.State(), Bin: s.bin, NacosAddr: "127.0.0.1:1", NamesrvAddr: "127.0.0.1:1"})
	if !errors.Is(err, ErrRuns) || !strings.Contains(err.Error(), fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("error %v, want %v with the pid", err, ErrRuns)
	}
	if _, err := Find(t.TempDir()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestWrongOptions(t *testing.T) {
	empty := t.TempDir()
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"no state", Options{}, "no state folder"},
		{"half of the servers", Options{State: t.TempDir(), NacosAddr: "x:1"}, "give both addresses or none"},
		{"a bin without services", Options{State: t.TempDir(), Bin: empty}, "service gateway"},
		{"ports that are none", Options{State: t.TempDir(), Ports: Ports{Gateway: 70000}}, "port 70000"},
	} {
		_, err := Start(t.Context(), tc.o)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.want)
		}
	}
}

// TestRegistry: what Nacos lists must be what lives, no more and no less.
func TestRegistry(t *testing.T) {
	list := map[string]string{} // endpoint -> JSON of its instances
	nacos := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != registryPath {
			http.NotFound(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, `{"code":0,"data":[%s]}`, list[r.URL.Query().Get("serviceName")])
	}))
	defer nacos.Close()
	s := &Suite{options: Options{NacosAddr: nacos.Listener.Addr().String(), Ports: DefaultPorts}, client: nacos.Client()}
	live := []*Instance{{Service: "b", HTTP: "127.0.0.1:20002", RPC: "127.0.0.1:12080"}}
	const http1, rpc1 = `{"ip":"127.0.0.1","port":20002,"healthy":true,"enabled":true}`, `{"ip":"127.0.0.1","port":12080,"healthy":true,"enabled":true}`
	for _, tc := range []struct {
		name string
		list map[string]string
		want string
	}{
		{"as it should be", map[string]string{"b": http1, "b.rpc": rpc1}, ""},
		{"one missing", map[string]string{"b": http1}, "nacos lists b.rpc at [], live are [127.0.0.1:12080]"},
		{"one too many", map[string]string{"b": http1, "b.rpc": rpc1, "c": http1}, "nacos lists c at [127.0.0.1:20002], live are []"},
		{"an unhealthy one is none", map[string]string{"b": http1, "b.rpc": strings.Replace(rpc1, `"healthy":true`, `"healthy":false`, 1)}, "nacos lists b.rpc at []"},
		{"nonsense", map[string]string{"b": "{", "b.rpc": rpc1}, "nacos: /nacos/v3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list = tc.list
			got := s.registry(t.Context(), live)
			if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
