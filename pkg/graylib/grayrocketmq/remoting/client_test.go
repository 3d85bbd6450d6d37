package remoting

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

func newClient(t *testing.T, c Config) *Client {
	t.Helper()
	cl, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// TestSideBySide: answers come in another order than requests, over one connection.
func TestSideBySide(t *testing.T) {
	s := remotingtest.Start(t)
	late := make(chan struct{})
	s.Handle(reqMaxOffset, func(r remotingtest.Request) remotingtest.Response {
		resp := remotingtest.Response{Ext: map[string]string{"offset": r.Ext["queueId"]}}
		if r.Ext["queueId"] == "0" {
			resp.Late = late
		}
		return resp
	})
	c := newClient(t, Config{NameServers: []string{s.Addr}})
	ask := func(id int) {
		got, err := c.MaxOffset(t.Context(), s.Addr, Queue{Topic: "T", Broker: "b", ID: id})
		if err != nil || got != int64(id) {
			t.Errorf("queue %d: %d, %v", id, got, err)
		}
	}
	var first, wg sync.WaitGroup
	first.Go(func() { ask(0) })
	for i := 1; i < 50; i++ {
		wg.Go(func() { ask(i) })
	}
	wg.Wait()
	close(late)
	first.Wait()
	if got := s.Accepted(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

func TestReconnect(t *testing.T) {
	s := remotingtest.Start(t)
	s.Handle(reqMinOffset, func(remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Ext: map[string]string{"offset": "7"}}
	})
	c := newClient(t, Config{NameServers: []string{s.Addr}})
	for range 3 {
		if got, err := c.MinOffset(t.Context(), s.Addr, Queue{}); err != nil || got != 7 {
			t.Fatalf("%d, %v", got, err)
		}
		s.Drop() // an idle connection that the other side closes costs nothing
	}
	s.Handle(reqMinOffset, func(remotingtest.Request) remotingtest.Response { return remotingtest.Response{Hangup: true} })
	if _, err := c.MinOffset(t.Context(), s.Addr, Queue{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a server that hangs up gave %v, want ErrUnreachable", err)
	}
}

// TestStoredOnce: a broker that stores a message and closes the connection instead of answering isn't sent it again.
func TestStoredOnce(t *testing.T) {
	s := remotingtest.Start(t)
	s.Handle(reqMinOffset, func(remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Ext: map[string]string{"offset": "7"}}
	})
	c := newClient(t, Config{NameServers: []string{s.Addr}})
	for name, store := range map[string]func() error{
		"send":      func() error { return c.Send(t.Context(), s.Addr, "g", Outgoing{Topic: "T"}) },
		"send back": func() error { return c.SendBack(t.Context(), s.Addr, "g", &primitive.MessageExt{}, 0, 16) },
	} {
		if _, err := c.MinOffset(t.Context(), s.Addr, Queue{}); err != nil { // the connection is one that was used before
			t.Fatal(err)
		}
		for _, code := range once {
			s.Handle(code, func(remotingtest.Request) remotingtest.Response { return remotingtest.Response{Hangup: true} })
		}
		before := len(s.Seen())
		if err := store(); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: %v, want ErrUnreachable", name, err)
		}
		if got := len(s.Seen()) - before; got != 1 {
			t.Errorf("%s was asked %d times, want once", name, got)
		}
	}
}

func TestTimeouts(t *testing.T) {
	s := remotingtest.Start(t)
	never := make(chan struct{})
	defer close(never)
	s.Handle(reqMinOffset, func(remotingtest.Request) remotingtest.Response { return remotingtest.Response{Late: never} })
	c := newClient(t, Config{NameServers: []string{s.Addr}, Timeout: time.Second})
	if _, err := c.MinOffset(t.Context(), s.Addr, Queue{}); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer gave %v, want ErrUnreachable and DeadlineExceeded", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.MinOffset(ctx, s.Addr, Queue{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context gave %v", err)
	}
	_ = c.Close()
	if _, err := c.MinOffset(t.Context(), s.Addr, Queue{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed client gave %v, want ErrClosed", err)
	}
}

