package grayhttp_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayhttp"
)

// TestWriterCanWhatTheConnectionCan: libraries ask the writer for what it can beside writing.
func TestWriterCanWhatTheConnectionCan(t *testing.T) {
	can := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, hijacks := w.(http.Hijacker)
		_, pushes := w.(http.Pusher)
		_, flushes := w.(http.Flusher)
		reader, reads := w.(io.ReaderFrom)
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Errorf("a deadline: %v", err)
		}
		text := fmt.Sprintf("hijacks %v, pushes %v, flushes %v, reads %v", hijacks, pushes, flushes, reads)
		if n, err := reader.ReadFrom(strings.NewReader(text)); n != int64(len(text)) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("flushing: %v", err)
		}
	})
	for proto, want := range map[int]string{
		1: "hijacks true, pushes false, flushes true, reads true",
		2: "hijacks false, pushes true, flushes true, reads true",
	} {
		rt := newMesh(t).runtime("b", "")
		srv := httptest.NewUnstartedServer(grayhttp.Handler(can, grayhttp.WithRuntime(rt), grayhttp.WithEdge()))
		srv.EnableHTTP2 = proto == 2
		srv.StartTLS()
		resp, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		srv.Close()
		if err != nil || resp.ProtoMajor != proto || string(got) != want {
			t.Errorf("HTTP/%d: %q, %v, want %q of HTTP/%d", resp.ProtoMajor, got, err, want, proto)
		}
		if resp.Header.Get(graylib.HTTPKeys.RequestID) == "" {
			t.Errorf("HTTP/%d: an answer by ReadFrom has no request id", proto)
		}
	}
}

// upgrade asks for another protocol, and returns the answer and what is said after it.
func upgrade(t *testing.T, addr string) (status int, header http.Header, said string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	said, _ = r.ReadString('\n')
	return resp.StatusCode, resp.Header, said
}

// TestUpgrades: a handler takes the connection over, as libraries for websockets do, behind an edge that is a reverse proxy. The
// hops that the answer bears stay inside.
func TestUpgrades(t *testing.T) {
	m := newMesh(t)
	b := m.runtime("b", "")
	m.serve(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		// Hertz writes its answer to an upgrade as it does any other: with the hops.
		_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n%s: %s\r\n\r\nhello\n",
			graylib.HTTPKeys.Hops, w.Header().Get(graylib.HTTPKeys.Hops))
		_ = rw.Flush()
	}))
	rt := m.runtime("gateway", "")
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "b", "" },
		Transport: m.client(rt).Transport,
	}
	below := make(chan []graylib.Hop, 1)
	addr, _ := m.serve(rt, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(w, r)
		hops, _ := graylib.Chain(r.Context())
		below <- hops
	}), grayhttp.WithEdge())
	status, header, said := upgrade(t, addr)
	if status != http.StatusSwitchingProtocols || said != "hello\n" || header.Get("Upgrade") != "echo" {
		t.Errorf("%d, %q", status, said)
	}
	if h := header.Get(graylib.HTTPKeys.Hops); h != "" {
		t.Errorf("hops went outside: %s", h)
	}
	if header.Get(graylib.HTTPKeys.RequestID) == "" {
		t.Error("the answer has no request id")
	}
	if hops := <-below; len(hops) != 2 || hops[1].Service != "b" {
		t.Errorf("the gateway knows of %+v, want b's hop", hops)
	}
}

// TestSwitchingProtocolsIsAnAnswer: of the 1xx it is the one that ends the header.
func TestSwitchingProtocolsIsAnAnswer(t *testing.T) {
	rt := newMesh(t).runtime("gateway", "")
	h := grayhttp.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(graylib.HTTPKeys.Hops, "secret")
		w.WriteHeader(http.StatusSwitchingProtocols)
	}), grayhttp.WithRuntime(rt), grayhttp.WithEdge())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	header := w.Result().Header
	if header.Get(graylib.HTTPKeys.Hops) != "" || header.Get(graylib.HTTPKeys.RequestID) == "" {
		t.Errorf("headers %v", header)
	}
}

// TestWhoDoesNotAskGetsNoHops, not from a proxy in the middle either that collects them itself.
func TestWhoDoesNotAskGetsNoHops(t *testing.T) {
	m := newMesh(t)
	m.serve(m.runtime("b", ""), nil)
	rt := m.runtime("middle", "")
	addr, _ := m.serve(rt, &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "b", "" },
		Transport: m.client(rt).Transport,
	})
	for wish, want := range map[string]int{"": 0, graylib.HopsWanted: 2} {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if wish != "" {
			req.Header.Set(graylib.HTTPKeys.Hops, wish)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		hops, err := graylib.DecodeHops(resp.Header.Get(graylib.HTTPKeys.Hops))
		if err != nil || len(hops) != want || len(resp.Header.Values(graylib.HTTPKeys.Hops)) > 1 {
			t.Errorf("asking %q: %d hops, %v, want %d", wish, len(hops), err, want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestCopyingNothingAnswersNothing: what to answer is still open where a source that is copied has given no byte.
func TestCopyingNothingAnswersNothing(t *testing.T) {
	m := newMesh(t)
	long := strings.Repeat("0123456789", 10_000)
	for name, tc := range map[string]struct {
		source io.Reader
		want   int
		body   string
	}{
		"an error":     {iotest.ErrReader(errors.New("broken")), http.StatusBadGateway, "no\n"},
		"empty":        {strings.NewReader(""), http.StatusAccepted, ""},
		"a few bytes":  {strings.NewReader("few"), http.StatusOK, "few"},
		"many of them": {strings.NewReader(long), http.StatusOK, long},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := m.serve(m.runtime("b", ""), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n, err := io.Copy(w, tc.source)
				switch {
				case err != nil:
					http.Error(w, "no", http.StatusBadGateway)
				case n == 0:
					w.WriteHeader(http.StatusAccepted)
				}
			}))
			resp, err := http.Get("http://" + addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != tc.want || string(body) != tc.body {
				t.Errorf("status %d and %d bytes (%v), want %d and %d", resp.StatusCode, len(body), err, tc.want, len(tc.body))
			}
		})
	}
}
