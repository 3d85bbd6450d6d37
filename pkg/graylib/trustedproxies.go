package graylib

import (
	"net/netip"
	"slices"
	"strings"
)

// ForwardedHeader is the header in which proxies hand on whom they had a request from: the client's address first, then each
// proxy's but the last. It is the one that most of them write; RFC 7239's Forwarded is not read.
const ForwardedHeader = "X-Forwarded-For"

// maxForwarded bounds the entries of [ForwardedHeader] that are looked at, from the last one. A way through more proxies of
// one's own than that is no way that anyone has built; a client can send as many entries as its server takes headers.
const maxForwarded = 32

// Proxies are addresses whose word about where a request comes from is believed. The zero value believes nobody. It is
// immutable.
type Proxies struct{ list []netip.Prefix }

// ParseProxies reads a list of addresses and CIDRs with commas in between, e.g. 10.0.0.0/8,192.168.1.7,fd00::/8. Empty =
// none. A CIDR whose address has bits beyond its mask is refused: it doesn't say what its author meant.
func ParseProxies(s string) (Proxies, error) {
	var p Proxies
	if strings.TrimSpace(s) == "" {
		return p, nil
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		prefix, err := netip.ParsePrefix(item)
		if err != nil {
			addr, addrErr := netip.ParseAddr(item)
			if addrErr != nil || addr.Zone() != "" {
				return Proxies{}, invalid(EnvTrustedProxies, s, "want addresses and CIDRs with commas in between, e.g. 10.0.0.0/8,192.168.1.7; malformed is "+clip(item))
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix != prefix.Masked() {
			return Proxies{}, invalid(EnvTrustedProxies, s, clip(item)+" has bits beyond its mask: want "+prefix.Masked().String())
		}
		if prefix.Addr().Is4In6() {
			return Proxies{}, invalid(EnvTrustedProxies, s, clip(item)+" is an IPv4 address in IPv6's clothes: write it as IPv4")
		}
		p.list = append(p.list, prefix)
	}
	return p, nil
}

// Has tells whether the address is one of a trusted proxy.
func (p Proxies) Has(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range p.list {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Any tells whether there are any: without them a request is its direct peer's, see [Proxies.ClientIP].
func (p Proxies) Any() bool { return len(p.list) > 0 }

// Equal tells whether both lists are the same.
func (p Proxies) Equal(o Proxies) bool { return slices.Equal(p.list, o.list) }

// String returns the list as [ParseProxies] reads it.
func (p Proxies) String() string {
	names := make([]string, len(p.list))
	for i, prefix := range p.list {
		names[i] = prefix.String()
		if prefix.IsSingleIP() {
			names[i] = prefix.Addr().String()
		}
	}
	return strings.Join(names, ",")
}

// ClientIP returns the address of who sent a request, without a port, or "" where it isn't known. peer is the other end
// of the connection, host:port or an address; forwarded are the values of [ForwardedHeader], in their order.
//
// Without trusted proxies it is the peer's, whatever the header says: anyone can write one. Where the peer is trusted, its
// entry, the last one, is believed, and so on from the last to the first as long as the address is trusted; the first that
// isn't is the client's. What is malformed ends the way: the last address that was believed is returned.
func (p Proxies) ClientIP(peer string, forwarded func() []string) string {
	at, ok := hostAddr(peer)
	if !ok {
		return ""
	}
	if len(p.list) == 0 || !p.Has(at) {
		return at.String()
	}
	values := forwarded()
	looked := 0
	for i := len(values) - 1; i >= 0; i-- {
		rest := values[i]
		for more := true; more; {
			var entry string
			if cut := strings.LastIndexByte(rest, ','); cut >= 0 {
				rest, entry = rest[:cut], rest[cut+1:]
			} else {
				entry, more = rest, false
			}
			if entry = strings.TrimSpace(entry); entry == "" {
				continue // an empty element of a list means nothing (RFC 9110, 5.6.1)
			}
			if looked++; looked > maxForwarded {
				return at.String()
			}
			addr, ok := hostAddr(entry)
			if !ok {
				return at.String()
			}
			if at = addr; !p.Has(at) {
				return at.String()
			}
		}
	}
	return at.String()
}

// hostAddr reads an address with or without a port; an IPv6 address with a port stands in brackets. Zones are taken off:
// they mean something on one machine alone.
func hostAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = withPort.Addr()
	}
	return addr.Unmap().WithZone(""), true
}
