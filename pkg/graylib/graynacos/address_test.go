package graynacos

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/graychain/graychain/pkg/graylib"
)

func TestParseServers(t *testing.T) {
	for _, tt := range []struct {
		list string
		want []string // gRPC addresses
	}{
		{"127.0.0.1:8848", []string{"127.0.0.1:9848"}},
		{" n1:8848, n2:18848 ", []string{"n1:9848", "n2:19848"}},
		{"[::1]:8848", []string{"[::1]:9848"}},
	} {
		servers, err := parseServers(tt.list, 1000)
		if err != nil {
			t.Errorf("%q: %v", tt.list, err)
			continue
		}
		if err := CheckAddr(tt.list); err != nil {
			t.Errorf("CheckAddr(%q): %v", tt.list, err)
		}
		var got []string
		for _, s := range servers {
			got = append(got, grpcAddr(s))
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.list, diff)
		}
	}
}

func TestParseServersRefuses(t *testing.T) {
	for _, list := range []string{"", "nacos", "nacos:", ":8848", "nacos:http", "nacos:0", "nacos:65536", "http://nacos:8848",
		"n1:8848,", "n1:8848;n2:8848", "nacos:65000"} {
		_, err := parseServers(list, 1000)
		if !errors.Is(err, graylib.ErrInvalidConfig) {
			t.Errorf("%q: error %v, want one that wraps ErrInvalidConfig", list, err)
			continue
		}
		if err := CheckAddr(list); err == nil || strings.Contains(err.Error(), graylib.EnvNacosAddr) || !strings.HasPrefix(err.Error(), strconv.Quote(list)+": ") {
			t.Errorf("CheckAddr(%q): %v, want an error about the list, whatever named it", list, err)
		}
		if s := err.Error(); !strings.Contains(s, graylib.EnvNacosAddr) || strings.Contains(s, "\n") {
			t.Errorf("%q: %q: want one line that names %s", list, s, graylib.EnvNacosAddr)
		}
	}
}

func TestOpenRefusesBadConfig(t *testing.T) {
	for _, c := range []graylib.Config{{NacosAddr: "nacos"}, {NacosAddr: "nacos:8848", NacosPassword: "secret"}} {
		_, _, err := Open(graylib.Identity{Service: "a"}, c, nil)
		if !errors.Is(err, graylib.ErrInvalidConfig) {
			t.Errorf("%+v: error %v, want one that wraps ErrInvalidConfig", c, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestAddrKey(t *testing.T) {
	key := func(list string) string {
		servers, err := parseServers(list, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return addrKey(servers)
	}
	if a, b := key("n1:8848,n2:8848"), key("n2:8848,n1:8848,n1:8848"); a != b {
		t.Errorf("the order of addresses changes the key: %q, %q", a, b)
	}
	if a, b := key("n1:8848"), key("n1:8849"); a == b {
		t.Errorf("two servers have the key %q", a)
	}
}
