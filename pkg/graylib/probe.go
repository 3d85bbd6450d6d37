package graylib

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Probe asks the instance at an address for a sign of life, and returns nil when there was one. It is no user's request. It
// must not outlast ctx.
type Probe func(ctx context.Context, addr string) error

// ErrNoSign is wrapped where a probe was connected and got no sign of life: the kernel takes connections for a
// process that is stopped, so being connected says nothing.
var ErrNoSign = errors.New("no sign of life")

// ProbeHTTP asks over HTTP/1.1 for [ReadyPath]. Any answer counts, of a service that isn't ready too: whether it is
// to be sent requests is the registry's matter.
func ProbeHTTP(ctx context.Context, addr string) error {
	return exchange(ctx, addr, "GET "+ReadyPath+" HTTP/1.1\r\nHost: "+addr+"\r\nUser-Agent: graylib-probe\r\nConnection: close\r\n\r\n")
}

// ProbeRPC greets as HTTP/2 does (https://www.rfc-editor.org/rfc/rfc9113#section-3.4), which every Kitex server answers,
// whatever its transports, because it serves gRPC at the same port. A server that hangs up lives too.
func ProbeRPC(ctx context.Context, addr string) error {
	return exchange(ctx, addr, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
}

// exchange sends a greeting and waits for the first byte of an answer, or for the other side to hang up.
func exchange(ctx context.Context, addr, greeting string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	begun := time.Now()
	if _, err := io.WriteString(conn, greeting); err != nil && timedOut(err) {
		return fmt.Errorf("%w of %s: %w", ErrNoSign, addr, err)
	}
	var one [1]byte
	if _, err := conn.Read(one[:]); err != nil && timedOut(err) {
		return fmt.Errorf("%w of %s within %s: %w", ErrNoSign, addr, time.Since(begun).Round(time.Millisecond), err)
	}
	return nil
}

// SetProbe sets how instances of the table are asked for a sign of life. The default is [ProbeRPC] for an endpoint whose
// name ends in [RPCServiceSuffix], and [ProbeHTTP] for any other.
func (t *Table) SetProbe(p Probe) { t.health.probe.Store(&p) }

func (t *Table) prober() Probe {
	if p := t.health.probe.Load(); p != nil && *p != nil {
		return *p
	}
	if strings.HasSuffix(t.service, RPCServiceSuffix) {
		return ProbeRPC
	}
	return ProbeHTTP
}
