package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
	"github.com/graychain/graychain/pkg/graylib/rules"
	"github.com/graychain/graychain/services/internal/servetest"
)

const xiaoming = `
revision: 1
lanes:
  - tag: gray
    listed: 2026-11-22T10:00:00Z
    entries:
      - {name: xiaoming, service: b, path: /b, when: [{from: query, key: name, op: "==", value: xiaoming}]}
`

func compiled(t *testing.T, document string) graylib.Rules {
	t.Helper()
	doc, err := rules.Parse([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	r, err := rules.Compile(doc)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRoutes(t *testing.T) {
	mesh := servetest.New(t)
	mesh.Rules = compiled(t, xiaoming)
	b, grayB, c := mesh.StandIn("b", graylib.Untagged), mesh.StandIn("b", "gray"), mesh.StandIn("c", graylib.Untagged)
	gateway := mesh.Start(service, nil, wire)

	for path, want := range map[string]string{
		"/B/b":                "B[" + b.Addr + "] -> C[" + c.Addr + "]",
		"/B/b?name=xiaoming":  "Bgray[" + grayB.Addr + "] -> C[" + c.Addr + "]",
		"/B/b?name=xiaoming2": "B[" + b.Addr + "] -> C[" + c.Addr + "]",
		"/C/c":                "C[" + c.Addr + "]",
		"/C/c?name=xiaoming":  "C[" + c.Addr + "]",
	} {
		// What a client says of tags counts for nothing (G9).
		status, text, header := gateway.Get(path, "x-gray-tag", "gray", "x-request-id", "forged", "rpc-persist-gray-tag", "gray")
		if status != http.StatusOK || text != want {
			t.Errorf("%s: status %d, %q, want %q", path, status, text, want)
		}
		if id := header.Get("x-request-id"); id == "" || id == "forged" {
			t.Errorf("%s: request id %q, want one of the gateway's own", path, id)
		}
		if hops := header.Get("x-gray-hops"); hops != "" {
			t.Errorf("%s: hops went outside: %s", path, hops)
		}
	}
	_, a := gateway.Answer("/B/b?name=xiaoming")
	if a.Tag != "gray" || len(a.Hops) != 2 || a.Hops[0].Reason != graylib.ReasonLane || a.Hops[1].Reason != graylib.ReasonNoInstance {
		t.Errorf("JSON through the gateway: %+v", a)
	}
	servetest.Eventually(t, "the gateway reports its chains", func() bool { return len(gateway.Events.Of(graylib.EventChain)) == 6 })
	event := gateway.Events.Of(graylib.EventChain)[5]
	if event.RequestID != a.RequestID || event.RequestTag != "gray" || event.Status != http.StatusOK || len(event.Hops) != 3 {
		t.Errorf("reported chain %+v, want that of the answer %+v behind the gateway's own hop", event, a)
	}
}

func TestUnknownAndAbsent(t *testing.T) {
	mesh := servetest.New(t)
	gateway := mesh.Start(service, nil, wire)
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/":        {http.StatusNotFound, "/A/, /B/, /C/"},
		"/D/x":     {http.StatusNotFound, "/A/, /B/, /C/"},
		"/a/dubbo": {http.StatusNotFound, "/A/, /B/, /C/"},
		// What services tell of themselves isn't for outside.
		"/A/graychain/status":      {http.StatusNotFound, "/A/, /B/, /C/"},
		"/A/x/..//graychain/ready": {http.StatusNotFound, "/A/, /B/, /C/"},
		"/B/%6detrics":             {http.StatusNotFound, "/A/, /B/, /C/"},
		"/C//metrics":              {http.StatusNotFound, "/A/, /B/, /C/"},
		"/A/dubbo":                 {http.StatusServiceUnavailable, "service a"},
		"/C":                       {http.StatusServiceUnavailable, "service c"},
	} {
		status, text, _ := gateway.Get(path)
		if status != want.status || !strings.Contains(text, want.text) {
			t.Errorf("%s: status %d, %q, want %d and a text with %q", path, status, text, want.status, want.text)
		}
		if status, a := gateway.Answer(path); status != want.status || !strings.Contains(a.Error, want.text) || a.RequestID == "" {
			t.Errorf("%s as JSON: status %d, %+v", path, status, a)
		}
	}
}

// listener is a service that isn't one: what happens on its connections is the test's.
func listener(t *testing.T, mesh *servetest.Mesh, name string, serve func(net.Conn)) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	mesh.Registry.Put(graylib.Instance{Service: name, Addr: ln.Addr().String()})
}

func TestSlowAndBroken(t *testing.T) {
	mesh := servetest.New(t)
	silent := make(chan struct{})
	defer close(silent)
	listener(t, mesh, "a", func(conn net.Conn) { <-silent; _ = conn.Close() })
	listener(t, mesh, "b", func(conn net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(conn))
		_ = conn.Close()
	})
	mesh.Registry.Put(graylib.Instance{Service: "c", Addr: graylibtest.ReserveAddr(t)})
	gateway := mesh.Start(service, map[string]string{"CALL_TIMEOUT": "0.2"}, wire)
	for path, want := range map[string]int{
		"/A/dubbo": http.StatusGatewayTimeout,
		"/B/b":     http.StatusBadGateway,
		"/C/c":     http.StatusServiceUnavailable,
	} {
		status, text, _ := gateway.Get(path)
		if service := "service " + strings.ToLower(path[1:2]); status != want || !strings.Contains(text, service) {
			t.Errorf("%s: status %d, %q, want %d and a text with %q", path, status, text, want, service)
		}
	}
}

