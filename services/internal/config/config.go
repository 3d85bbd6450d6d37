// Package config reads the settings that the four services share: defaults, over them the environment, over it flags.
package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// The services' own variables; those of graylib (GRAY_…) stand in its names.go.
const (
	EnvHTTPPort    = "HTTP_PORT"
	EnvRPCPort     = "RPC_PORT"
	EnvBind        = "BIND"
	EnvAdvertise   = "ADVERTISE"
	EnvTopic       = "TOPIC"
	EnvShowPort    = "SHOW_PORT"
	EnvLogFormat   = "LOG_FORMAT"
	EnvLogLevel    = "LOG_LEVEL"
	EnvDrain       = "DRAIN"
	EnvSettle      = "SETTLE"
	EnvCallTimeout = "CALL_TIMEOUT"
	EnvJobInterval = "C_JOB_INTERVAL"

	// EnvTracesExporter and OpenTelemetry's other variables are read by services/internal/telemetry and the SDK.
	EnvTracesExporter = "OTEL_TRACES_EXPORTER"
)

// ShowPort says when an address is shown with its port.
type ShowPort string

// When an address is shown with its port.
const (
	ShowAuto   ShowPort = "auto"   // where the host is a loopback address: several instances share it
	ShowAlways ShowPort = "always" //
	ShowNever  ShowPort = "never"  //
)

// Config is what a service was told. Fields that a service has no use for are zero.
type Config struct {
	Identity graylib.Identity
	Gray     graylib.Config

	Bind      string // listen address
	Advertise string // host that others reach this instance by; an IPv6 address stands without brackets
	HTTPPort  int
	RPCPort   int // b and c
	ShowPort  ShowPort

	Topic       string        // a and c
	JobInterval time.Duration // c; 0 = no job

	LogJSON  bool
	LogLevel slog.Level

	Settle      time.Duration // between leaving the registry and closing the doors
	Drain       time.Duration // how long what is being handled may take to end, at most
	CallTimeout time.Duration // of one call to the next service
}

// Service says which settings a service has.
type Service struct {
	Name     string // its name in the registry
	HTTPPort int    // default
	RPCPort  int    // default; 0 = it serves no RPC
	Messages bool   // it consumes or produces
	Job      bool   // it has a job of its own
}

// Load reads a service's configuration from args (without the program's name) and getenv (nil = os.Getenv). Errors name the
// variable, the value and what it may be, all of them at once, and wrap ErrInvalid or graylib.ErrInvalidConfig; after -h the
// list of settings is on out and the error is ErrHelp.
func (s Service) Load(args []string, getenv func(string) string, out io.Writer) (Config, error) {
	v, err := merge(s.Name, s.settings(), args, getenv, out)
	if err != nil {
		return Config{}, err
	}
	var p problems
	c := Config{
		HTTPPort:    p.port(v, EnvHTTPPort),
		Bind:        p.bind(v),
		ShowPort:    ShowPort(p.oneOf(v, EnvShowPort, string(ShowAuto), string(ShowAlways), string(ShowNever))),
		LogJSON:     p.oneOf(v, EnvLogFormat, "json", "text") == "json",
		LogLevel:    p.level(v),
		Settle:      p.seconds(v, EnvSettle, 0, 60),
		Drain:       p.seconds(v, EnvDrain, 0.1, 600),
		CallTimeout: p.seconds(v, EnvCallTimeout, 0.01, 600),
	}
	if s.RPCPort != 0 {
		c.RPCPort = p.port(v, EnvRPCPort)
		if c.RPCPort != 0 && c.RPCPort == c.HTTPPort {
			p.add(invalid(EnvRPCPort, v[EnvRPCPort], "want another port than "+EnvHTTPPort))
		}
	}
	if s.Messages {
		c.Topic = p.topic(v)
	}
	if s.Job {
		c.JobInterval = p.interval(v, EnvJobInterval)
	}
	c.Advertise = p.advertise(v, c.Bind)
	c.Identity, c.Gray = p.gray(s.Name, v, c)
	return c, errors.Join(p...)
}

