package localinfra

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/proc"
)

// needServers skips a test of the real servers where they cannot run; in CI they must.
func needServers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: -short leaves the real servers out")
	}
	_, noJava := exec.LookPath("java")
	_, noMaven := exec.LookPath("mvn")
	if err := errors.Join(noJava, noMaven); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI=true needs the real servers: %v", err)
		}
		t.Skipf("SKIPPED: the real servers cannot run here: %v", err)
	}
}

// testPorts are away from the usual ones, which something else may use; where they are taken they move.
func testPorts(o Options) Options {
	o.Nacos, o.Namesrv, o.Broker = Port{Number: 30148}, Port{Number: 30376}, Port{Number: 30411}
	return o
}

func TestRealServers(t *testing.T) {
	needServers(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	// A neighbour has Nacos's Raft port: the whole group must move.
	wanted := quiet(t, 30148, inGroup(Nacos, 0, 10)...)
	occupy(t, wanted-1000)
	state := filepath.Join(t.TempDir(), "state with a space")
	o := testPorts(Options{
		State:        state,
		BrokerConfig: map[string]string{"messageDelayLevel": "1s 2s 3s"},
		Progress: func(e Event) {
			t.Logf("%-8s %-8s %s done=%t %s %v", e.Server, e.Step, e.Detail, e.Done, e.Took.Round(time.Millisecond), e.Problem)
		},
	})
	o.Nacos.Number = wanted
	// What a Nacos leaves that was killed while it made its database.
	if err := os.MkdirAll(filepath.Join(state, Nacos, "data", "derby-data", "seg0"), 0o755); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	t.Logf("all usable after %s", time.Since(begin).Round(time.Millisecond))
	if got, want := s.NacosAddr(), address(wanted+portStep); got != want {
		t.Errorf("NacosAddr = %q, want %q: the group moves together", got, want)
	}

	t.Run("config", func(t *testing.T) { configRoundTrip(t, s.NacosAddr()) })
	t.Run("message", func(t *testing.T) { messageRoundTrip(t, s, 0) })
	t.Run("setting", func(t *testing.T) {
		body, err := remoting(ctx, s.BrokerAddr(), 26, nil, nil) // GET_BROKER_CONFIG
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"messageDelayLevel=1s 2s 3s", "enablePropertyFilter=true"} {
			if !strings.Contains(string(body), want) {
				t.Errorf("the broker's configuration lacks %q", want)
			}
		}
	})
	t.Run("bound to loopback", func(t *testing.T) { boundToLoopback(t, s) })
	t.Run("state in use", func(t *testing.T) {
		if _, err := Start(ctx, o); !errors.Is(err, ErrStateInUse) {
			t.Errorf("a second Start = %v, want ErrStateInUse", err)
		}
	})
	t.Run("restart of the name server", func(t *testing.T) {
		if err := s.Namesrv.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := routed(ctx, s.NamesrvAddr(), readyTopic, s.BrokerAddr()); err != nil {
			t.Errorf("right after a restart: %v", err)
		}
	})
	t.Run("kill and restart of the broker", func(t *testing.T) {
		if err := s.Broker.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Broker.Restart(ctx); err != nil {
			t.Fatal(err)
		}
		messageRoundTrip(t, s, 1)
	})
	t.Run("one more broker", func(t *testing.T) {
		if _, err := s.AddBroker(ctx, Broker, Port{}, nil); !errors.Is(err, ErrOption) {
			t.Errorf("a name twice = %v, want ErrOption", err)
		}
		b, err := s.AddBroker(ctx, "broker-b", Port{Number: 30431}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range []string{s.BrokerAddr(), b.Addr()} {
			if err := routed(ctx, s.NamesrvAddr(), readyTopic, addr); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("pause and resume of Nacos", func(t *testing.T) {
		ready := "http://" + s.NacosAddr() + "/nacos/v3/admin/core/state/readiness"
		if err := s.Nacos.Pause(); err != nil {
			t.Fatal(err)
		}
		if err := httpOK(ctx, ready); err == nil {
			t.Error("a paused Nacos answers")
		}
		if err := s.Nacos.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := s.Nacos.Process().WaitReady(ctx, readyPoll, func(ctx context.Context) error { return httpOK(ctx, ready) }); err != nil {
			t.Error(err)
		}
	})
	for _, p := range s.Phases() {
		t.Logf("phase %-8s %-8s %s", p.Server, p.Name, p.Took.Round(time.Millisecond))
	}

	var pids []int
	for _, server := range s.all() {
		pids = append(pids, server.Process().PID())
	}
	begin = time.Now()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped after %s", time.Since(begin).Round(time.Millisecond))
	select {
	case e := <-s.Group().Deaths():
		t.Errorf("a death that nobody asked for: %v", e)
	default:
	}
	for _, server := range []*Server{s.Nacos, s.Broker} {
		if e := server.Process().Exit(); e.Signal != 0 && e.Code != 143 {
			t.Errorf("%s was not stopped gracefully: %s", server.Name(), e.Status())
		}
	}
	for _, pid := range pids {
		if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			t.Errorf("process %d is left", pid)
		}
	}
	for _, p := range s.Ports() {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, fmt.Sprint(p.Number)))
		if err != nil {
			t.Errorf("port %d (%s, %s) is still taken: %v", p.Number, p.Server, p.Purpose, err)
			continue
		}
		l.Close()
	}
}

// TestServerThatDiesIsNamed lets a server end by itself: the error must name it and quote its log.
func TestServerThatDiesIsNamed(t *testing.T) {
	needServers(t)
	o := testPorts(Options{State: t.TempDir(), Discard: true, BrokerJVM: []string{"-XX:NoSuchFlag=1"}})
	begin := time.Now()
	_, err := Start(t.Context(), o)
	var e *proc.Exit
	if !errors.Is(err, ErrServer) || !errors.As(err, &e) || e.Name != Broker || !strings.Contains(err.Error(), "NoSuchFlag") {
		t.Errorf("Start = %v, want ErrServer with the broker's exit and its log", err)
	}
	t.Logf("after %s: %v", time.Since(begin).Round(time.Millisecond), err)
}

// configRoundTrip publishes a configuration by the HTTP interface and reads it back.
func configRoundTrip(t *testing.T, addr string) {
	api := "http://" + addr + "/nacos/v3/admin/cs/config"
	resp, err := plainHTTP.PostForm(api, url.Values{"dataId": {"probe"}, "groupName": {"G"}, "content": {"hello"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("publish: %s", resp.Status)
	}
	resp, err = plainHTTP.Get(api + "?dataId=probe&groupName=G")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), `"content":"hello"`) {
		t.Errorf("read back: %s %s %v", resp.Status, body, err)
	}
}

// messageRoundTrip sends a message to a queue that holds some already and reads it back.
func messageRoundTrip(t *testing.T, s *Servers, before int) {
	ctx := t.Context()
	text := fmt.Sprintf("hello %d", before)
	if _, err := remoting(ctx, s.BrokerAddr(), 10, map[string]string{ // SEND_MESSAGE
		"producerGroup": "g", "topic": "PROBE", "defaultTopic": "TBW102", "defaultTopicQueueNums": "4", "queueId": "0", "sysFlag": "0",
		"bornTimestamp": fmt.Sprint(time.Now().UnixMilli()), "flag": "0", "properties": "", "reconsumeTimes": "0",
	}, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := s.Broker.Process().WaitReady(ctx, readyPoll, func(ctx context.Context) error {
		return routed(ctx, s.NamesrvAddr(), "PROBE", s.BrokerAddr())
	}); err != nil {
		t.Fatal(err)
	}
	// The consume queue is built a moment after the send is answered.
	limit, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.Broker.Process().WaitReady(limit, readyPoll, func(ctx context.Context) error {
		body, err := remoting(ctx, s.BrokerAddr(), 11, map[string]string{ // PULL_MESSAGE
			"consumerGroup": "probe", "topic": "PROBE", "queueId": "0", "queueOffset": fmt.Sprint(before), "maxMsgNums": "1", "sysFlag": "4",
			"commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "0", "expressionType": "TAG",
		}, nil)
		if err == nil && !strings.Contains(string(body), text) {
			err = fmt.Errorf("pulled %q", body)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// boundToLoopback checks that of the servers' ports only those listed as Everywhere answer on another address.
func boundToLoopback(t *testing.T, s *Servers) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	other := ""
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			other = n.IP.String()
		}
	}
	for _, p := range s.Ports() {
		if err := accepts(t.Context(), net.JoinHostPort(loopback, fmt.Sprint(p.Number))); err != nil {
			t.Errorf("%s's port %d (%s) is listed and nobody listens: %v", p.Server, p.Number, p.Purpose, err)
		}
		if other == "" {
			continue
		}
		err := accepts(t.Context(), net.JoinHostPort(other, fmt.Sprint(p.Number)))
		if (err == nil) != p.Everywhere {
			t.Errorf("%s's port %d (%s) on %s: %v, but Everywhere is %t", p.Server, p.Number, p.Purpose, other, err, p.Everywhere)
		}
	}
	if other == "" {
		t.Log("this machine has no address but loopback: what is open elsewhere was not checked")
	}
}
