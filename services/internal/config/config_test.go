package config

import (
	"bytes"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
)

var c = Service{Name: "c", HTTPPort: 20003, RPCPort: 13080, Messages: true, Job: true}

func load(env map[string]string, args ...string) (Config, error) {
	return c.Load(args, func(k string) string { return env[k] }, &bytes.Buffer{})
}

func TestDefaults(t *testing.T) {
	got, err := load(map[string]string{"ADVERTISE": "10.0.0.5"})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Identity: graylib.Identity{Service: "c", Addr: "10.0.0.5:20003"},
		Gray: graylib.Config{
			NacosAddr: "127.0.0.1:8848", NamesrvAddr: "127.0.0.1:9876",
		},
		Bind: "0.0.0.0", Advertise: "10.0.0.5", HTTPPort: 20003, RPCPort: 13080, ShowPort: ShowAuto, Topic: "TEST_MQ",
		LogLevel: slog.LevelInfo, Settle: time.Second, Drain: 25 * time.Second, CallTimeout: 10 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.ListenHTTP() != "0.0.0.0:20003" || got.RPCAddr() != "10.0.0.5:13080" || Group("c") != "test-c" {
		t.Errorf("listen %s, RPC address %s, group %s", got.ListenHTTP(), got.RPCAddr(), Group("c"))
	}
}

func TestPrecedence(t *testing.T) {
	env := map[string]string{"HTTP_PORT": "1001", "RPC_PORT": "1002", "GRAY_TAG": "gray", "BIND": "127.0.0.1", "DRAIN": " 1.5 ", "TOPIC": ""}
	got, err := load(env, "--rpc-port=1003", "-gray-tag", "blue", "--c-job-interval", "500ms", "--log-format=JSON", "--log-level=debug", "--settle=0")
	if err != nil {
		t.Fatal(err)
	}
	if got.HTTPPort != 1001 || got.RPCPort != 1003 || got.Identity.Tag != "blue" || got.Topic != "TEST_MQ" || got.JobInterval != 500*time.Millisecond ||
		!got.LogJSON || got.LogLevel != slog.LevelDebug || got.Settle != 0 || got.Drain != 1500*time.Millisecond {
		t.Errorf("%+v", got)
	}
	if got.Advertise != "127.0.0.1" {
		t.Errorf("advertised host %q, want the address that is listened on", got.Advertise)
	}
}

func TestWrong(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		want []string // in the error
	}{
		"port":             {env: map[string]string{"HTTP_PORT": "http"}, want: []string{`HTTP_PORT="http"`, "1 to 65535"}},
		"port 0":           {env: map[string]string{"RPC_PORT": "0"}, want: []string{`RPC_PORT="0"`}},
		"port too large":   {args: []string{"--http-port", "65536"}, want: []string{`HTTP_PORT="65536"`}},
		"same port":        {env: map[string]string{"HTTP_PORT": "7000", "RPC_PORT": "7000"}, want: []string{"RPC_PORT", "HTTP_PORT"}},
		"bind":             {env: map[string]string{"BIND": "localhost"}, want: []string{`BIND="localhost"`, "IP address"}},
		"advertise port":   {env: map[string]string{"ADVERTISE": "a.example:80"}, want: []string{`ADVERTISE="a.example:80"`, "without a port"}},
		"advertise any":    {env: map[string]string{"ADVERTISE": "0.0.0.0"}, want: []string{`ADVERTISE="0.0.0.0"`}},
		"show port":        {env: map[string]string{"SHOW_PORT": "yes"}, want: []string{`SHOW_PORT="yes"`, "auto, always or never"}},
		"log format":       {env: map[string]string{"LOG_FORMAT": "xml"}, want: []string{`LOG_FORMAT="xml"`, "json or text"}},
		"log level":        {env: map[string]string{"LOG_LEVEL": "loud"}, want: []string{`LOG_LEVEL="loud"`, "debug, info, warn or error"}},
		"topic":            {env: map[string]string{"TOPIC": "a b"}, want: []string{`TOPIC="a b"`}},
		"interval":         {env: map[string]string{"C_JOB_INTERVAL": "1us"}, want: []string{`C_JOB_INTERVAL="1us"`, "10ms"}},
		"drain":            {env: map[string]string{"DRAIN": "soon"}, want: []string{`DRAIN="soon"`, "seconds"}},
		"drain too long":   {env: map[string]string{"DRAIN": "601"}, want: []string{`DRAIN="601"`}},
		"not a number":     {env: map[string]string{"SETTLE": "NaN"}, want: []string{`SETTLE="NaN"`}},
		"tag":              {env: map[string]string{"GRAY_TAG": "Gray"}, want: []string{"GRAY_TAG", `"Gray"`}},
		"reserved tag":     {env: map[string]string{"GRAY_TAG": "baseline"}, want: []string{"GRAY_TAG", `"baseline"`, "reserved"}},
		"switch":           {env: map[string]string{"GRAY_ENABLED": "yes"}, want: []string{`GRAY_ENABLED="yes"`, "on or off"}},
		"trusted proxies":  {env: map[string]string{"GRAY_TRUSTED_PROXIES": "here"}, want: []string{`GRAY_TRUSTED_PROXIES="here"`, "CIDRs"}},
		"service":          {env: map[string]string{"GRAY_SERVICE": "a"}, want: []string{`GRAY_SERVICE="a"`, "service c"}},
		"name servers":     {env: map[string]string{"GRAY_NAMESRV_ADDR": "localhost"}, want: []string{`GRAY_NAMESRV_ADDR="localhost"`, "host:port"}},
		"own address":      {env: map[string]string{"GRAY_ADDR": "10.0.0.5"}, want: []string{`GRAY_ADDR="10.0.0.5"`, "host:port"}},
		"unknown flag":     {args: []string{"--colour"}, want: []string{"colour", "-h"}},
		"argument":         {args: []string{"now"}, want: []string{`"now"`, "-h"}},
		"two at once":      {env: map[string]string{"HTTP_PORT": "x", "DRAIN": "y"}, want: []string{"HTTP_PORT", "\n", "DRAIN"}},
		"secret as a flag": {args: []string{"--gray-nacos-password=x"}, want: []string{"gray-nacos-password"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(test.env, test.args...)
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, graylib.ErrInvalidConfig) {
				t.Fatalf("error %v, want one of a wrong setting", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q has no %q", err, part)
				}
			}
		})
	}
}