// Group returns the consumer or producer group of a service: test-a for a.
func Group(service string) string { return "test-" + service }

// HTTPAddr returns the host:port by which others reach this instance over HTTP.
func (c Config) HTTPAddr() string { return net.JoinHostPort(c.Advertise, strconv.Itoa(c.HTTPPort)) }

// RPCAddr returns the host:port by which others reach this instance over RPC.
func (c Config) RPCAddr() string { return net.JoinHostPort(c.Advertise, strconv.Itoa(c.RPCPort)) }

// ListenHTTP returns the address to listen on for HTTP.
func (c Config) ListenHTTP() string { return net.JoinHostPort(c.Bind, strconv.Itoa(c.HTTPPort)) }

// ListenRPC returns the address to listen on for RPC.
func (c Config) ListenRPC() string { return net.JoinHostPort(c.Bind, strconv.Itoa(c.RPCPort)) }

// settings lists what this service may be told, in the order of -h.
func (s Service) settings() []setting {
	list := []setting{{name: EnvHTTPPort, fallback: strconv.Itoa(s.HTTPPort), usage: "port of the HTTP server, 1-65535"}}
	if s.RPCPort != 0 {
		list = append(list, setting{name: EnvRPCPort, fallback: strconv.Itoa(s.RPCPort), usage: "port of the Kitex server, 1-65535"})
	}
	list = append(list,
		setting{name: EnvBind, fallback: "0.0.0.0", usage: "IP address to listen on"},
		setting{name: EnvAdvertise, usage: "host that others reach this instance by; default: " + EnvBind +
			" where that is one address, else the first address that isn't a loopback one"},
		setting{name: EnvShowPort, fallback: string(ShowAuto), usage: "answers show ip:port in place of ip: auto (where the host is a loopback address), always, never"},
	)
	if s.Messages {
		list = append(list, setting{name: EnvTopic, fallback: "TEST_MQ", usage: "RocketMQ topic"})
	}
	if s.Job {
		list = append(list, setting{name: EnvJobInterval, fallback: "0", usage: "how often a message is sent without any request, e.g. 500ms or 5s; 0 = never"})
	}
	list = append(list,
		setting{name: EnvCallTimeout, fallback: "10", usage: "seconds that one call to the next service may take"},
		setting{name: EnvSettle, fallback: "1", usage: "seconds between leaving the registry and closing the doors at the stop, so that callers have dropped the route"},
		setting{name: EnvDrain, fallback: "25", usage: "seconds that requests and messages in hand may take to end at the stop"},
		setting{name: EnvLogFormat, fallback: "text", usage: "json or text"},
		setting{name: EnvLogLevel, fallback: "info", usage: "debug, info, warn or error"},
	)
	return append(list, graySettings(s.Messages)...)
}

