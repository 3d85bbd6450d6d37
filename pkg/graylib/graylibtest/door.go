package graylibtest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Door stands before a server and can be frozen. Then it is to its callers what a stopped process is (SIGSTOP): the kernel
// takes connections and bytes, and nothing answers. Thawed, it hands everything on that came meanwhile. Shut, it is a crashed
// process. It is safe for concurrent use.
type Door struct {
	ln     net.Listener
	server string

	gate sync.RWMutex // held for writing while frozen

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // nil when the door is closed
	frozen bool
}

// NewDoor opens a door on loopback before a server's address. It is closed, and thawed, with the test.
func NewDoor(t testing.TB, server string) *Door {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &Door{ln: ln, server: server, conns: make(map[net.Conn]struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { d.serve(c) })
		}
	})
	t.Cleanup(func() {
		d.Shut()
		d.Thaw()
		all.Wait()
	})
	return d
}

// Shut breaks all connections and refuses further ones, for good: to its callers the server has crashed.
func (d *Door) Shut() {
	_ = d.ln.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}

// Addr returns the door's address, host:port.
func (d *Door) Addr() string { return d.ln.Addr().String() }

// Freeze lets nothing through from now on.
func (d *Door) Freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.frozen {
		d.frozen = true
		d.gate.Lock()
	}
}

// Thaw lets everything through again.
func (d *Door) Thaw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen {
		d.frozen = false
		d.gate.Unlock()
	}
}

// keep notes a connection, to be closed with the door; false where it is closed.
func (d *Door) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		_ = c.Close()
		return false
	}
	d.conns[c] = struct{}{}
	return true
}

func (d *Door) drop(c net.Conn) {
	_ = c.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

func (d *Door) serve(c net.Conn) {
	if !d.keep(c) {
		return
	}
	defer d.drop(c)
	server, err := net.Dial("tcp", d.server)
	if err != nil || !d.keep(server) {
		return
	}
	defer d.drop(server)
	var both sync.WaitGroup
	both.Go(func() { d.pump(server, c) })
	d.pump(c, server)
	both.Wait()
}

// pump hands on what one side sends, while the door isn't frozen, and its end.
func (d *Door) pump(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		d.gate.RLock()
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			_ = to.Close()
			if !errors.Is(err, io.EOF) {
				_ = from.Close()
			}
		}
		d.gate.RUnlock()
		if err != nil {
			return
		}
	}
}
