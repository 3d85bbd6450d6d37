// Package remotingtest is a server of RocketMQ's remoting protocol for tests: it answers requests as a test's functions
// say. It has its own coding of frames, so that package remoting is not tested against itself.
package remotingtest

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
)

// Request is what a client asks.
type Request struct {
	Code int               `json:"code"`
	Ext  map[string]string `json:"extFields"`
	Body []byte            `json:"-"`

	Opaque int32 `json:"opaque"`
}

// Response is what the server answers.
type Response struct {
	Code   int
	Remark string
	Ext    map[string]string
	Body   []byte
	Late   <-chan struct{} // answered when it is closed; nil = at once
	Hangup bool            // the connection is closed instead
}

// Handler answers requests of one code. It may be called from several goroutines.
type Handler func(Request) Response

// Server listens on a loopback port until the test ends. A code without a handler is answered with 3, not supported.
type Server struct {
	Addr string

	listener net.Listener

	mu       sync.Mutex
	handlers map[int]Handler
	seen     []Request
	conns    map[net.Conn]struct{}
	accepted int
}

// Start starts a server.
func Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String(), listener: l, handlers: make(map[int]Handler), conns: make(map[net.Conn]struct{})}
	t.Cleanup(s.Close)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = struct{}{}
			s.accepted++
			s.mu.Unlock()
			go s.serve(c)
		}
	}()
	return s
}

// Handle sets the handler of a request code.
func (s *Server) Handle(code int, h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[code] = h
}

// Close ends the server; the end of the test does so too.
func (s *Server) Close() {
	_ = s.listener.Close()
	s.Drop()
}

// Drop closes all connections.
func (s *Server) Drop() {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// Accepted returns the number of connections ever made.
func (s *Server) Accepted() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

// Seen returns the requests so far.
func (s *Server) Seen() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func (s *Server) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}()
	r := bufio.NewReader(c)
	var write sync.Mutex
	for {
		var sizes [8]byte
		if _, err := io.ReadFull(r, sizes[:]); err != nil {
			return
		}
		head := make([]byte, binary.BigEndian.Uint32(sizes[4:])&0xffffff)
		body := make([]byte, int(binary.BigEndian.Uint32(sizes[:4]))-4-len(head))
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		var req Request
		if err := json.Unmarshal(head, &req); err != nil {
			return
		}
		req.Body = body
		s.mu.Lock()
		s.seen = append(s.seen, req)
		h := s.handlers[req.Code]
		s.mu.Unlock()
		resp := Response{Code: 3, Remark: "not supported"}
		if h != nil {
			resp = h(req)
		}
		if resp.Hangup {
			return
		}
		go func() {
			if resp.Late != nil {
				<-resp.Late
			}
			write.Lock()
			defer write.Unlock()
			_, _ = c.Write(frame(req.Opaque, resp))
		}()
	}
}

func frame(opaque int32, resp Response) []byte {
	head, err := json.Marshal(map[string]any{
		"code": resp.Code, "remark": resp.Remark, "extFields": resp.Ext, "opaque": opaque,
		"flag": 1, "language": "JAVA", "version": 477, "serializeTypeCurrentRPC": "JSON",
	})
	if err != nil {
		panic(err) // maps of strings
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(4+len(head)+len(resp.Body)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(head)))
	return append(append(out, head...), resp.Body...)
}