// graySettings lists what graylib reads.
func graySettings(messages bool) []setting {
	list := []setting{
		{name: graylib.EnvTag, usage: "own tag; none = baseline"},
		{name: graylib.EnvInstance, usage: "this instance's name, unique among all that ever run; default: generated"},
		{name: graylib.EnvEnabled, fallback: "on", usage: "on or off: the kill switch of graylib"},
		{name: graylib.EnvNacosAddr, fallback: "127.0.0.1:8848", usage: "Nacos, host:port[,host:port...]"},
		{name: graylib.EnvNacosNamespace, usage: "Nacos namespace; default: public"},
		{name: graylib.EnvNacosUsername, usage: "Nacos user"},
		{name: graylib.EnvNacosPassword, usage: "Nacos password", envOnly: true},
	}
	if messages {
		list = append(list,
			setting{name: graylib.EnvNamesrvAddr, fallback: "127.0.0.1:9876", usage: "RocketMQ name servers, host:port[;host:port...]"},
			setting{name: graylib.EnvRocketMQAccessKey, usage: "RocketMQ access key"},
			setting{name: graylib.EnvRocketMQSecretKey, usage: "RocketMQ secret key", envOnly: true},
			setting{name: graylib.EnvMessages, fallback: "on", usage: "on or off: message grayscale of this service"},
		)
	}
	return append(list,
		setting{name: graylib.EnvObserver, usage: "URL of an observer to report to; default: none"},
		setting{name: graylib.EnvJournal, usage: "folder for the journal of reports, which survives kill -9; default: none"},
		setting{name: EnvTracesExporter, usage: "otlp or none: OpenTelemetry traces; default: otlp where OTEL_EXPORTER_OTLP_ENDPOINT is set", envOnly: true},
		setting{name: graylib.EnvBaggage, fallback: "off", usage: "on or off: the tag in W3C baggage beside our own key"},
		setting{name: graylib.EnvPresets, usage: "other systems' keys beside ours: mse,polaris=<lane group>,sermant=<key>,joylive=<lane space id>; default: none"},
		setting{name: graylib.EnvTrustKeys, usage: "at the edge: keys of signed tags, id:base64[,id:base64...]; default: none", envOnly: true},
		setting{name: graylib.EnvTrustCIDRs, usage: "at the edge: networks whose tag is believed, CIDR[,CIDR...]; default: none"},
		setting{name: graylib.EnvTrustedProxies, usage: "at the edge: addresses and CIDRs of proxies whose X-Forwarded-For is believed, with commas in between; default: none"},
		setting{name: graylib.EnvHops, fallback: "off", usage: "on or off: requests here collect the hops below them; these services always do, because their answers show them"},
		setting{name: graylib.EnvZone, usage: "zone that this instance stands in; those of its own zone are preferred; default: none"},
		setting{name: graylib.EnvState, usage: "folder for the last good rules and the clients' caches; default: the clients' own"},
		setting{name: graylib.EnvService, usage: "must be this service's name where it is set"},
		setting{name: graylib.EnvAddr, usage: "host:port that answers show for this instance; default: " + EnvAdvertise + " and " + EnvHTTPPort},
	)
}

// problems collects what is wrong, so that one start tells all of it.
type problems []error

func (p *problems) add(err error) { *p = append(*p, err) }

func (p *problems) port(v values, name string) int {
	n, err := strconv.Atoi(v[name])
	if err != nil || n < 1 || n > math.MaxUint16 {
		p.add(invalid(name, v[name], "want a port, 1 to 65535"))
		return 0
	}
	return n
}

func (p *problems) bind(v values) string {
	host := strings.Trim(v[EnvBind], "[]")
	if net.ParseIP(host) == nil {
		p.add(invalid(EnvBind, v[EnvBind], "want an IP address to listen on, e.g. 127.0.0.1 or 0.0.0.0"))
	}
	return host
}

func (p *problems) oneOf(v values, name string, allowed ...string) string {
	for _, a := range allowed {
		if strings.EqualFold(v[name], a) {
			return a
		}
	}
	p.add(invalid(name, v[name], "want "+strings.Join(allowed[:len(allowed)-1], ", ")+" or "+allowed[len(allowed)-1]))
	return ""
}

func (p *problems) level(v values) slog.Level {
	var l slog.Level
	switch name := p.oneOf(v, EnvLogLevel, "debug", "info", "warn", "error"); name {
	case "":
	default:
		_ = l.UnmarshalText([]byte(name)) // the four names are slog's own
	}
	return l
}