// echo answers with what it saw of the request.
func echo(h *server.Hertz) {
	h.Any("/echo/*rest", func(_ context.Context, c *app.RequestContext) {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s\n", c.Method(), c.Request.Header.RequestURI())
		for _, name := range []string{"X-Kept", "X-Dropped", "Te", "Connection", "Upgrade", "Content-Type", "Cookie"} {
			for _, v := range c.Request.Header.GetAll(name) {
				fmt.Fprintf(&b, "%s: %s\n", name, v)
			}
		}
		for _, v := range c.Request.Header.GetAll("X-Forwarded-For") {
			fmt.Fprintf(&b, "X-Forwarded-For: %s\n", v)
		}
		fmt.Fprintf(&b, "X-Forwarded-Host: %s\n", c.Request.Header.Get("X-Forwarded-Host"))
		fmt.Fprintf(&b, "X-Forwarded-Proto: %s\n", c.Request.Header.Get("X-Forwarded-Proto"))
		fmt.Fprintf(&b, "body: %s\n", c.Request.Body())
		c.Response.Header.Set("X-Kept", "back")
		c.Response.Header.Set("Keep-Alive", "timeout=5")
		c.Response.Header.Add("Set-Cookie", "one=1")
		c.Response.Header.Add("Set-Cookie", "two=2")
		c.String(http.StatusTeapot, "%s", b.String())
	})
}

func TestHandsOn(t *testing.T) {
	mesh := servetest.New(t)
	mesh.StandIn("c", graylib.Untagged, echo)
	gateway := mesh.Start(service, nil, wire)

	req, err := http.NewRequest(http.MethodPut, gateway.URL+"/C/echo/a%2Fb/c%20d?q=1&q=%26", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Kept": "there", "X-Dropped": "x", "Connection": "X-Dropped", "Te": "trailers", "Upgrade": "h2c",
		"Content-Type": "application/json", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "Cookie": "s=1",
	} {
		req.Header.Set(name, value)
	}
	status, body, header := gateway.Do(req)
	want := strings.Join([]string{
		"PUT /echo/a%2Fb/c%20d?q=1&q=%26",
		"X-Kept: there", "Content-Type: application/json", "Cookie: s=1",
		"X-Forwarded-For: 1.2.3.4, 127.0.0.1", "X-Forwarded-Host: " + gateway.Addr, "X-Forwarded-Proto: http",
		`body: {"a":1}`, "",
	}, "\n")
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("the service saw (-want +got):\n%s", diff)
	}
	if status != http.StatusTeapot || header.Get("X-Kept") != "back" || header.Get("Keep-Alive") != "" {
		t.Errorf("status %d, headers %v", status, header)
	}
	if diff := cmp.Diff([]string{"one=1", "two=2"}, header["Set-Cookie"]); diff != "" {
		t.Errorf("cookies (-want +got):\n%s", diff)
	}
}

