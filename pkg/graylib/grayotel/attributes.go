package grayotel

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/graychain/graychain/pkg/graylib"
)

// hopAttributes say what a hop says; what is empty is left out.
func hopAttributes(ctx context.Context, h graylib.Hop) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 16)
	for _, a := range []struct {
		key   attribute.Key
		value string
	}{
		{TagKey, string(h.RequestTag)},
		{OwnTagKey, string(h.Tag)},
		{ReasonKey, string(h.Reason)},
		{InstanceKey, h.Instance},
		{RequestKey, graylib.RequestIDFrom(ctx)},
	} {
		if a.value != "" {
			attrs = append(attrs, a.key.String(a.value))
		}
	}
	return attrs
}

// operation says what is called. rpcSystem isn't one of the conventions' well-known ones, which they allow.
const rpcSystem = "kitex"

func operation(p graylib.Protocol, method, route string) []attribute.KeyValue {
	if p == graylib.ProtocolRPC {
		return []attribute.KeyValue{semconv.RPCSystemNameKey.String(rpcSystem), semconv.RPCMethod(strings.TrimPrefix(route, "/"))}
	}
	attrs := []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(known(method, "_OTHER"))}
	if route != "" {
		attrs = append(attrs, semconv.HTTPRoute(route))
	}
	return attrs
}

// known returns an HTTP method as it is, or otherwise where it isn't one: clients may send any word.
func known(method, otherwise string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY":
		return method
	case "":
		return "GET" // of net/http's requests
	}
	return otherwise
}

// name is a span's: the method and where it goes, or B/Invoke.
func name(p graylib.Protocol, method, target string) string {
	if p != graylib.ProtocolRPC {
		method = known(method, "HTTP")
	}
	switch {
	case p == graylib.ProtocolRPC:
		return strings.TrimPrefix(target, "/")
	case target == "":
		return method
	case strings.HasPrefix(target, method+" "): // a pattern of net/http's ServeMux has the method in it
		return target
	default:
		return method + " " + target
	}
}