// TestExpiredRequestLeavesTheOthers: a request whose time is up before it is sent doesn't break the connection that others use.
func TestExpiredRequestLeavesTheOthers(t *testing.T) {
	s := remotingtest.Start(t)
	late, asked := make(chan struct{}), make(chan struct{})
	s.Handle(reqSendBack, func(remotingtest.Request) remotingtest.Response {
		close(asked)
		return remotingtest.Response{Late: late}
	})
	c := newClient(t, Config{NameServers: []string{s.Addr}, Timeout: time.Minute})
	done := make(chan error, 1)
	go func() { done <- c.SendBack(t.Context(), s.Addr, "g", &primitive.MessageExt{}, 0, 16) }()
	<-asked
	c.mu.Lock()
	cn := c.conns[s.Addr]
	c.mu.Unlock()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for range 3 {
		if _, err := cn.do(expired, Command{Code: reqMinOffset}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("an expired request gave %v, want DeadlineExceeded", err)
		}
	}
	if cn.broken() {
		t.Fatal("the connection is broken")
	}
	close(late)
	if err := <-done; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if n := len(s.Seen()); n != 1 {
		t.Errorf("the server was asked %d times, want once", n)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("used", func(t *testing.T) {
		s := remotingtest.Start(t)
		never := make(chan struct{})
		t.Cleanup(func() { close(never) })
		asked := make(chan struct{})
		s.Handle(reqMinOffset, func(remotingtest.Request) remotingtest.Response {
			close(asked)
			return remotingtest.Response{Late: never}
		})
		c := newClient(t, Config{NameServers: []string{s.Addr}})
		done := make(chan error)
		go func() {
			_, err := c.MinOffset(t.Context(), s.Addr, Queue{})
			done <- err
		}()
		<-asked
		_ = c.Close()
		if err := <-done; !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrClosed) {
			t.Errorf("Close gave a request under way %v", err)
		}
	})
}

func TestFailover(t *testing.T) {
	dead := graylibtest.ReserveAddr(t)
	s := remotingtest.Start(t)
	asked := 0
	s.Handle(reqRoute, func(r remotingtest.Request) remotingtest.Response {
		asked++
		if r.Ext["topic"] == "none" {
			return remotingtest.Response{Code: 17, Remark: "No topic route info\nSee https://example.org"}
		}
		return remotingtest.Response{Body: []byte(`{"brokerDatas":[{"brokerAddrs":{0:"h:1",1:"h:2"},"brokerName":"b","cluster":"c"},
			{"brokerAddrs":{1:"h:3"},"brokerName":"slave-only"}],
			"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":2,"writeQueueNums":2},{"brokerName":"shut","perm":2,"readQueueNums":9}]}`)}
	})
	c := newClient(t, Config{NameServers: []string{dead, "http://" + s.Addr}})
	got, err := c.Route(t.Context(), "T")
	if err != nil {
		t.Fatal(err)
	}
	want := Route{Queues: []Queue{{"T", "b", 0}, {"T", "b", 1}}, Brokers: map[string]string{"b": "h:1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("route (-want +got):\n%s", diff)
	}
	_, err = c.Route(t.Context(), "none")
	if !errors.Is(err, ErrNoTopic) || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("got %v, want ErrNoTopic that names it", err)
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2: an answer is an answer", asked)
	}
	_, err = newClient(t, Config{NameServers: []string{dead}}).Route(t.Context(), "T")
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), dead) {
		t.Errorf("got %v, want ErrUnreachable that names %s", err, dead)
	}
}

func TestRouteThatLies(t *testing.T) {
	s := remotingtest.Start(t)
	for _, n := range []string{"2000000000", "-1"} {
		s.Handle(reqRoute, func(remotingtest.Request) remotingtest.Response {
			return remotingtest.Response{Body: []byte(`{"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":` + n + `}]}`)}
		})
		if _, err := newClient(t, Config{NameServers: []string{s.Addr}}).Route(t.Context(), "T"); !errors.Is(err, ErrMalformedFrame) {
			t.Errorf("%s queues gave %v, want ErrMalformedFrame", n, err)
		}
	}
}

// TestSign compares with what client-go's interceptor signs: the values in the order of their keys, then the body.
func TestSign(t *testing.T) {
	c := newClient(t, Config{NameServers: []string{"h:1"}, AccessKey: "RocketMQ", SecretKey: "12345678", SecurityToken: "tok"})
	got := c.sign(Command{Ext: map[string]string{"topic": "T", "queueId": "3"}, Body: []byte("body")})
	// HMAC-SHA1 with key 12345678 of "RocketMQ" + "tok" + "3" + "T" + "body" (openssl dgst -sha1 -hmac).
	want := map[string]string{
		"topic": "T", "queueId": "3", "AccessKey": "RocketMQ", "SecurityToken": "tok", "Signature": "N0QoNQIHeXExg+lsjCRJueAQAr0=",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("signed fields (-want +got):\n%s", diff)
	}
	if got := newClient(t, Config{NameServers: []string{"h:1"}}).sign(Command{}); got != nil {
		t.Errorf("without keys: %v, want no fields", got)
	}
}

