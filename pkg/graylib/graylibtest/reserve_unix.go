//go:build unix

package graylibtest

import (
	"net"
	"os"
	"strconv"
	"syscall"
)

// reserve binds a port and doesn't listen on it. With SO_REUSEADDR on both sockets, as package net sets it on all of its own,
// who asks for this very port gets it (socket(7)), while the kernel's own choice leaves out what is bound.
func reserve() (addr string, release func(), err error) {
	syscall.ForkLock.RLock() // no child inherits it
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return "", nil, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = syscall.Close(fd)
		}
	}()
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return "", nil, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", nil, os.NewSyscallError("bind", err)
	}
	local, err := syscall.Getsockname(fd)
	if err != nil {
		return "", nil, os.NewSyscallError("getsockname", err)
	}
	port := strconv.Itoa(local.(*syscall.SockaddrInet4).Port)
	return net.JoinHostPort("127.0.0.1", port), func() { _ = syscall.Close(fd) }, nil
}
