package graylib_test

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestDialFailedOfOthers: a failed dial counts against an instance where it may be one to that instance.
func TestDialFailedOfOthers(t *testing.T) {
	dial := func(addr string) error {
		to, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Errorf("wrapped: %w", &net.OpError{Op: "dial", Net: "tcp", Addr: to, Err: syscall.ECONNREFUSED})
	}
	dns := func(name string) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: name}}
	}
	for _, tc := range []struct {
		instance string
		err      error
		want     bool
	}{
		{"127.0.0.1:80", dial("127.0.0.1:80"), true},
		{"127.0.0.1:80", dial("[::ffff:127.0.0.1]:80"), true},
		{"127.0.0.1:80", dial("127.0.0.1:81"), false},
		{"127.0.0.1:80", dial("127.0.0.2:80"), false},
		{"[::1]:80", dial("[::1]:80"), true},
		{"[::1]:80", dial("[::2]:80"), false},
		{"b.example:80", dial("10.0.0.1:80"), true}, // as it was resolved
		{"b.example:80", dial("10.0.0.1:81"), false},
		{"b.example:80", dns("b.example"), true},
		{"b.example:80", dns("b.example."), true},
		{"b.example:80", dns("token.example"), false},
		{"127.0.0.1:80", dns("token.example"), false},
		{"127.0.0.1:80", &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}, true}, // it doesn't say to whom
		{"127.0.0.1:80", &net.OpError{Op: "dial", Net: "tcp", Addr: (*net.TCPAddr)(nil), Err: syscall.ECONNREFUSED}, true},
		{"127.0.0.1:80", syscall.ECONNREFUSED, true},
		{"127.0.0.1:80", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: dial("10.0.0.9:3128")}, false},
		{"127.0.0.1:80", context.Canceled, false},
		{"127.0.0.1:80", nil, false},
	} {
		rt, err := graylib.New(graylib.Identity{Service: "a"})
		if err != nil {
			t.Fatal(err)
		}
		table := graylib.NewTable("b")
		table.Store(graylib.NewSnapshot([]graylib.Instance{{ID: "1", Addr: tc.instance, Weight: 1}}))
		_, call := rt.Depart(context.Background(), "b", nil)
		if _, _, err := call.Next(table); err != nil {
			t.Fatal(err)
		}
		if got := call.DialFailed(tc.err); got != tc.want {
			t.Errorf("%v with instance %s: got %v", tc.err, tc.instance, got)
		}
	}
}