// TestConsumerOffset: 5.x says what isn't there; 4.x answers zero for it, as long as the first message is in memory.
func TestConsumerOffset(t *testing.T) {
	offsets := map[string]map[string]string{"five": {"1": "0"}, "late": {"0": "12"}}
	for _, v := range []string{"4", "5"} {
		t.Run("version "+v, func(t *testing.T) {
			s := remotingtest.Start(t)
			s.Handle(reqQueryConsumerOffset, func(r remotingtest.Request) remotingtest.Response {
				o, ok := offsets[r.Ext["consumerGroup"]][r.Ext["queueId"]]
				switch {
				case ok:
					return remotingtest.Response{Ext: map[string]string{"offset": o}}
				case v == "5" && r.Ext["setZeroIfNotFound"] == "false":
					return remotingtest.Response{Code: 22, Remark: "Not found"}
				}
				return remotingtest.Response{Ext: map[string]string{"offset": "0"}}
			})
			s.Handle(reqAllConsumerOffsets, func(remotingtest.Request) remotingtest.Response {
				return remotingtest.Response{Body: []byte(`{"offsetTable":{"T@five":{1:0},"T@late":{0:12}}}`)}
			})
			c := newClient(t, Config{NameServers: []string{s.Addr}})
			for _, tc := range []struct {
				group string
				queue int
				want  int64
				found bool
			}{{"late", 0, 12, true}, {"late", 1, 0, false}, {"five", 1, 0, true}, {"none", 0, 0, false}} {
				got, found, err := c.ConsumerOffset(t.Context(), s.Addr, tc.group, Queue{Topic: "T", Broker: "b", ID: tc.queue})
				if err != nil || got != tc.want || found != tc.found {
					t.Errorf("%s/%d: %d, %v, %v; want %d, %v", tc.group, tc.queue, got, found, err, tc.want, tc.found)
				}
			}
		})
	}
}

func TestCheckSQLErrors(t *testing.T) {
	s := remotingtest.Start(t)
	c := newClient(t, Config{NameServers: []string{s.Addr}})
	for _, tc := range []struct {
		code int
		want error
	}{{0, nil}, {1, ErrNoPropertyFilter}, {23, ErrBadExpression}} {
		s.Handle(reqCheckClientConfig, func(remotingtest.Request) remotingtest.Response {
			return remotingtest.Response{Code: tc.code, Remark: "r"}
		})
		if err := c.CheckSQL(t.Context(), s.Addr, "g", "T", "a = 1"); !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("code %d gave %v, want %v", tc.code, err, tc.want)
		}
	}
}

func TestGroupOn4(t *testing.T) {
	s := remotingtest.Start(t) // 352 is not supported there
	s.Handle(reqAllGroups, func(remotingtest.Request) remotingtest.Response {
		return remotingtest.Response{Body: []byte(`{"subscriptionGroupTable":{"g":{"groupName":"g","retryMaxTimes":3}}}`)}
	})
	var created string
	s.Handle(reqCreateGroup, func(r remotingtest.Request) remotingtest.Response {
		created = string(r.Body)
		return remotingtest.Response{}
	})
	c := newClient(t, Config{NameServers: []string{s.Addr}})
	like, err := c.Group(t.Context(), s.Addr, "g")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Group(t.Context(), s.Addr, "none"); !errors.Is(err, ErrNoGroup) {
		t.Errorf("got %v, want ErrNoGroup", err)
	}
	if err := c.CreateGroup(t.Context(), s.Addr, "g_gray", like); err != nil {
		t.Fatal(err)
	}
	if want := `{"groupName":"g_gray","retryMaxTimes":3}`; created != want {
		t.Errorf("created %s, want %s", created, want)
	}
}

func TestNew(t *testing.T) {
	for _, tc := range []struct {
		list []string
		want error
	}{{nil, ErrNoAddress}, {[]string{""}, ErrNoAddress}} {
		if _, err := New(Config{NameServers: tc.list}); !errors.Is(err, tc.want) {
			t.Errorf("%q gave %v, want %v", tc.list, err, tc.want)
		}
	}
	if _, err := New(Config{NameServers: []string{"host"}}); err == nil || !strings.Contains(err.Error(), strconv.Quote("host")) {
		t.Errorf("a name server without a port gave %v", err)
	}
	if got := fmt.Sprint(&ResponseError{Addr: "h:1", Request: 14, Code: 1, Remark: "one\ntwo"}); got != "request 14 to h:1: code 1: one" {
		t.Errorf("error reads %q", got)
	}
}
