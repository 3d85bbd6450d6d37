package graynacos

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// proxy stands between a client and the server's gRPC port. It is down at first.
type proxy struct {
	offset int // from the server's HTTP port
	listen string
	target string

	mu    sync.Mutex
	l     net.Listener
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T, addr string) *proxy {
	t.Helper()
	servers, err := parseServers(addr, 1000)
	if err != nil {
		t.Fatal(err)
	}
	listen := graylibtest.ReserveAddr(t) // nobody else listens there while the proxy is down
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{
		offset: n - int(servers[0].Port), listen: listen,
		target: grpcAddr(servers[0]), conns: make(map[net.Conn]struct{}),
	}
	t.Cleanup(p.down)
	return p
}

func (p *proxy) option() Option { return WithGRPCPortOffset(p.offset) }

func (p *proxy) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", p.listen)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.l = l
	p.mu.Unlock()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.target)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns[in], p.conns[out] = struct{}{}, struct{}{}
			p.mu.Unlock()
			copyAndClose := func(dst, src net.Conn) {
				_, _ = io.Copy(dst, src)
				dst.Close()
				src.Close()
			}
			go copyAndClose(out, in)
			go copyAndClose(in, out)
		}
	}()
}

func (p *proxy) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.l != nil {
		p.l.Close()
		p.l = nil
	}
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
}
