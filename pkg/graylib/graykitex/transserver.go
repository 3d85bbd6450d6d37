package graykitex

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/netpoll"
)

// transServerFactory decorates Kitex's own: a server that graylib can't work in refuses to listen, one that works is
// announced as soon as it listens (Kitex itself registers a second later), and its listener is closed once.
type transServerFactory struct {
	remote.TransServerFactory
	registrar *registrar
}

// NewTransServer implements [remote.TransServerFactory].
func (f *transServerFactory) NewTransServer(opt *remote.ServerOption, h remote.ServerTransHandler) remote.TransServer {
	return &transServer{TransServer: f.TransServerFactory.NewTransServer(opt, h), opt: opt, registrar: f.registrar}
}

type transServer struct {
	remote.TransServer
	opt       *remote.ServerOption
	registrar *registrar

	mu sync.Mutex
	ln *onceListener
}

// CreateListener implements [remote.TransServer].
func (s *transServer) CreateListener(addr net.Addr) (net.Listener, error) {
	if err := s.registrar.o.err; err != nil {
		return nil, fmt.Errorf("graylib: %w", err)
	}
	return s.TransServer.CreateListener(addr)
}

// BootstrapServer implements [remote.TransServer].
func (s *transServer) BootstrapServer(ln net.Listener) error {
	if err := s.registrar.o.err; err != nil {
		_ = ln.Close()
		return fmt.Errorf("graylib: %w", err)
	}
	if err := s.registrar.listening(ln.Addr()); err != nil {
		_ = ln.Close()
		return err
	}
	if nln, err := netpoll.ConvertListener(ln); err == nil {
		once := &onceListener{Listener: nln}
		if _, theirs := ln.(netpoll.Listener); !theirs {
			once.under = ln
		}
		s.mu.Lock()
		s.ln = once
		s.mu.Unlock()
		ln = once
	}
	return s.TransServer.BootstrapServer(ln)
}

// Bounds of draining: how often it is looked whether something is still being served, and how long answers may take to be
// written when their handlers have returned.
const (
	drainPoll  = 5 * time.Millisecond
	drainWrite = 300 * time.Millisecond
)

// Shutdown implements [remote.TransServer]. What is being served is drained here, for as long as the server's ExitWaitTime
// allows: Kitex itself waits all of it for callers that keep a connection for streams open, and takes that for a failure.
func (s *transServer) Shutdown() error {
	deadline := time.Now().Add(s.opt.ExitWaitTime)
	for s.registrar.serving.Load() > 0 && time.Now().Before(deadline) {
		time.Sleep(drainPoll)
	}
	left := s.registrar.serving.Load()
	s.opt.ExitWaitTime = min(drainWrite, max(drainPoll, time.Until(deadline)))
	err := s.TransServer.Shutdown()
	s.mu.Lock()
	ln := s.ln
	s.mu.Unlock()
	if ln != nil {
		_ = ln.closeForGood() // Close has returned it, where it was called
	}
	switch {
	case left > 0:
		return fmt.Errorf("graykitex: %d calls or streams were still served at the end of the exit wait time: %w", left, context.DeadlineExceeded)
	case errors.Is(err, context.DeadlineExceeded):
		return nil // idle connections
	}
	return err
}

// onceListener is a listener whose file descriptor is closed once. Kitex closes its listener when it begins to stop, and
// netpoll closes the same number again when its event loop ends: by then it may be another connection's of this process.
// So the first Close is left out, and the second one, or the end of Shutdown, closes it. Nor is that left to the listener that
// netpoll makes of under: its Close alone closes the number twice, a moment apart (https://github.com/cloudwego/netpoll/blob/v0.7.5/net_listener.go).
type onceListener struct {
	netpoll.Listener
	under  net.Listener // nil: the application gave a listener of netpoll's, which has to close itself
	mu     sync.Mutex
	closes int
	once   sync.Once
	err    error
}

// Close implements [net.Listener].
func (l *onceListener) Close() error {
	l.mu.Lock()
	l.closes++
	first := l.closes == 1
	l.mu.Unlock()
	if first {
		return nil
	}
	return l.closeForGood()
}

func (l *onceListener) closeForGood() error {
	l.once.Do(func() {
		if l.under == nil {
			l.err = l.Listener.Close()
			return
		}
		closed.keep(l.Listener)
		l.err = errors.Join(os.NewFile(uintptr(l.Fd()), "listener").Close(), l.under.Close())
	})
	return l.err
}

// closed are the listeners that were closed: netpoll's holds an [os.File] with the number that is somebody else's by then, and
// which would be closed with it when it is collected.
var closed keeper

type keeper struct {
	mu   sync.Mutex
	list []netpoll.Listener
}

func (k *keeper) keep(l netpoll.Listener) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, l)
}
