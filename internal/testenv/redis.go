package testenv

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/graychain/graychain/internal/proc"
)

// Redis starts a Redis server of the test's own on loopback, empty and without persistence. It ends with the test; [proc.GuardMain] must be called in TestMain. Where there is no redis-server (Debian: package
// redis-server) the test is skipped, or fails with CI=true.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		const missing = "no redis-server in PATH (Debian: apt-get install redis-server)"
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: with CI=true this test must run", missing)
		}
		t.Skipf("SKIPPED: %s", missing)
	}
	group, err := proc.NewGroup()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Stop(context.WithoutCancel(t.Context())) })
	s := &RedisServer{t: t, path: path, dir: t.TempDir(), group: group}
	const tries = 20 // another test may take the port first
	for try := 1; ; try++ {
		s.port = 14000 + rand.IntN(2000) // no test names one of these
		err := s.start()
		if err == nil {
			return s
		}
		if try == tries {
			t.Fatal(err)
		}
	}
}

// RedisServer is a Redis server of a test's own.
type RedisServer struct {
	t       testing.TB
	path    string
	dir     string
	port    int
	group   *proc.Group
	process *proc.Process
}

// Addr returns host:port.
func (s *RedisServer) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Stop ends the server; what it held is gone.
func (s *RedisServer) Stop() {
	s.t.Helper()
	if err := proc.StopAll(s.t.Context(), s.process); err != nil {
		s.t.Fatal(err)
	}
}

// Pause makes it stand still: it takes connections, and answers nothing.
func (s *RedisServer) Pause() {
	s.t.Helper()
	if err := s.process.Pause(); err != nil {
		s.t.Fatal(err)
	}
	for !s.stopped() || ping(s.Addr(), 50*time.Millisecond) == nil { // the signal is on its way
	}
}

// stopped tells whether the kernel has it stopped; where there is no /proc, an answer to PING has to tell.
func (s *RedisServer) stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.process.PID()))
	return err != nil || strings.HasPrefix(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " T")
}

// Resume lets it go on after Pause.
func (s *RedisServer) Resume() {
	s.t.Helper()
	if err := s.process.Resume(); err != nil {
		s.t.Fatal(err)
	}
}

// Start starts it again at its address, empty.
func (s *RedisServer) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *RedisServer) start() error {
	const within = 30 * time.Second
	ctx, cancel := context.WithTimeout(s.t.Context(), within)
	defer cancel()
	if l, err := net.Listen("tcp", s.Addr()); err != nil {
		return fmt.Errorf("redis-server: %w", err)
	} else if err := l.Close(); err != nil {
		return err
	}
	p, err := s.group.Start(ctx, proc.Spec{
		Name: "redis-server", Path: s.path, Log: filepath.Join(s.dir, "redis.log"), Grace: proc.KillAtOnce, OneShot: true,
		Args: []string{"--port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir},
	})
	if err != nil {
		return err
	}
	s.process = p
	return p.WaitReady(ctx, 5*time.Millisecond, func(context.Context) error { return ping(s.Addr(), time.Second) })
}

// ping asks whether a Redis answers there.
func ping(addr string, within time.Duration) error {
	c, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	b := make([]byte, 16)
	n, err := c.Read(b)
	if err == nil && !strings.HasPrefix(string(b[:n]), "+PONG") {
		err = fmt.Errorf("redis-server answers PING with %q", b[:n])
	}
	return err
}
