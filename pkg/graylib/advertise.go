package graylib

import (
	"net"
	"strconv"
)

// AdvertisedAddr returns the host:port by which others reach a server that listens on the given address. advertise is
// what the configuration says: host:port, or a host alone, to which the listener's port is added. Where it is
// empty, the listener's own host is taken if it is a specific one, else the machine's first IPv4 address that is
// not loopback, else 127.0.0.1.
func AdvertisedAddr(listen net.Addr, advertise string) (string, error) {
	host, port, err := net.SplitHostPort(listen.String())
	if err != nil {
		return "", invalid("listen address", listen.String(), "want host:port")
	}
	if advertise != "" {
		if h, p, err := net.SplitHostPort(advertise); err == nil {
			n, err := strconv.ParseUint(p, 10, 16)
			if h == "" || err != nil || n == 0 {
				return "", invalid("advertised address", advertise, "want a host, or host:port with a port from 1 to 65535")
			}
			return advertise, nil
		}
		if ip := net.ParseIP(advertise); ip == nil && !hostName(advertise) {
			return "", invalid("advertised address", advertise, "want a host, or host:port with a port from 1 to 65535")
		}
		return net.JoinHostPort(advertise, port), nil
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = machineAddr()
	}
	return net.JoinHostPort(host, port), nil
}

// hostName tells whether s can be the name of a host.
func hostName(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return len(s) > 0 && len(s) <= 253 // RFC 1035 section 2.3.4, as text without the root's dot
}

// machineAddr returns the first IPv4 address of an interface that is up and not loopback, or 127.0.0.1.
func machineAddr() string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "127.0.0.1"
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
				return n.IP.String()
			}
		}
	}
	return "127.0.0.1"
}
