package graylib_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestConfigFrom(t *testing.T) {
	got, err := graylib.ConfigFrom(env(nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(graylib.Config{}, got); diff != "" {
		t.Errorf("an empty environment (-want +got):\n%s", diff)
	}
	got, err = graylib.ConfigFrom(env(map[string]string{
		"GRAY_ENABLED": "off", "GRAY_NACOS_ADDR": "n:8848", "GRAY_NACOS_NAMESPACE": "ns", "GRAY_NACOS_USERNAME": "u", "GRAY_NACOS_PASSWORD": "p",
		"GRAY_NAMESRV_ADDR": "r:9876", "GRAY_ROCKETMQ_ACCESS_KEY": "ak", "GRAY_ROCKETMQ_SECRET_KEY": "sk", "GRAY_OBSERVER": "http://o",
		"GRAY_JOURNAL": "/j", "GRAY_MESSAGES": "off", "GRAY_STATE": "/s", "GRAY_HOPS": "on",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := graylib.Config{
		Disabled: true, MessagesOff: true,
		NacosAddr: "n:8848", NacosNamespace: "ns", NacosUsername: "u", NacosPassword: "p", NamesrvAddr: "r:9876",
		RocketMQAccessKey: "ak", RocketMQSecretKey: "sk", Observer: "http://o", Journal: "/j", State: "/s", Hops: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a full environment (-want +got):\n%s", diff)
	}
	for _, name := range []string{"GRAY_ENABLED", "GRAY_MESSAGES", "GRAY_HOPS", "GRAY_BAGGAGE"} {
		for _, value := range []string{"ON", "true", "1", " on"} {
			_, err := graylib.ConfigFrom(env(map[string]string{name: value}))
			refused(t, err, name, value, "on or off")
		}
	}
}

// refused checks that err names the setting, its value, and what it may be.
func refused(t *testing.T, err error, name, value, want string) {
	t.Helper()
	if !errors.Is(err, graylib.ErrInvalidConfig) {
		t.Errorf("%s=%q: error %v, want ErrInvalidConfig", name, value, err)
		return
	}
	for _, part := range []string{name, `"` + value, want} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s=%q: the error %q doesn't say %q", name, value, err, part)
		}
	}
	if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 400 {
		t.Errorf("%s: not one clear line: %q", name, err)
	}
}

func TestIdentityFrom(t *testing.T) {
	got, err := graylib.IdentityFrom(env(map[string]string{
		"GRAY_SERVICE": "a", "GRAY_TAG": "gray", "GRAY_INSTANCE": "a-1", "GRAY_ADDR": "10.0.0.5:20001",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(graylib.Identity{Service: "a", Tag: "gray", Instance: "a-1", Addr: "10.0.0.5:20001"}, got); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
	for _, tag := range []string{"Gray", "baseline", " gray"} {
		_, err := graylib.IdentityFrom(env(map[string]string{"GRAY_SERVICE": "a", "GRAY_TAG": tag}))
		refused(t, err, "GRAY_TAG", tag, "")
		if !errors.Is(err, graylib.ErrMalformedTag) {
			t.Errorf("GRAY_TAG=%q: %v, want ErrMalformedTag too", tag, err)
		}
	}
}

func TestNewChecksTheIdentity(t *testing.T) {
	long := strings.Repeat("s", 65)
	for _, tt := range []struct {
		id                graylib.Identity
		name, value, want string
	}{
		{graylib.Identity{}, "GRAY_SERVICE", "", "want"},
		{graylib.Identity{Service: "a b"}, "GRAY_SERVICE", "a b", "without space"},
		{graylib.Identity{Service: "a#b"}, "GRAY_SERVICE", "a#b", "without space, #"},
		{graylib.Identity{Service: "a\x01"}, "GRAY_SERVICE", `a\x01`, "ASCII"},
		{graylib.Identity{Service: "ä"}, "GRAY_SERVICE", "ä", "ASCII"},
		{graylib.Identity{Service: long}, "GRAY_SERVICE", long, "at most 64"},
		{graylib.Identity{Service: "b.rpc"}, "GRAY_SERVICE", "b.rpc", ".rpc"},
		{graylib.Identity{Service: "a", Tag: "Gray"}, "GRAY_TAG", "Gray", "want"},
		{graylib.Identity{Service: "a", Instance: "a\n"}, "GRAY_INSTANCE", `a\n`, "ASCII"},
		{graylib.Identity{Service: "a", Addr: "h\n:1"}, "GRAY_ADDR", `h\n:1`, "host:port"},
	} {
		_, err := graylib.New(tt.id)
		refused(t, err, tt.name, tt.value, tt.want)
	}
}

func TestNewNamesTheInstance(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		rt := newRuntime(t, graylib.Identity{Service: "a", Tag: "gray"})
		name := rt.Identity().Instance
		if !strings.HasPrefix(name, "a-gray-") || seen[name] || name != rt.Identity().Instance {
			t.Fatalf("instance %q: want a new name that begins with a-gray-", name)
		}
		seen[name] = true
	}
	if got := newRuntime(t, graylib.Identity{Service: "a", Instance: "mine"}).Identity().Instance; got != "mine" {
		t.Errorf("instance %q, want the one given", got)
	}
}

func TestSetAddr(t *testing.T) {
	rt := newRuntime(t, graylib.Identity{Service: "a"})
	rt.SetAddr("h:1")
	rt.SetAddr("h:2")
	if got := rt.Identity().Addr; got != "h:1" {
		t.Errorf("addr %q, want the first that was set", got)
	}
	rt = newRuntime(t, graylib.Identity{Service: "a", Addr: "h:0"})
	rt.SetAddr("h:1")
	if got := rt.Identity().Addr; got != "h:0" {
		t.Errorf("addr %q, want the configured one", got)
	}
}
