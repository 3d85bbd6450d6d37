package localinfra

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		says string
	}{
		{"no state", Options{}, "State is empty"},
		{"colon in the cache", Options{State: "s", Cache: "/a:b"}, `"/a:b"; it must not contain ':'`},
		{"negative port", Options{State: "s", Broker: Port{Number: -1}}, "Broker port is -1; it must be from 3 to 65534"},
		{"port too high", Options{State: "s", Namesrv: Port{Number: 65536}}, "Namesrv port is 65536; it must be from 1 to 65535"},
		{"no room below Nacos", Options{State: "s", Nacos: Port{Number: 1000}}, "Nacos port is 1000; it must be from 1001 to 64534"},
		{"no room above Nacos", Options{State: "s", Nacos: Port{Number: 64535}}, "Nacos port is 64535"},
		{"own key", Options{State: "s", BrokerConfig: map[string]string{"listenPort": "1"}}, `sets "listenPort" to "1"; ports, addresses and folders`},
		{"no key", Options{State: "s", BrokerConfig: map[string]string{"a b": "1"}}, `has the key "a b"`},
		{"two lines", Options{State: "s", BrokerConfig: map[string]string{"a": "1\nb=2"}}, `"1\nb=2"; it must be one line`},
		{"negative limit", Options{State: "s", ReadyLimit: -time.Second}, "ReadyLimit is -1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.opts.complete()
			if !errors.Is(err, ErrOption) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("complete() = %v, want ErrOption in one line with %q", err, c.says)
			}
		})
	}
}

func TestOptionsAreCompleted(t *testing.T) {
	cache := t.TempDir()
	t.Setenv(CacheEnv, cache)
	o, err := Options{State: "s", BrokerConfig: map[string]string{"messageDelayLevel": "1s 2s"}}.complete()
	if err != nil {
		t.Fatal(err)
	}
	if o.Nacos.Number != DefaultNacosPort || o.Namesrv.Number != DefaultNamesrvPort || o.Broker.Number != DefaultBrokerPort {
		t.Errorf("ports = %v %v %v, want the usual ones", o.Nacos, o.Namesrv, o.Broker)
	}
	if !filepath.IsAbs(o.State) || o.Cache != cache || o.ReadyLimit != DefaultReadyLimit {
		t.Errorf("State %q, Cache %q, ReadyLimit %s", o.State, o.Cache, o.ReadyLimit)
	}

	t.Setenv(CacheEnv, "")
	t.Setenv("XDG_CACHE_HOME", "")
	t.Setenv("HOME", "")
	if _, err := (Options{State: "s"}).complete(); !errors.Is(err, ErrOption) || !strings.Contains(err.Error(), CacheEnv) {
		t.Errorf("without a home: %v, want ErrOption that names %s", err, CacheEnv)
	}
}

func TestDiskRoom(t *testing.T) {
	for _, c := range []struct {
		blocks, free, available uint64
		full                    bool
	}{
		{100, 50, 50, false},
		{100, 11, 11, false},
		{100, 10, 10, true},
		{100, 20, 5, true}, // what only root may take does not count
		{0, 0, 0, false},
	} {
		err := diskRoom("x", c.blocks, c.free, c.available)
		if errors.Is(err, ErrDiskFull) != c.full {
			t.Errorf("diskRoom(%d, %d, %d) = %v, want full = %t", c.blocks, c.free, c.available, err, c.full)
		}
	}
}
