package testenv

import "testing"

func TestLookup(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		addr string
		want verdict
	}{
		{"set", map[string]string{EnvNacos: "127.0.0.1:8848"}, "127.0.0.1:8848", found},
		{"set in CI", map[string]string{EnvNacos: "127.0.0.1:8848", "CI": "true"}, "127.0.0.1:8848", found},
		{"missing", nil, "", maySkip},
		{"missing in CI", map[string]string{"CI": "true"}, "", mustHave},
		{"another variable is set", map[string]string{EnvNamesrv: "127.0.0.1:9876", "CI": "true"}, "", mustHave},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, got := lookup(EnvNacos, func(k string) string { return tt.env[k] })
			if addr != tt.addr || got != tt.want {
				t.Errorf("lookup = %q, %v; want %q, %v", addr, got, tt.addr, tt.want)
			}
		})
	}
}