// seconds reads a number of seconds, "25" or "0.5", or a duration, "25s".
func (p *problems) seconds(v values, name string, least, most float64) time.Duration {
	s, err := strconv.ParseFloat(v[name], 64)
	if err != nil {
		var d time.Duration
		d, err = time.ParseDuration(v[name])
		s = d.Seconds()
	}
	if err != nil || math.IsNaN(s) || s < least || s > most {
		p.add(invalid(name, v[name], fmt.Sprintf("want seconds, %g to %g", least, most)))
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// minJobInterval bounds how busy a job may keep a broker by mistake.
const minJobInterval = 10 * time.Millisecond

func (p *problems) interval(v values, name string) time.Duration {
	if v[name] == "0" || v[name] == "off" {
		return 0
	}
	d, err := time.ParseDuration(v[name])
	if err != nil || d < minJobInterval || d > 24*time.Hour {
		p.add(invalid(name, v[name], "want a duration of 10ms to 24h, e.g. 500ms or 5s, or 0 for never"))
		return 0
	}
	return d
}

// topic checks the name as the broker does: https://rocketmq.apache.org/docs/introduction/03limits/ gives at most 127
// characters of these.
func (p *problems) topic(v values) string {
	t := v[EnvTopic]
	ok := len(t) <= 127
	for _, c := range t {
		ok = ok && (c == '%' || c == '_' || c == '-' || c == '|' ||
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
	}
	if !ok {
		p.add(invalid(EnvTopic, t, "want at most 127 of a-z, A-Z, 0-9, _, -, % and |"))
	}
	return t
}

// advertise returns the host that others use: what was given, else the address to listen on where that is one address, else
// the machine's first that isn't a loopback one.
func (p *problems) advertise(v values, bind string) string {
	host := strings.Trim(v[EnvAdvertise], "[]")
	switch ip := net.ParseIP(host); {
	case ip != nil && ip.IsUnspecified(), host != "" && ip == nil && strings.ContainsAny(host, ":/ \t@#?"):
		p.add(invalid(EnvAdvertise, v[EnvAdvertise], "want the host or address that others reach this instance by, without a port"))
		return host
	case host != "":
		return host
	}
	if ip := net.ParseIP(bind); ip != nil && !ip.IsUnspecified() {
		return bind
	}
	return firstAddress(net.InterfaceAddrs)
}

// firstAddress returns the machine's first global IPv4 address, else its first global IPv6 address, else 127.0.0.1.
func firstAddress(interfaceAddrs func() ([]net.Addr, error)) string {
	addrs, err := interfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	six := ""
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			return n.IP.String()
		}
		if six == "" {
			six = n.IP.String()
		}
	}
	if six != "" {
		return six
	}
	return "127.0.0.1"
}

// gray reads what graylib wants to know.
func (p *problems) gray(service string, v values, c Config) (graylib.Identity, graylib.Config) {
	if set := v[graylib.EnvService]; set != "" && set != service {
		p.add(invalid(graylib.EnvService, set, fmt.Sprintf("this is service %s: leave it out, or want %s", service, service)))
	}
	id, err := graylib.IdentityFrom(v.get)
	if err != nil {
		p.add(err)
	}
	id.Service = service
	if id.Addr == "" && c.HTTPPort != 0 && c.Advertise != "" {
		id.Addr = c.HTTPAddr()
	}
	p.hostPorts(v, graylib.EnvNamesrvAddr, strings.Split(v[graylib.EnvNamesrvAddr], ";"), "want host:port[;host:port...]")
	p.hostPorts(v, graylib.EnvAddr, []string{v[graylib.EnvAddr]}, "want host:port")
	g, err := graylib.ConfigFrom(v.get)
	if err != nil {
		p.add(err)
	}
	return id, g
}

// hostPorts checks the addresses of one setting.
func (p *problems) hostPorts(v values, name string, list []string, want string) {
	if v[name] == "" {
		return
	}
	for _, addr := range list {
		host, port, err := net.SplitHostPort(strings.TrimSpace(addr))
		if n, numErr := strconv.Atoi(port); err != nil || host == "" || numErr != nil || n < 1 || n > math.MaxUint16 {
			p.add(invalid(name, v[name], want))
			return
		}
	}
}