func TestHelpListsAll(t *testing.T) {
	var out bytes.Buffer
	_, err := c.Load([]string{"-h"}, func(string) string { return "" }, &out)
	if !errors.Is(err, ErrHelp) {
		t.Fatalf("error %v, want ErrHelp", err)
	}
	for _, s := range c.settings() {
		if !strings.Contains(out.String(), s.name) || s.usage == "" {
			t.Errorf("%s is not in the help, or has no meaning", s.name)
		}
	}
	gateway := Service{Name: "gateway", HTTPPort: 20000}
	for _, s := range gateway.settings() {
		if s.name == EnvRPCPort || s.name == EnvTopic || s.name == EnvJobInterval || s.name == graylib.EnvNamesrvAddr {
			t.Errorf("the gateway has %s", s.name)
		}
	}
}

// TestAllOfGraylibIsListed: a variable of graylib's that isn't among the settings would be ignored without a word.
func TestAllOfGraylibIsListed(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../../../pkg/graylib/names.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[string]bool)
	for _, s := range graySettings(true) {
		listed[s.name] = true
	}
	found := 0
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Env") {
			return true
		}
		found++
		name, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil || !listed[name] {
			t.Errorf("graylib.%s (%s) is not among the settings", spec.Names[0].Name, name)
		}
		return true
	})
	if found < 20 {
		t.Errorf("%d variables found in names.go, want all of them", found)
	}
}

func TestGatewayReadsWhatConcernsTheEdge(t *testing.T) {
	gateway := Service{Name: "gateway", HTTPPort: 20000}
	env := map[string]string{"GRAY_TRUSTED_PROXIES": "10.0.0.0/8,192.168.1.7", "GRAY_HOPS": "on"}
	got, err := gateway.Load([]string{"--gray-trust-cidrs=10.1.0.0/16"}, func(k string) string { return env[k] }, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	client := got.Gray.TrustedProxies.ClientIP("10.0.0.1:5", func() []string { return []string{"203.0.113.9, 192.168.1.7"} })
	if client != "203.0.113.9" || !got.Gray.Hops || got.Gray.TrustCIDRs != "10.1.0.0/16" {
		t.Errorf("the client is %q; %+v", client, got.Gray)
	}
}

func TestFirstAddress(t *testing.T) {
	nets := func(cidrs ...string) func() ([]net.Addr, error) {
		return func() ([]net.Addr, error) {
			var list []net.Addr
			for _, c := range cidrs {
				ip, n, err := net.ParseCIDR(c)
				if err != nil {
					return nil, err
				}
				list = append(list, &net.IPNet{IP: ip, Mask: n.Mask})
			}
			return list, nil
		}
	}
	for want, addrs := range map[string]func() ([]net.Addr, error){
		"10.0.0.5":    nets("127.0.0.1/8", "fe80::1/64", "fd00::5/64", "10.0.0.5/24", "10.0.0.6/24"),
		"fd00::5":     nets("127.0.0.1/8", "::1/128", "fe80::1/64", "fd00::5/64"),
		"127.0.0.1":   nets("127.0.0.1/8", "169.254.1.1/16"),
		"192.168.1.2": nets("192.168.1.2/16"),
	} {
		if got := firstAddress(addrs); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := firstAddress(func() ([]net.Addr, error) { return nil, errors.New("no") }); got != "127.0.0.1" {
		t.Errorf("%s", got)
	}
}
