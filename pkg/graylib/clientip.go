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
