package graylib

import (
	"context"
	"net"
)

type clientIPKey struct{}

// WithClientIP returns a context that knows the address of who sent the request that is being served. Servers' adapters
// set it, clients' adapters show it to rules as the source ip.
func WithClientIP(ctx context.Context, ip string) context.Context {
	if ip == "" {
		return ctx
	}
	return context.WithValue(ctx, clientIPKey{}, ip)
}

// WithClientAddr is [WithClientIP] by the address of a connection, which isn't taken to pieces before somebody asks. It must
// not change any more.
func WithClientAddr(ctx context.Context, addr net.Addr) context.Context {
	if addr == nil {
		return ctx
	}
	return context.WithValue(ctx, clientIPKey{}, addr)
}

// ClientIPFrom returns the address of who sent the request that is being served, without a port, or "".
func ClientIPFrom(ctx context.Context) string {
	switch from := ctx.Value(clientIPKey{}).(type) {
	case string:
		return from
	case net.Addr:
		if addr, ok := hostAddr(from.String()); ok {
			return addr.String()
		}
	}
	return ""
}
