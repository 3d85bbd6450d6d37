package graynacos

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
)

// CheckAddr tells whether [Open] and [Dial] can use a list host:port[,host:port…] as the addresses of a Nacos; nil = they can. The error
// is one line, which quotes the list and says what it may be; what names the list (a flag, say) is for the caller to say.
func CheckAddr(list string) error {
	_, err := addresses(list, newOptions(nil).grpcOffset)
	return err
}

// parseServers reads the list that the configuration names.
func parseServers(list string, grpcOffset int) ([]constant.ServerConfig, error) {
	servers, err := addresses(list, grpcOffset)
	if err != nil {
		return nil, fmt.Errorf("%w: %s=%w", graylib.ErrInvalidConfig, graylib.EnvNacosAddr, err)
	}
	return servers, nil
}

// addresses reads a list host:port[,host:port…].
func addresses(list string, grpcOffset int) ([]constant.ServerConfig, error) {
	var servers []constant.ServerConfig
	for addr := range strings.SplitSeq(list, ",") {
		host, port, err := splitAddr(strings.TrimSpace(addr))
		if err != nil {
			return nil, fmt.Errorf("%q: %w: want host:port[,host:port…], e.g. 127.0.0.1:8848", list, err)
		}
		grpc := int(port) + grpcOffset
		if grpc < 1 || grpc > 65535 {
			return nil, fmt.Errorf("%q: the gRPC port of %s would be %d (port %+d): want 1 to 65535", list, addr, grpc, grpcOffset)
		}
		if strings.Contains(host, ":") {
			host = "[" + host + "]" // the client puts host and port together by itself
		}
		servers = append(servers, constant.ServerConfig{
			IpAddr: host, Port: uint64(port), GrpcPort: uint64(grpc), Scheme: "http", ContextPath: "/nacos",
		})
	}
	return servers, nil
}

// splitAddr is [net.SplitHostPort] with a host that isn't empty and a numeric port from 1 to 65535.
func splitAddr(addr string) (host string, port uint16, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if host == "" || strings.ContainsAny(host, "/ \t\r\n") {
		return "", 0, fmt.Errorf("%q has no host", addr)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("%q: port %q is not 1 to 65535", addr, p)
	}
	return host, uint16(n), nil
}

// grpcAddr is where a server takes the client's connections.
func grpcAddr(s constant.ServerConfig) string {
	return s.IpAddr + ":" + strconv.FormatUint(s.GrpcPort, 10)
}

// addrKey makes a folder's name of a list of servers, whatever their order.
func addrKey(servers []constant.ServerConfig) string {
	names := make([]string, 0, len(servers))
	for _, s := range servers {
		names = append(names, strings.Trim(s.IpAddr, "[]")+"_"+strconv.FormatUint(s.Port, 10))
	}
	slices.Sort(names)
	return fileName(strings.Join(slices.Compact(names), ","))
}

// normalNamespace returns the namespace's id as the client wants it: empty for the public one.
func normalNamespace(id string) string {
	id = strings.TrimSpace(id)
	if id == "public" {
		return ""
	}
	return id
}