// TestForwardedLines sends X-Forwarded-For in several lines, as a client does that hopes for a reader of the first one alone: all
// of them are handed on, in order, and ours is the last.
func TestForwardedLines(t *testing.T) {
	mesh := servetest.New(t)
	mesh.StandIn("c", graylib.Untagged, echo)
	gateway := mesh.Start(service, nil, wire)
	conn, err := net.Dial("tcp", gateway.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "GET /C/echo/x HTTP/1.1\r\nHost: g\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7, 8.8.8.8\r\n"+
		"X-Forwarded-For:\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nX-Forwarded-For: 6.6.6.6, 7.7.7.7, 8.8.8.8, 9.9.9.9, 127.0.0.1\n"; !strings.Contains(string(body), want) {
		t.Errorf("the service saw %q, want %q in it", body, want)
	}
}

// counted counts a request's body and answers with one of as many bytes.
func counted(h *server.Hertz) {
	h.POST("/big", func(_ context.Context, c *app.RequestContext) {
		n := len(c.Request.Body())
		c.SetBodyStream(io.LimitReader(zeroes{}, int64(n)), -1)
	})
	h.HEAD("/head", func(_ context.Context, c *app.RequestContext) { c.Status(http.StatusNoContent) })
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBodies(t *testing.T) {
	mesh := servetest.New(t)
	mesh.StandIn("c", graylib.Untagged, counted)
	gateway := mesh.Start(service, nil, wire)

	const size = 3 << 20
	for name, body := range map[string]io.Reader{
		"known length": bytes.NewReader(make([]byte, size)),
		"chunked":      io.LimitReader(zeroes{}, size),
	} {
		req, err := http.NewRequest(http.MethodPost, gateway.URL+"/C/big", body)
		if err != nil {
			t.Fatal(err)
		}
		if status, got, _ := gateway.Do(req); status != http.StatusOK || len(got) != size {
			t.Errorf("%s: status %d, %d bytes back, want %d: %.100q", name, status, len(got), size, got)
		}
	}
	req, err := http.NewRequest(http.MethodHead, gateway.URL+"/C/head", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, _ := gateway.Do(req); status != http.StatusNoContent {
		t.Errorf("HEAD: status %d", status)
	}
}

// slow answers /slow with a line at once and another one when more is closed.
func slow(more <-chan struct{}) func(*server.Hertz) {
	return func(h *server.Hertz) {
		h.GET("/slow", func(_ context.Context, c *app.RequestContext) {
			r, w := io.Pipe()
			go func() {
				_, _ = w.Write([]byte("first\n"))
				<-more
				_, _ = w.Write([]byte("second\n"))
				_ = w.Close()
			}()
			c.SetBodyStream(r, -1)
		})
	}
}

// TestStreams shows that an answer goes out while the service is still writing it, and that a stop waits for it.
func TestStreams(t *testing.T) {
	mesh := servetest.New(t)
	more := make(chan struct{})
	mesh.StandIn("c", graylib.Untagged, slow(more))
	gateway := mesh.Start(service, nil, wire)
	resp, err := http.Get(gateway.URL + "/C/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	first := make(chan string, 1)
	go func() { line, _ := lines.ReadString('\n'); first <- line }()
	select {
	case line := <-first:
		if line != "first\n" {
			t.Fatalf("first line %q", line)
		}
	case <-time.After(30 * time.Second):
		close(more)
		t.Fatal("the first line didn't come before the second was written")
	}
	stopped := make(chan int, 1)
	go func() { stopped <- gateway.Stop() }()
	servetest.Eventually(t, "the gateway has left the registry", func() bool { return len(mesh.Registry.Instances("gateway")) == 0 })
	close(more)
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "second\n" {
		t.Errorf("rest %q, %v", rest, err)
	}
	if code := <-stopped; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if out := gateway.Output(); strings.Contains(out, "did not stop cleanly") {
		t.Errorf("the stop was not clean:\n%s", out)
	}
}
