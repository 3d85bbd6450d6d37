package graylib

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// DialFailed tells whether err says that no connection could be made (refused, unreachable, timed out, name not found):
// nothing was sent, so the call may be tried with another instance. An error on an established connection is none.
func DialFailed(err error) bool {
	if err == nil {
		return false
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		return true
	}
	return errors.Is(err, syscall.ECONNREFUSED) // an answer to connecting alone
}

// DialFailed tells whether err says that no connection could be made to the instance that Next returned last. Where err names whom
// it couldn't connect to (as those of package net do), and that is somebody else, it is none: a client may make calls of
// its own within a call, for a token say, or go through a proxy. It is for the goroutine that calls Next.
func (c *Call) DialFailed(err error) bool {
	return DialFailed(err) && (c.now == nil || dialled(err, c.now.Addr))
}

// dialled tells whether err, of a failed dial, may be of a dial to addr (host:port).
func dialled(err error, addr string) bool {
	host, port, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return true
	}
	for op := (*net.OpError)(nil); errors.As(err, &op); err = op.Err {
		if op.Op != "dial" || op.Addr == nil {
			continue
		}
		to, parseErr := netip.ParseAddrPort(op.Addr.String())
		if parseErr != nil {
			break
		}
		if want, notIP := netip.ParseAddr(host); notIP == nil && want.Unmap().WithZone("") != to.Addr().Unmap().WithZone("") {
			return false
		}
		_, at, _ := net.SplitHostPort(op.Addr.String())
		return at == port
	}
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		return strings.EqualFold(strings.TrimSuffix(dns.Name, "."), strings.TrimSuffix(host, "."))
	}
	return true
}
