package graylib

import (
	"errors"
	"net"
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
