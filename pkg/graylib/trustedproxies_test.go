package graylib_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/graychain/graychain/pkg/graylib"
)

func TestParseProxies(t *testing.T) {
	for in, want := range map[string]string{
		"": "", " ": "", "10.0.0.0/8": "10.0.0.0/8", " 10.0.0.0/8 , 192.168.1.7,fd00::/8,::1": "10.0.0.0/8,192.168.1.7,fd00::/8,::1", "0.0.0.0/0": "0.0.0.0/0",
	} {
		got, err := graylib.ParseProxies(in)
		if err != nil || got.String() != want {
			t.Errorf("ParseProxies(%q) = %q, %v; want %q", in, got, err, want)
		}
		again, err := graylib.ParseProxies(got.String())
		if err != nil || !again.Equal(got) {
			t.Errorf("ParseProxies(%q) = %q, %v; want the same", got, again, err)
		}
	}
	for in, want := range map[string]string{
		"10.0.0.0/33": "malformed is 10.0.0.0/33", "10.0.0.1/8": "want 10.0.0.0/8", "gateway": "malformed is gateway", "10.0.0.1,": "malformed is",
		"10.0.0.1:80": "malformed", "fe80::1%eth0": "malformed", "::ffff:10.0.0.1": "write it as IPv4", "10.0.0.1;10.0.0.2": "malformed",
	} {
		_, err := graylib.ParseProxies(in)
		refused(t, err, "GRAY_TRUSTED_PROXIES", in, want)
	}
}

func TestClientIP(t *testing.T) {
	for _, tt := range []struct {
		name, trusted, peer string
		forwarded           []string
		want                string
	}{
		{"no proxy is trusted", "", "1.2.3.4:80", []string{"9.9.9.9"}, "1.2.3.4"},
		{"the peer is not trusted", "10.0.0.0/8", "1.2.3.4:80", []string{"9.9.9.9"}, "1.2.3.4"},
		{"a trusted peer", "10.0.0.0/8", "10.0.0.1:80", []string{"9.9.9.9"}, "9.9.9.9"},
		{"a trusted peer that says nothing", "10.0.0.0/8", "10.0.0.1:80", nil, "10.0.0.1"},
		{"what the client says of its own way counts for nothing", "10.0.0.0/8", "10.0.0.1:80", []string{"6.6.6.6, 10.0.0.9, 9.9.9.9"}, "9.9.9.9"},
		{"a way through two proxies", "10.0.0.0/8", "10.0.0.1:80", []string{"6.6.6.6, 9.9.9.9, 10.0.0.2"}, "9.9.9.9"},
		{"several headers are one list", "10.0.0.0/8", "10.0.0.1:80", []string{"6.6.6.6", "9.9.9.9,10.0.0.3", " 10.0.0.2 "}, "9.9.9.9"},
		{"trusted alone", "10.0.0.0/8", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"malformed", "10.0.0.0/8", "10.0.0.1:80", []string{"9.9.9.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"obfuscated", "10.0.0.0/8", "10.0.0.1:80", []string{"_hidden"}, "10.0.0.1"},
		{"empty elements", "10.0.0.0/8", "10.0.0.1:80", []string{"9.9.9.9, ,", ""}, "9.9.9.9"},
		{"with ports", "10.0.0.0/8", "10.0.0.1:80", []string{"[2001:db8::1]:443, 10.0.0.2:8080"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.0/8", "10.0.0.1:80", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv6", "fd00::/8", "[fd00::1]:80", []string{"2001:db8::1"}, "2001:db8::1"},
		{"IPv4 in IPv6", "10.0.0.0/8", "[::ffff:10.0.0.1]:80", []string{"::ffff:9.9.9.9"}, "9.9.9.9"},
		{"no peer", "10.0.0.0/8", "", []string{"9.9.9.9"}, ""},
		{"a peer that is no address", "0.0.0.0/0", "@", []string{"9.9.9.9"}, ""},
		{"endless", "0.0.0.0/0", "10.0.0.1:80", []string{strings.Repeat("1.1.1.1,", 1000) + strings.TrimSuffix(strings.Repeat("2.2.2.2,", 32), ",")}, "2.2.2.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := graylib.ParseProxies(tt.trusted)
			if err != nil {
				t.Fatal(err)
			}
			asked := false
			got := p.ClientIP(tt.peer, func() []string { asked = true; return tt.forwarded })
			if got != tt.want {
				t.Errorf("ClientIP = %q, want %q", got, tt.want)
			}
			if asked && tt.trusted == "" {
				t.Error("the header was read though nobody is trusted")
			}
		})
	}
}

// Whatever clients send: the answer is an address, and never one behind an address that isn't trusted.
func FuzzClientIP(f *testing.F) {
	for _, s := range []string{"", "9.9.9.9", "6.6.6.6, 10.0.0.2", "[::1]:80", "unknown,_x,10.0.0.2", ",,,", "10.0.0.1:99999", "fe80::1%eth0"} {
		f.Add(s)
	}
	p, err := graylib.ParseProxies("10.0.0.0/8")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got := p.ClientIP("10.0.0.1:80", func() []string { return []string{header} })
		addr, err := netip.ParseAddr(got)
		if err != nil {
			t.Fatalf("ClientIP of %q = %q, which is no address", header, got)
		}
		// An honest proxy's entry behind it is the one that counts, whatever stands before.
		behind := p.ClientIP("10.0.0.1:80", func() []string { return []string{header, "8.8.8.8"} })
		if behind != "8.8.8.8" {
			t.Fatalf("behind %q: %q, want what the proxy said", header, behind)
		}
		if addr.Zone() != "" || addr.Is4In6() {
			t.Fatalf("ClientIP of %q = %q", header, got)
		}
	})
}
