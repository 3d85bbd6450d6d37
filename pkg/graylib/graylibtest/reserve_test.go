package graylibtest_test

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

func TestReserveAddr(t *testing.T) {
	addr := graylibtest.ReserveAddr(t)
	refused := func() bool {
		conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}
	if !refused() {
		t.Fatalf("%s takes connections before anybody listens", addr)
	}
	for range 2 { // once more after a service's restart
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatalf("what was reserved can't be listened on: %v", err)
		}
		if refused() {
			t.Errorf("%s refuses connections though somebody listens", addr)
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		if !refused() {
			t.Errorf("%s takes connections though nobody listens anymore", addr)
		}
	}
}

// Of all ports that are held none is given twice, and none to a listener that leaves the choice to the kernel.
func TestReserveAddrIsNobodyElses(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		t.Skip("reserves nothing there")
	}
	seen := map[string]bool{}
	for range 200 {
		addr := graylibtest.ReserveAddr(t)
		if seen[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		seen[addr] = true
	}
	for range 2000 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if addr := ln.Addr().String(); seen[addr] {
			t.Errorf("a listener on port 0 was given %s, which is held", addr)
		}
		_ = ln.Close()
	}
}
